//! `net/http` by the HTTP semantic conventions 1.44 (docs/http/http-spans.md).
//!
//! What an application hears of a request:
//!
//! | attribute | value |
//! |---|---|
//! | span name | `{method} {http.route}`, or the method alone; `HTTP` stands for methods that are not known |
//! | `http.request.method` | as sent if known (compared by case), else `_OTHER` and the method as `http.request.method_original` |
//! | `url.scheme` | of an absolute-form target if `http` or `https`, else by the connection: `https` if encrypted |
//! | `url.path` | as sent, not decoded; `*` for `OPTIONS *`; empty for a CONNECT to an authority, which has no path |
//! | `url.query` | left out, unless asked for; then with sensitive values redacted |
//! | `server.address`, `.port` | host and port of an absolute-form target, else of `Host`; no port if none was sent |
//! | `network.peer.address`, `.port` | the connection's other end; for unix sockets the path, if it has one, and no port |
//! | `client.address` | the same, for `X-Forwarded-For` is anyone's word; that of a rule's `forwarded` if it asks for it |
//! | `http.request.header.NAME` | the values of the headers that a rule lists |
//! | `http.response.status_code` | as sent; none if none was |
//! | `error.type` | `panic` if the handler panicked, else the code as text from 500 on |
//! | span status | Error with the two above, else unset |

mod client;
mod forwarded;

use std::borrow::Cow;

use bumpalo::Bump;
use opentelemetry::trace::SpanKind;

use super::Description;
use super::attributes::Described;
use super::target::{Target, host_and_port, redacted, route};
use crate::record::HttpServer;
use crate::semconv as name;
use crate::span::{Status, Value};

pub(super) use client::client;

/// The instrumentation scope.
const SCOPE: &str = "lightfoot/net/http";
/// The `error.type` of a request whose handler panicked, with `http.ErrAbortHandler` too.
pub const PANIC: &str = "panic";
/// The variable that replaces [`KNOWN_METHODS`], a list with commas.
pub const KNOWN_METHODS_VARIABLE: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
/// The methods of RFC 9110, RFC 5789 and draft-ietf-httpbis-safe-method-w-body.
pub const KNOWN_METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// How HTTP requests are described.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The methods that have a name of their own.
    pub known_methods: Vec<String>,
    /// Whether the query is part of the span, with sensitive values redacted.
    pub query: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { known_methods: KNOWN_METHODS.map(str::to_owned).to_vec(), query: false }
    }
}

impl Settings {
    /// The settings with the known methods of `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, if that says any.
    #[must_use]
    pub fn with_known_methods(mut self, list: &str) -> Self {
        let methods: Vec<_> =
            list.split(',').map(str::trim).filter(|method| !method.is_empty()).map(str::to_owned).collect();
        if !methods.is_empty() {
            self.known_methods = methods;
        }
        self
    }
}

