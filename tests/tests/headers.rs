//! Headers that rules ask for, and what proxies have written, from requests to spans.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::process::Command;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::http2::{self, Batch, Request};
use lightfoot_tests::live::{Agent, Client, Folder, Outcome, Server, Span, Target, text, wait_for};
use serde_json::{Value, json};

const CONFIG: &str = "config.yaml";
const ASKS: &str = "rules:\n- headers: [x-request-id, ACCEPT]\n  forwarded: true\n";

/// An agent that watches a process by this configuration.
fn agent(folder: &Folder, config: &str, pid: u32) -> Agent {
    let path = folder.say(CONFIG, config).unwrap();
    let agent = Agent::start(["--config", text(&path), "--pid", &pid.to_string()], &[]).unwrap();
    agent.watches(pid).unwrap();
    agent
}

/// What a span says of headers, of the client's address, and what was cut.
fn told(span: &Span) -> Value {
    let told = span.attributes.iter().filter(|(key, _)| {
        key.starts_with("http.request.header")
            || [&"client.address", &"lightfoot.truncated"].contains(&&key.as_str())
    });
    Value::Object(told.map(|(key, value)| (key.replace("http.request.header.", ""), value.clone())).collect())
}

/// Headers with LF for CR LF, and what becomes of them.
fn cases() -> Vec<(String, Value)> {
    let here = |headers: Value| {
        let mut told = json!({ "client.address": "127.0.0.1" });
        told.as_object_mut().unwrap().extend(headers.as_object().unwrap().clone());
        told
    };
    vec![
        ("X-Nobody-Asks: 1\n".into(), here(json!({}))),
        ("X-Request-ID: seven\n".into(), here(json!({ "x-request-id": ["seven"] }))),
        ("accept: a, b\nAccept: c\n".into(), here(json!({ "accept": ["a, b", "c"] }))),
        ("X-Forwarded-For: 192.0.2.1, 10.0.0.1\n".into(), json!({ "client.address": "192.0.2.1" })),
        (
            "x-forwarded-for: 192.0.2.1\nForwarded: for=\"[2001:db8::7]:80\"\nX-Request-Id: a\n".into(),
            json!({ "client.address": "2001:db8::7", "x-request-id": ["a"] }),
        ),
        ("Forwarded: for=unknown\n".into(), here(json!({}))),
        (
            format!("X-Request-Id: {}\n", "x".repeat(257)),
            here(json!({
                "x-request-id": ["x".repeat(256)],
                "lightfoot.truncated": ["http.request.header.x-request-id"],
            })),
        ),
    ]
}

fn compare(outcome: &Outcome, version: u32) {
    for (number, (headers, expected)) in cases().iter().enumerate() {
        let path = format!("/plain/{number}");
        let mut spans = outcome.spans.iter().filter(|span| span.kind == 2 && span.path() == path);
        let span = spans.next().unwrap();
        assert_eq!(told(span), *expected, "Go 1.{version}: {headers}");
    }
    assert_eq!(outcome.count("cut_string"), 1, "{}", outcome.messages);
    let lost = ["read_fault", "unexpected", "header_bound"].map(|name| outcome.count(name));
    assert_eq!(lost, [0; 3], "{}", outcome.messages);
}

#[test]
fn of_requests_over_http1() {
    let Some(folder) = Folder::for_test("headers of HTTP/1") else { return };
    for minor in [21, 26, 27] {
        let build = Build::here(Program::Truth, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
        let server = Server::start(&build.path().unwrap()).unwrap();
        let agent = agent(&folder, ASKS, server.pid());
        let mut client = Client::tcp(server.address);
        for (number, (headers, _)) in cases().iter().enumerate() {
            client.get(&format!("/plain/{number}"), &headers.replace('\n', "\r\n")).unwrap().unwrap();
        }
        agent.wait_for_spans(cases().len(), |span| span.path().starts_with("/plain/")).unwrap();
        compare(&agent.stop().unwrap(), minor);
        server.stop().unwrap();
    }
}

#[test]
fn of_requests_over_http2() {
    let Some(folder) = Folder::for_test("headers of HTTP/2") else { return };
    for (minor, server) in [(21, "bundled"), (21, "h2c"), (27, "bundled"), (27, "h2c"), (27, "unencrypted")] {
        let build = Build::here(Program::Http2Batch, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
        let mut program = http2::Program::start(&build.path().unwrap()).unwrap();
        let agent = agent(&folder, ASKS, program.pid());
        let request = |(number, (headers, _)): (usize, &(String, Value))| {
            let request = Request::get(&format!("/plain/{number}"));
            let pairs = headers.lines().filter_map(|line| line.split_once(": "));
            pairs.fold(request, |request, (name, value)| request.with(name, value))
        };
        let requests = cases().iter().enumerate().map(request).collect();
        program.send(&Batch { server, upgrade: false, at_once: 1, requests }).unwrap();
        let is_server = |span: &Span| span.kind == 2 && span.path().starts_with("/plain/");
        agent.wait_for_spans(cases().len(), is_server).unwrap();
        compare(&agent.stop().unwrap(), minor);
        program.stop().unwrap();
    }
}

/// Nobody's headers are recorded unless a rule asks for them, and no longer than it does.
#[test]
fn rules_that_change_are_followed() {
    let Some(folder) = Folder::for_test("headers that are asked for meanwhile") else { return };
    let program = folder.copy_of(Program::Lifecycle, "shop").unwrap();
    let target = Target::spawn(&mut Command::new(program)).unwrap();
    let mut client = Client::tcp(target.address().unwrap());
    let agent = agent(&folder, "log: {level: info}\n", target.pid());
    let mut asked = 0;
    let mut wait_until = |expected: Value| {
        wait_for("a request as it is to be recorded", || {
            asked += 1;
            let path = format!("/asked/{asked}");
            client.get(&path, "X-Request-Id: 7\r\nX-Forwarded-For: 192.0.2.1\r\n").ok()??;
            (told(&agent.span(&path).ok()?) == expected).then_some(())
        })
        .unwrap();
    };
    let nothing = json!({ "client.address": "127.0.0.1" });
    wait_until(nothing.clone());
    folder.say(CONFIG, ASKS).unwrap();
    wait_until(json!({ "client.address": "192.0.2.1", "x-request-id": ["7"] }));
    folder.say(CONFIG, "others: watch\n").unwrap();
    wait_until(nothing);
    agent.stop().unwrap();
}
