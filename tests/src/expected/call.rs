//! What a span must say of a call, told from the program's truth by the semantic conventions alone.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::string_slice,
    reason = "a failed expectation is a failed test"
)]

use std::collections::HashMap;

use lightfoot_probes_abi::limits::REDIRECTS;
use serde_json::Value as Json;

use crate::live::span::Attributes;
use crate::live::{Call, Outcome, Span};

const CLIENT: u64 = 3;
const UNSET: u64 = 0;
const ERROR: u64 = 2;

/// The spans of calls, each with the call that it is of, in the order of the calls; and those of no call.
pub fn pairs<'a>(
    calls: &'a [Call],
    outcome: &'a Outcome,
) -> (Vec<(&'a Call, Option<&'a Span>)>, Vec<&'a Span>) {
    // A wrapper may send the same twice: the first span is the first call's.
    let mut spans: HashMap<String, Vec<&Span>> = HashMap::new();
    for span in outcome.spans.iter().filter(|span| span.kind == CLIENT) {
        spans.entry(span.text("url.full").to_owned()).or_default().push(span);
    }
    for same in spans.values_mut() {
        same.sort_by_key(|span| std::cmp::Reverse(span.start));
    }
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| call.start);
    let pairs = calls
        .into_iter()
        .map(|call| {
            let url = full(&call.url);
            // The URL may have been cut.
            let cut = || spans.keys().find(|cut| cut.len() >= 512 && url.starts_with(*cut)).cloned();
            let key = if spans.contains_key(&url) { Some(url.clone()) } else { cut() };
            (call, key.and_then(|key| spans.get_mut(&key)?.pop()))
        })
        .collect();
    (pairs, spans.into_values().flatten().collect())
}

/// Fails unless the span says all that it must of the call and nothing else, besides times and parents.
pub fn assert_equal(span: &Span, call: &Call) {
    let mut said = span.attributes.clone();
    // Known where that costs nothing; a proxy's is not the server's.
    if said.remove("network.peer.port").is_some() && !call.case.starts_with("proxied") {
        let port = said.get("server.port").cloned();
        assert_eq!(span.attributes.get("network.peer.port"), port.as_ref(), "{call:?}");
    }
    said.remove("network.peer.address");
    let mut wanted = attributes(call);
    if call.replaced {
        // Only the transport knows what it returned.
        assert_eq!(wanted.remove("error.type").is_some(), said.remove("error.type").is_some(), "{call:?}");
    }
    if let Some(cut) = said.remove("lightfoot.truncated") {
        assert_eq!(cut, serde_json::json!(["url.full"]), "{call:?}");
        let (said, wanted) = (said.remove("url.full").unwrap(), wanted.remove("url.full").unwrap());
        let (said, wanted) = (said.as_str().unwrap(), wanted.as_str().unwrap());
        assert!(wanted.starts_with(said) && said.len() < wanted.len() && said.len() >= 512, "{said}");
    }
    assert_eq!(said, wanted, "{call:?}");
    let method = call.method.as_str();
    assert_eq!(span.name, if KNOWN.contains(&method) { method } else { "HTTP" });
    assert_eq!(span.kind, CLIENT);
    let is_error = call.status >= 400 || !call.error.is_empty();
    assert_eq!(span.status_code, if is_error { ERROR } else { UNSET }, "{call:?}");
    if !call.replaced {
        let text = if call.error == "*errors.errorString" { call.text.as_str() } else { "" };
        assert_eq!(span.status_message, text, "{call:?}");
    }
    assert_eq!((span.span_id.len(), span.trace_id.len()), (16, 32));
    assert!(span.span_id.bytes().any(|digit| digit != b'0'));
    assert_eq!(span.scope, "lightfoot/net/http");
    assert_eq!(span.schema_url, "https://opentelemetry.io/schemas/1.44.0");
}

const KNOWN: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// The attributes of a call, within all limits.
fn attributes(call: &Call) -> Attributes {
    let mut all = Attributes::new();
    let mut add = |key: &str, value: Json| assert!(all.insert(key.to_owned(), value).is_none(), "{key}");
    if KNOWN.contains(&call.method.as_str()) {
        add("http.request.method", call.method.as_str().into());
    } else {
        add("http.request.method", "_OTHER".into());
        add("http.request.method_original", call.method.as_str().into());
    }
    let url = full(&call.url);
    let (scheme, rest) = url.split_once("://").unwrap();
    let authority = &rest[..rest.find('/').unwrap()];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (address, port) = match host.rsplit_once(':') {
        Some((address, port)) if !port.ends_with(']') => (address, port.parse().ok()),
        _ => (host, None),
    };
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    if !address.is_empty() {
        add("server.address", address.trim_matches(['[', ']']).into());
        if let Some(port) = port.or(default) {
            add("server.port", Json::from(port));
        }
    }
    add("url.full", url.as_str().into());
    if call.status != 0 {
        add("http.response.status_code", call.status.into());
    }
    if !call.version.is_empty() {
        add("network.protocol.version", call.version.as_str().into());
    }
    if call.resend > 0 {
        add("http.request.resend_count", call.resend.min(REDIRECTS as u64).into());
    }
    if call.status >= 400 {
        add("error.type", call.status.to_string().into());
    } else if !call.error.is_empty() {
        add("error.type", call.error.as_str().into());
    }
    if !call.rule.is_empty() {
        add("lightfoot.parent.rule", call.rule.as_str().into());
    }
    all
}

/// What `url.full` says of a URL: neither query nor fragment, and nobody's password.
fn full(url: &str) -> String {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let (scheme, rest) = url.split_once("://").unwrap();
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://REDACTED:REDACTED@{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}