/// A request served.
pub(super) fn server<'a>(request: &HttpServer<'a>, settings: &Settings, arena: &'a Bump) -> Description<'a> {
    let mut described = Described::new(request.cut, arena);
    let method = method(&mut described, request.method, settings);

    let target = Target::parse(request.target, request.method);
    let by_connection = if request.is_tls { "https" } else { "http" };
    described.add(name::URL_SCHEME, target.scheme.unwrap_or(by_connection));
    // A target that was cut after its `?` has a whole path.
    let of_path: &[_] = if target.query.is_some() { &[] } else { &["target"] };
    described.add_made_of(of_path, name::URL_PATH, target.path);
    if settings.query
        && let Some(query) = target.query
    {
        described.add_made_of(&["target"], name::URL_QUERY, redacted(query, arena));
    }

    let (host, of_host) = match target.authority.filter(|authority| !authority.is_empty()) {
        // Where the target was cut behind the authority, the address is whole.
        Some(authority) if !target.path.is_empty() => (authority, ""),
        Some(authority) => (authority, "target"),
        None => (request.host, "host"),
    };
    let (address, port) = host_and_port(host);
    if !address.is_empty() {
        described.add_made_of(&[of_host], name::SERVER_ADDRESS, address);
        if let Some(port) = port {
            described.add(name::SERVER_PORT, port);
        }
    }

    // Go calls a unix socket without a path "@" (net.UnixAddr).
    let is_path = request.peer.starts_with(['/', '@']);
    let (address, port) = if is_path { (request.peer, None) } else { host_and_port(request.peer) };
    let has_address = !matches!(address, "" | "@");
    if has_address {
        described.add_made_of(&["peer"], name::NETWORK_PEER_ADDRESS, address);
        if let Some(port) = port {
            described.add(name::NETWORK_PEER_PORT, port);
        }
    }
    match forwarded::client(request).filter(|_| request.is_forwarded) {
        Some(client) => described.add(name::CLIENT_ADDRESS, client),
        None if has_address => described.add_made_of(&["peer"], name::CLIENT_ADDRESS, address),
        None => {}
    }
    protocol_version(&mut described, request.protocol, arena);
    if !request.user_agent.is_empty() {
        described.add_made_of(&["user_agent"], name::USER_AGENT_ORIGINAL, request.user_agent);
    }

    headers(&mut described, request, arena);

    let route = route(request.pattern);
    if let Some(route) = route {
        described.add_made_of(&["pattern"], name::HTTP_ROUTE, route);
    }
    let status_code = request.status.filter(|code| *code != 0);
    if let Some(code) = status_code {
        described.add(name::HTTP_RESPONSE_STATUS_CODE, code);
    }
    let status = if request.has_panicked {
        described.add(name::ERROR_TYPE, PANIC);
        Status::Error("the handler panicked".into())
    } else {
        failed_from(500, &mut described, status_code, arena)
    };

    Description {
        scope: SCOPE,
        kind: SpanKind::Server,
        name: match route {
            Some(route) => bumpalo::format!(in arena, "{} {}", method, route).into_bump_str(),
            None => method,
        },
        status,
        attributes: described.finish(),
    }
}

/// Adds what is said of the method; returns what stands for it in a span's name.
fn method<'a>(described: &mut Described<'a>, method: &'a str, settings: &Settings) -> &'a str {
    if settings.known_methods.iter().any(|known| known == method) {
        described.add_made_of(&["method"], name::HTTP_REQUEST_METHOD, method);
        return method;
    }
    described.add_made_of(&["method"], name::HTTP_REQUEST_METHOD, "_OTHER");
    if !method.is_empty() {
        described.add_made_of(&["method"], name::HTTP_REQUEST_METHOD_ORIGINAL, method);
    }
    "HTTP"
}

/// Adds the values of the headers that a rule lists.
fn headers<'a>(described: &mut Described<'a>, request: &HttpServer<'a>, arena: &'a Bump) {
    for header in request.headers.iter().filter(|header| header.is_shown) {
        let key = bumpalo::format!(in arena, "{}.{}", name::HTTP_REQUEST_HEADER, header.name);
        let key: &'a str = key.into_bump_str();
        let values = arena.alloc_slice_fill_iter(header.values.iter().map(|value| Cow::Borrowed(*value)));
        described.add(key, Value::Texts(Cow::Borrowed(values)));
        if header.is_cut {
            described.truncate(key);
        }
    }
    if request.cut.contains(&"headers") {
        described.truncate(name::HTTP_REQUEST_HEADER);
    }
}

/// Adds the version of HTTP, if it is known.
fn protocol_version<'a>(described: &mut Described<'a>, protocol: (u8, u8), arena: &'a Bump) {
    let version = match protocol {
        (0, _) => return,
        (1, 1) => "1.1",
        (major, 0) if major >= 2 => bumpalo::format!(in arena, "{}", major).into_bump_str(),
        (major, minor) => bumpalo::format!(in arena, "{}.{}", major, minor).into_bump_str(),
    };
    described.add(name::NETWORK_PROTOCOL_VERSION, version);
}

/// The span status of an answer, which is a failure from a status code on; adds the error then.
fn failed_from<'a>(
    first: u16,
    described: &mut Described<'a>,
    status_code: Option<u16>,
    arena: &'a Bump,
) -> Status<'a> {
    let Some(code) = status_code.filter(|code| *code >= first) else { return Status::Unset };
    described.add(name::ERROR_TYPE, bumpalo::format!(in arena, "{}", code).into_bump_str());
    // No description: the status code says it.
    Status::Error("".into())
}

#[cfg(test)]
mod tests;
