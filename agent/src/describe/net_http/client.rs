//! Requests that clients send, by the HTTP semantic conventions 1.44 (docs/http/http-spans.md).
//!
//! | attribute | value |
//! |---|---|
//! | span name | the method; `HTTP` stands for methods that are not known |
//! | `http.request.method`, `.method_original` | as for servers; an empty method is `GET`, as in Go |
//! | `url.full` | as `URL.String` has it, user info redacted; the query only if asked for, sensitive values redacted |
//! | `server.address`, `.port` | host and port of the URL; without a port that of the scheme |
//! | `network.peer.address`, `.port` | the other end of the connection, where that was asked for |
//! | `network.protocol.version` | that of the response |
//! | `http.response.status_code` | that of the response |
//! | `http.request.resend_count` | how many redirects led to the request; left out if none |
//! | `error.type` | the type of the error, as Go's `%T` prints it; else the code as text from 400 on |
//! | span status | Error with `error.type`, else unset |

use std::net::IpAddr;

use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;
use opentelemetry::trace::SpanKind;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::Description;
use super::super::attributes::Described;
use super::super::target::{host_and_port, redacted};
use super::{SCOPE, Settings, failed_from, method, protocol_version};
use crate::record::{HttpClient, PathForm};
use crate::semconv as name;
use crate::span::Status;

/// What `net/url.(*URL).EscapedPath` escapes (`shouldEscape` with `encodePath`).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A request sent.
pub(in crate::describe) fn client<'a>(
    request: &HttpClient<'a>,
    settings: &Settings,
    arena: &'a Bump,
) -> Description<'a> {
    let mut described = Described::new(request.cut, arena);
    let sent = if request.method.is_empty() { "GET" } else { request.method };
    let name = method(&mut described, sent, settings);
    described.add_made_of(&["host", "target", "scheme"], name::URL_FULL, full_url(request, arena));
    let (address, port) = host_and_port(request.host);
    if !address.is_empty() {
        described.add_made_of(&["host"], name::SERVER_ADDRESS, address);
        let default = match request.scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        if let Some(port) = port.or(default) {
            described.add(name::SERVER_PORT, port);
        }
    }
    if let Some(connection) = request.connection {
        let text = |ip: IpAddr| bumpalo::format!(in arena, "{}", ip).into_bump_str();
        described.add(name::NETWORK_PEER_ADDRESS, text(connection.peer.ip()));
        described.add(name::NETWORK_PEER_PORT, connection.peer.port());
    }
    protocol_version(&mut described, request.protocol, arena);
    if request.resend_count != 0 {
        described.add(name::HTTP_REQUEST_RESEND_COUNT, request.resend_count);
    }
    if let Some(code) = request.status {
        described.add(name::HTTP_RESPONSE_STATUS_CODE, code);
    }
    let status = match request.error {
        Some(error) => {
            // The conventions' own fallback for what has no name.
            described.add(name::ERROR_TYPE, error.type_name.unwrap_or("_OTHER"));
            Status::Error(error.text.into())
        }
        None => failed_from(400, &mut described, request.status, arena),
    };
    Description { scope: SCOPE, kind: SpanKind::Client, name, status, attributes: described.finish() }
}

