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
//! | `client.address` | the same: `X-Forwarded-For` is anyone's word |
//! | `http.response.status_code` | as sent; none if none was |
//! | `error.type` | `panic` if the handler panicked, else the code as text from 500 on |
//! | span status | Error with the two above, else unset |

mod client;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Status};

use super::Description;
use super::target::{Target, host_and_port, redacted, route};
use crate::record::HttpServer;
use crate::semconv as name;

pub(super) use client::client;

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
pub(super) fn server(request: &HttpServer, settings: &Settings) -> Description {
    let mut attributes = Vec::with_capacity(16);
    let mut truncated = Vec::new();
    let mut add = |key: &'static str, value: opentelemetry::Value, cut_field: &str| {
        attributes.push(KeyValue::new(key, value));
        if request.cut.contains(&cut_field) {
            truncated.push(key);
        }
    };

    let method = method_attributes(&request.method, settings, |key, value| add(key, value, "method"));

    let target = Target::parse(&request.target, &request.method);
    let by_connection = if request.is_tls { "https" } else { "http" };
    add(name::URL_SCHEME, target.scheme.unwrap_or(by_connection).into(), "");
    // A target that was cut after its `?` has a whole path.
    add(name::URL_PATH, target.path.to_owned().into(), if target.query.is_some() { "" } else { "target" });
    if settings.query
        && let Some(query) = target.query
    {
        add(name::URL_QUERY, redacted(query).into(), "target");
    }

    let (host, host_field) = match target.authority.filter(|authority| !authority.is_empty()) {
        Some(authority) => (authority, "target"),
        None => (request.host.as_str(), "host"),
    };
    let (address, port) = host_and_port(host);
    if !address.is_empty() {
        // Where the target was cut behind the authority, the address is whole.
        let field = if host_field == "target" && !target.path.is_empty() { "" } else { host_field };
        add(name::SERVER_ADDRESS, address.to_owned().into(), field);
        if let Some(port) = port {
            add(name::SERVER_PORT, i64::from(port).into(), "");
        }
    }

    // Go calls a unix socket without a path "@" (net.UnixAddr).
    let is_path = request.peer.starts_with(['/', '@']);
    let (address, port) = if is_path { (request.peer.as_str(), None) } else { host_and_port(&request.peer) };
    if !matches!(address, "" | "@") {
        add(name::NETWORK_PEER_ADDRESS, address.to_owned().into(), "peer");
        if let Some(port) = port {
            add(name::NETWORK_PEER_PORT, i64::from(port).into(), "");
        }
        add(name::CLIENT_ADDRESS, address.to_owned().into(), "peer");
    }
    match request.protocol {
        (0, _) => {}
        (major, 0) if major >= 2 => add(name::NETWORK_PROTOCOL_VERSION, major.to_string().into(), ""),
        (major, minor) => add(name::NETWORK_PROTOCOL_VERSION, format!("{major}.{minor}").into(), ""),
    }
    if !request.user_agent.is_empty() {
        add(name::USER_AGENT_ORIGINAL, request.user_agent.clone().into(), "user_agent");
    }

    let route = route(&request.pattern);
    if let Some(route) = route {
        add(name::HTTP_ROUTE, route.to_owned().into(), "pattern");
    }
    let status_code = request.status.filter(|code| *code != 0);
    if let Some(code) = status_code {
        add(name::HTTP_RESPONSE_STATUS_CODE, i64::from(code).into(), "");
    }
    let status = if request.has_panicked {
        add(name::ERROR_TYPE, PANIC.into(), "");
        Status::error("the handler panicked")
    } else if let Some(code) = status_code.filter(|code| *code >= 500) {
        add(name::ERROR_TYPE, code.to_string().into(), "");
        // No description: the status code says it.
        Status::error("")
    } else {
        Status::Unset
    };

    Description {
        kind: SpanKind::Server,
        name: match route {
            Some(route) => format!("{method} {route}"),
            None => method,
        },
        status,
        attributes,
        truncated,
    }
}

/// Adds what is said of the method; returns what stands for it in a span's name.
fn method_attributes(
    method: &str,
    settings: &Settings,
    mut add: impl FnMut(&'static str, opentelemetry::Value),
) -> String {
    if settings.known_methods.iter().any(|known| known == method) {
        add(name::HTTP_REQUEST_METHOD, method.to_owned().into());
        return method.to_owned();
    }
    add(name::HTTP_REQUEST_METHOD, "_OTHER".into());
    if !method.is_empty() {
        add(name::HTTP_REQUEST_METHOD_ORIGINAL, method.to_owned().into());
    }
    "HTTP".to_owned()
}

#[cfg(test)]
mod tests;
