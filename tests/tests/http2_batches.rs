//! Served HTTP/2 requests end to end: a Go program's own truth against the spans that `lightfoot run` prints.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::HashMap;

use lightfoot_tests::go::{self, Build, GoVersion, Mode};
use lightfoot_tests::live::http2::{Batch, Program, Request, Truth};
use lightfoot_tests::live::span::Attributes;
use lightfoot_tests::live::{Agent, Folder, Span, text};
use serde_json::Value as Json;

const SERVER: u64 = 2;
const UNSET: u64 = 0;
const ERROR: u64 = 2;

/// One request of each kind to each server of the program, for the tests of the probes have many.
#[test]
fn batches_over_http2_have_spans() {
    for minor in [21, 24, 26, 27] {
        let Some(folder) = Folder::for_test("batches_over_http2_have_spans") else { return };
        let build = Build::here(go::Program::Http2Batch, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
        let binary = folder.copy(&build.path().unwrap(), "http2").unwrap();
        let mut program = Program::start(&binary).unwrap();
        let agent = Agent::start(["--exe", text(&binary), "--no-copied-routes"], &[]).unwrap();
        agent.watches(program.pid()).unwrap();
        let mut sent = 0;
        for server in ["bundled", "configured", "h2c", "unencrypted"] {
            if server == "unencrypted" && minor < 24 {
                continue; // net/http cannot
            }
            let requests = requests(server, sent);
            sent += requests.len();
            program.send(&Batch { server, upgrade: false, at_once: 10, requests }).unwrap();
        }
        let requests =
            vec![of("h2c", "GET", "/plain/upgraded?size=5", sent), of("h2c", "GET", "/plain/2", sent + 1)];
        sent += requests.len();
        program.send(&Batch { server: "h2c", upgrade: true, at_once: 1, requests }).unwrap();
        let is_served = |span: &Span| span.kind == SERVER;
        agent.wait_for_spans(sent, is_served).unwrap();
        let truth = program.stop().unwrap();
        let outcome = agent.stop().unwrap();
        assert_eq!(truth.len(), sent);
        let spans = outcome.spans.iter().filter(|span| is_served(span));
        let spans: HashMap<_, _> = spans.map(|span| (span.text("user_agent.original"), span)).collect();
        assert_eq!(spans.len(), sent, "one span for each request");
        for truth in &truth {
            assert_equal(spans.get(truth.user_agent.as_str()).unwrap(), truth, minor);
        }
        for name in ["abandoned", "read_fault", "unexpected", "spans_open_at_end", "unknown_protocol"] {
            assert_eq!(outcome.count(name), 0, "{}", outcome.messages);
        }
        assert_eq!(outcome.count("end_without_start"), 0, "{}", outcome.messages);
    }
}

fn requests(server: &str, first: usize) -> Vec<Request> {
    let parent = |number: usize| format!("00-{:032x}-{:016x}-01", number + 1, number + 1);
    let kinds = [
        ("GET", "/plain/1?size=5"),
        ("POST", "/silent/1"),
        ("HEAD", "/plain/1?size=5"),
        ("GET", "/status/1?status=404"),
        ("PUT", "/status/1?status=503"),
        ("BREW", "/nowhere"),
        ("GET", "/users/1"),
        ("GET", "/hints/1"),
        ("GET", "/events/1"),
        ("GET", "/trailers/1?size=2"),
        ("GET", "/panic/1"),
        ("GET", "/panic-late/1"),
        ("GET", "/panic-recovered/1"),
        ("GET", "/abort/1"),
        ("GET", "/exit/1"),
        ("GET", "/left/1"),
        ("GET", "/overwritten/1"),
        ("CONNECT", "db.test:5432"),
    ];
    let each = kinds.into_iter().zip(first..).map(|((method, target), number)| {
        let request = of(server, method, target, number);
        if number.is_multiple_of(2) { request.with("traceparent", &parent(number)) } else { request }
    });
    each.collect()
}

fn of(server: &str, method: &str, target: &str, number: usize) -> Request {
    let mut request = Request::get(target).with("User-Agent", &format!("{server}/{number}"));
    method.clone_into(&mut request.method);
    if method == "CONNECT" {
        target.clone_into(&mut request.host);
    }
    request.leave = target.starts_with("/left/");
    request
}

/// Fails unless the span says all that it must of the request and nothing else.
fn assert_equal(span: &Span, truth: &Truth, minor: u32) {
    // Where net/http makes the request on behalf of golang.org/x/net, it is not known which.
    let has_route = minor >= 22 && !(minor >= 27 && truth.server == "h2c");
    let route = if has_route { truth.route.find('/').map(|slash| &truth.route[slash..]) } else { None };
    // net/http sends 200 where the handler named none, unless it panicked.
    let status = if truth.status == 0 && !truth.panicked { 200 } else { truth.status };
    assert_eq!(span.attributes, attributes(truth, route, status), "{truth:?}");
    let method = if truth.method == "BREW" { "HTTP" } else { &truth.method };
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    assert_eq!(span.name, name);
    let is_error = truth.panicked || status >= 500;
    assert_eq!(span.status_code, if is_error { ERROR } else { UNSET }, "{truth:?}");
    assert!(span.end - span.start >= truth.nanoseconds, "{truth:?}");
    if let [parent] = &truth.traceparent[..] {
        assert_eq!(format!("00-{}-{}-01", span.trace_id, span.parent_span_id), *parent);
    } else {
        assert_eq!(span.parent_span_id, "");
    }
}

fn attributes(truth: &Truth, route: Option<&str>, status: u16) -> Attributes {
    let mut all = Attributes::new();
    let mut add = |key: &str, value: Json| assert!(all.insert(key.to_owned(), value).is_none(), "{key}");
    if truth.method == "BREW" {
        add("http.request.method", "_OTHER".into());
        add("http.request.method_original", "BREW".into());
    } else {
        add("http.request.method", truth.method.as_str().into());
    }
    add("url.scheme", if truth.encrypted { "https" } else { "http" }.into());
    let path = if truth.method == "CONNECT" { "" } else { truth.target.split('?').next().unwrap() };
    add("url.path", path.into());
    let (host, port) =
        truth.host.split_once(':').map_or((truth.host.as_str(), None), |(host, port)| (host, Some(port)));
    add("server.address", host.into());
    if let Some(port) = port {
        add("server.port", port.parse::<u64>().unwrap().into());
    }
    let (peer, port) = truth.peer.split_once(':').unwrap();
    add("client.address", peer.into());
    add("network.peer.address", peer.into());
    add("network.peer.port", port.parse::<u64>().unwrap().into());
    add("network.protocol.version", "2".into());
    add("user_agent.original", truth.user_agent.as_str().into());
    if let Some(route) = route {
        add("http.route", route.into());
    }
    if status != 0 {
        add("http.response.status_code", status.into());
    }
    if truth.panicked {
        add("error.type", "panic".into());
    } else if status >= 500 {
        add("error.type", status.to_string().into());
    }
    if !truth.traceparent.is_empty() {
        add("lightfoot.parent.rule", "incoming".into());
    }
    all
}
