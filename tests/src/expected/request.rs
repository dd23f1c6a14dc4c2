//! What a span must say of a request, told from the server's truth by the semantic conventions alone.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::string_slice,
    reason = "a failed expectation is a failed test"
)]

use serde_json::Value as Json;

use crate::go::GoVersion;
use crate::live::span::Attributes;
use crate::live::{Span, Truth};

const SERVER: u64 = 2;
const UNSET: u64 = 0;
const ERROR: u64 = 2;

/// Fails unless the span says all that it must of the request and nothing else. Times are compared elsewhere.
pub fn assert_equal(span: &Span, truth: &Truth, version: GoVersion) {
    assert_eq!(span.attributes, attributes(truth, version), "{truth:?}");
    assert_eq!(span.name, name(truth, version), "{truth:?}");
    assert_eq!(span.kind, SERVER);
    let is_error = truth.panicked || truth.status >= 500;
    assert_eq!(span.status_code, if is_error { ERROR } else { UNSET }, "{truth:?}");
    assert_eq!(span.status_message, if truth.panicked { "the handler panicked" } else { "" });
    assert_eq!(span.span_id.len(), 16);
    assert_ne!(span.span_id, "0".repeat(16));
    if let Some(parent) = &truth.parent {
        assert_eq!((&span.trace_id, &span.parent_span_id), (&parent.trace_id, &parent.span_id));
        assert_eq!(span.trace_state, truth.tracestate.join(","), "{truth:?}");
    } else {
        assert_eq!(span.trace_id.len(), 32);
        assert_ne!(span.trace_id, "0".repeat(32));
        assert_eq!((span.parent_span_id.as_str(), span.trace_state.as_str()), ("", ""), "{truth:?}");
    }
    assert_eq!(span.scope, "lightfoot/net/http");
    assert_eq!(span.schema_url, "https://opentelemetry.io/schemas/1.44.0");
}

const KNOWN: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// The attributes of a request whose target is a path, within all limits.
pub fn attributes(truth: &Truth, version: GoVersion) -> Attributes {
    let mut all = Attributes::new();
    let mut add = |key: &str, value: Json| assert!(all.insert(key.to_owned(), value).is_none(), "{key}");
    if KNOWN.contains(&truth.method.as_str()) {
        add("http.request.method", truth.method.as_str().into());
    } else {
        add("http.request.method", "_OTHER".into());
        add("http.request.method_original", truth.method.as_str().into());
    }
    add("url.scheme", if truth.tls { "https" } else { "http" }.into());
    add("url.path", truth.target.split('?').next().unwrap().into());
    let mut add_address = |text: &str, address: &[&str], port: &str| {
        let (host, digits) =
            text.rsplit_once(':').map_or((text, None), |(host, digits)| (host, Some(digits)));
        let host = host.trim_matches(['[', ']']);
        for key in address {
            add(key, host.into());
        }
        if let Some(digits) = digits {
            add(port, digits.parse::<u64>().unwrap().into());
        }
    };
    add_address(&truth.host, &["server.address"], "server.port");
    add_address(&truth.peer, &["client.address", "network.peer.address"], "network.peer.port");
    let version_1 = format!("1.{}", truth.minor);
    add("network.protocol.version", if truth.major == 2 { "2" } else { &version_1 }.into());
    if !truth.user_agent.is_empty() {
        add("user_agent.original", truth.user_agent.as_str().into());
    }
    if let Some(route) = route(truth, version) {
        add("http.route", route.into());
    }
    if truth.status != 0 {
        add("http.response.status_code", truth.status.into());
    }
    if truth.panicked {
        add("error.type", "panic".into());
    } else if truth.status >= 500 {
        add("error.type", truth.status.to_string().into());
    }
    if truth.parent.is_some() {
        add("lightfoot.parent.rule", "incoming".into());
    }
    all
}

fn name(truth: &Truth, version: GoVersion) -> String {
    let method = if KNOWN.contains(&truth.method.as_str()) { &truth.method } else { "HTTP" };
    route(truth, version).map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// The pattern without method and host: what the original request says, else the last one of its copies. Go 1.21 does not
/// note it.
fn route(truth: &Truth, version: GoVersion) -> Option<&str> {
    let pattern =
        if truth.original_route.is_empty() { truth.route.as_str() } else { truth.original_route.as_str() };
    if version.minor < 22 { None } else { pattern.find('/').map(|slash| &pattern[slash..]) }
}