/// The URL as `net/url.(*URL).String` puts it together, but for secrets.
fn full_url<'a>(request: &HttpClient<'a>, arena: &'a Bump) -> &'a str {
    let parts = [request.scheme, request.host, request.path, request.query.unwrap_or_default()];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut url = ArenaString::with_capacity_in(length + 32, arena);
    url.push_str(request.scheme);
    if request.path_form == PathForm::Opaque {
        url.push(':');
        url.push_str(request.path);
        return url.into_bump_str();
    }
    url.push_str("://");
    if request.has_user_info {
        url.push_str("REDACTED:REDACTED@");
    }
    url.push_str(request.host);
    if !request.path.is_empty() && !request.path.starts_with('/') {
        url.push('/');
    }
    match request.path_form {
        PathForm::Decoded => url.extend(utf8_percent_encode(request.path, ESCAPED)),
        PathForm::Encoded | PathForm::Opaque => url.push_str(request.path),
    }
    if let Some(query) = request.query {
        url.push('?');
        url.push_str(redacted(query, arena));
    }
    url.into_bump_str()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::client;
    use crate::describe::Description;
    use crate::record::{CallError, HttpClient, PathForm};
    use crate::span::Status;

    fn request() -> HttpClient<'static> {
        HttpClient {
            method: "POST",
            scheme: "https",
            host: "shop.test:8443",
            path: "/a b/ü?",
            path_form: PathForm::Decoded,
            protocol: (2, 0),
            status: Some(200),
            ..HttpClient::default()
        }
    }

    /// A request described, as long as the test runs.
    fn described(request: &HttpClient<'static>) -> Description<'static> {
        client(request, &Settings::default(), Box::leak(Box::default()))
    }

    fn attributes(request: &HttpClient<'static>) -> Vec<String> {
        let description = described(request);
        description.attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect()
    }

    #[test]
    fn a_plain_request() {
        assert_eq!(
            attributes(&request()),
            [
                "http.request.method=POST",
                "url.full=https://shop.test:8443/a%20b/%C3%BC%3F",
                "server.address=shop.test",
                "server.port=8443",
                "network.protocol.version=2",
                "http.response.status_code=200",
            ]
        );
        let description = described(&request());
        assert_eq!((description.name, description.status), ("POST", Status::Unset));
    }

    #[test]
    fn secrets_stay_where_they_are() {
        let request = HttpClient {
            has_user_info: true,
            query: Some("q=1&sig=abc"),
            path: "/a%2Fb",
            path_form: PathForm::Encoded,
            ..request()
        };
        let url = &attributes(&request)[1];
        assert_eq!(url, "url.full=https://REDACTED:REDACTED@shop.test:8443/a%2Fb?q=1&sig=REDACTED");
    }

    #[test]
    fn ports_and_methods_have_defaults() {
        let plain = |scheme, host| HttpClient {
            method: "",
            scheme,
            host,
            path: "",
            protocol: (0, 0),
            status: None,
            ..request()
        };
        assert_eq!(
            attributes(&plain("http", "[::1]")),
            ["http.request.method=GET", "url.full=http://[::1]", "server.address=::1", "server.port=80"]
        );
        assert_eq!(attributes(&plain("https", "shop.test"))[3], "server.port=443");
        assert_eq!(attributes(&plain("unix", "shop.test")).len(), 3);
        let opaque = HttpClient { path_form: PathForm::Opaque, path: "//x/%2f", ..plain("http", "x") };
        assert_eq!(attributes(&opaque)[1], "url.full=http://x/%2f");
    }

    #[test]
    fn failures_have_a_type_and_no_status_code() {
        let error = |type_name, text| {
            let error = CallError { descriptor: 1, type_name, text };
            described(&HttpClient { status: None, error: Some(error), ..request() })
        };
        let types = [(Some("*net.OpError"), "*net.OpError"), (None, "_OTHER")];
        for (type_name, expected) in types {
            let description = error(type_name, "context canceled");
            assert_eq!(description.status, Status::Error("context canceled".into()));
            let last = description.attributes.last().unwrap();
            assert_eq!((&*last.key, &last.value), ("error.type", &expected.into()));
            assert!(!description.attributes.iter().any(|pair| pair.key.contains("status_code")));
        }
        let not_found = HttpClient { status: Some(404), resend_count: 2, ..request() };
        assert_eq!(described(&not_found).status, Status::Error("".into()));
        let attributes = attributes(&not_found);
        for expected in ["http.request.resend_count=2", "http.response.status_code=404", "error.type=404"] {
            assert!(attributes.iter().any(|attribute| attribute == expected), "{expected}");
        }
    }

    #[test]
    fn what_was_cut_is_said() {
        let attributes = attributes(&HttpClient { cut: &["target"], ..request() });
        assert_eq!(attributes.last().unwrap(), "lightfoot.truncated=url.full");
    }
}
