//! Requests that clients send, by the HTTP semantic conventions 1.44 (docs/http/http-spans.md).
//!
//! | attribute | value |
//! |---|---|
//! | span name | the method; `HTTP` stands for methods that are not known |
//! | `http.request.method`, `.method_original` | as for servers; an empty method is `GET`, as in Go |
//! | `url.full` | as `URL.String` has it, user info redacted; the query only if asked for, sensitive values redacted |
//! | `server.address`, `.port` | host and port of the URL; without a port that of the scheme |
//! | `network.protocol.version` | that of the response |
//! | `http.response.status_code` | that of the response |
//! | `http.request.resend_count` | how many redirects led to the request; left out if none |
//! | `error.type` | the type of the error, as Go's `%T` prints it; else the code as text from 400 on |
//! | span status | Error with `error.type`, else unset |

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::Description;
use super::super::target::{host_and_port, redacted};
use super::{Settings, method_attributes};
use crate::record::{HttpClient, PathForm};
use crate::semconv as name;

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
pub(in crate::describe) fn client(request: &HttpClient, settings: &Settings) -> Description {
    let mut attributes = Vec::with_capacity(8);
    let mut truncated = Vec::new();
    let mut add = |key: &'static str, value: Value, cut_fields: &[&str]| {
        attributes.push(KeyValue::new(key, value));
        if cut_fields.iter().any(|field| request.cut.contains(field)) {
            truncated.push(key);
        }
    };
    let method = if request.method.is_empty() { "GET" } else { &request.method };
    let span_name = method_attributes(method, settings, |key, value| add(key, value, &[]));
    add(name::URL_FULL, full_url(request).into(), &["host", "target", "scheme"]);
    let (address, port) = host_and_port(&request.host);
    if !address.is_empty() {
        add(name::SERVER_ADDRESS, address.to_owned().into(), &["host"]);
        let default = match request.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        if let Some(port) = port.or(default) {
            add(name::SERVER_PORT, i64::from(port).into(), &[]);
        }
    }
    match request.protocol {
        (0, _) => {}
        (major, 0) if major >= 2 => add(name::NETWORK_PROTOCOL_VERSION, major.to_string().into(), &[]),
        (major, minor) => add(name::NETWORK_PROTOCOL_VERSION, format!("{major}.{minor}").into(), &[]),
    }
    if request.resend_count != 0 {
        add(name::HTTP_REQUEST_RESEND_COUNT, i64::from(request.resend_count).into(), &[]);
    }
    if let Some(code) = request.status {
        add(name::HTTP_RESPONSE_STATUS_CODE, i64::from(code).into(), &[]);
    }
    let status = if let Some(error) = &request.error {
        // The conventions' own fallback for what has no name.
        add(name::ERROR_TYPE, error.type_name.clone().unwrap_or_else(|| "_OTHER".to_owned()).into(), &[]);
        Status::error(error.text.clone())
    } else if let Some(code) = request.status.filter(|code| *code >= 400) {
        add(name::ERROR_TYPE, code.to_string().into(), &[]);
        // No description: the status code says it.
        Status::error("")
    } else {
        Status::Unset
    };
    Description { kind: SpanKind::Client, name: span_name, status, attributes, truncated }
}

/// The URL as `net/url.(*URL).String` puts it together, but for secrets.
fn full_url(request: &HttpClient) -> String {
    if request.path_form == PathForm::Opaque {
        return format!("{}:{}", request.scheme, request.path);
    }
    let mut url = format!("{}://", request.scheme);
    if request.has_user_info {
        url.push_str("REDACTED:REDACTED@");
    }
    url.push_str(&request.host);
    if !request.path.is_empty() && !request.path.starts_with('/') {
        url.push('/');
    }
    match request.path_form {
        PathForm::Decoded => url.extend(utf8_percent_encode(&request.path, ESCAPED)),
        PathForm::Encoded | PathForm::Opaque => url.push_str(&request.path),
    }
    if let Some(query) = &request.query {
        url.push('?');
        url.push_str(&redacted(query));
    }
    url
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Status;

    use super::super::Settings;
    use super::client;
    use crate::record::{CallError, HttpClient, PathForm};

    fn request() -> HttpClient {
        HttpClient {
            method: "POST".into(),
            scheme: "https".into(),
            host: "shop.test:8443".into(),
            path: "/a b/ü?".into(),
            path_form: PathForm::Decoded,
            protocol: (2, 0),
            status: Some(200),
            ..HttpClient::default()
        }
    }

    fn attributes(request: &HttpClient) -> Vec<String> {
        let description = client(request, &Settings::default());
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
        let description = client(&request(), &Settings::default());
        assert_eq!((description.name.as_str(), description.status), ("POST", Status::Unset));
    }

    #[test]
    fn secrets_stay_where_they_are() {
        let request = HttpClient {
            has_user_info: true,
            query: Some("q=1&sig=abc".into()),
            path: "/a%2Fb".into(),
            path_form: PathForm::Encoded,
            ..request()
        };
        let url = &attributes(&request)[1];
        assert_eq!(url, "url.full=https://REDACTED:REDACTED@shop.test:8443/a%2Fb?q=1&sig=REDACTED");
    }

    #[test]
    fn ports_and_methods_have_defaults() {
        let plain = |scheme: &str, host: &str| HttpClient {
            method: String::new(),
            scheme: scheme.into(),
            host: host.into(),
            path: String::new(),
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
        let opaque = HttpClient { path_form: PathForm::Opaque, path: "//x/%2f".into(), ..plain("http", "x") };
        assert_eq!(attributes(&opaque)[1], "url.full=http://x/%2f");
    }

    #[test]
    fn failures_have_a_type_and_no_status_code() {
        let error = |type_name: Option<&str>, text: &str| {
            let error =
                CallError { descriptor: 1, type_name: type_name.map(str::to_owned), text: text.to_owned() };
            client(&HttpClient { status: None, error: Some(error), ..request() }, &Settings::default())
        };
        let types = [(Some("*net.OpError"), "*net.OpError"), (None, "_OTHER")];
        for (type_name, expected) in types {
            let description = error(type_name, "context canceled");
            assert_eq!(description.status, Status::error("context canceled"));
            let last = description.attributes.last().unwrap();
            assert_eq!((last.key.as_str(), last.value.as_str().as_ref()), ("error.type", expected));
            assert!(!description.attributes.iter().any(|pair| pair.key.as_str().contains("status_code")));
        }
        let not_found = HttpClient { status: Some(404), resend_count: 2, ..request() };
        assert_eq!(client(&not_found, &Settings::default()).status, Status::error(""));
        let attributes = attributes(&not_found);
        for expected in ["http.request.resend_count=2", "http.response.status_code=404", "error.type=404"] {
            assert!(attributes.iter().any(|attribute| attribute == expected), "{expected}");
        }
    }

    #[test]
    fn what_was_cut_is_said() {
        let description = client(&HttpClient { cut: vec!["target"], ..request() }, &Settings::default());
        assert_eq!(description.truncated, ["url.full"]);
    }
}
