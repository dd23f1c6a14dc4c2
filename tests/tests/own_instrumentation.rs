//! Programs that trace themselves: what is left to them, and that our spans go into their traces.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::process::Command;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Client, Folder, Said, Span, Target, binary, lightfoot, text};
use serde_json::Value;

const CLIENT: u64 = 3;
const SERVER: u64 = 2;

/// The service of the benchmark, traced by otelhttp and the Go SDK, whose spans go nowhere; `sampler` is the SDK's.
fn traced(folder: &Folder, backend: &Target, sampler: &str) -> Target {
    let path = folder.copy_of(Program::Bench, &format!("traced-{sampler}")).unwrap();
    let backend = format!("http://{}", backend.address().unwrap());
    let mut command = Command::new(path);
    command.args(["-otelhttp", "-backend", &backend]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").env("OTEL_TRACES_SAMPLER", sampler);
    Target::spawn(&mut command).unwrap()
}

/// The same untraced, but with all of that in its file.
fn backend(folder: &Folder) -> Target {
    Target::start(&folder.copy_of(Program::Bench, "backend").unwrap()).unwrap()
}

fn of(pid: u32, kind: u64) -> impl Fn(&Span) -> bool {
    move |span| span.pid() == u64::from(pid) && span.kind == kind
}

#[test]
fn what_a_programs_own_instrumentation_covers_is_shown() {
    for (program, covered) in [
        (
            Program::Bench,
            &[
                ("HTTP/1 server request", Some("otelhttp v0.72.0")),
                ("HTTP/2 server request", Some("otelhttp v0.72.0")),
                ("HTTP client request", Some("otelhttp v0.72.0")),
            ][..],
        ),
        (
            Program::BenchGrpc,
            &[
                ("gRPC server call", Some("otelgrpc v0.72.0")),
                ("gRPC client call", Some("otelgrpc v0.72.0")),
                // Its exporter's.
                ("HTTP client request", None),
            ],
        ),
        (
            Program::Datadog,
            &[
                ("HTTP/1 server request", Some("dd-trace-go v2.12.0")),
                ("HTTP/2 server request", Some("dd-trace-go v2.12.0")),
                ("HTTP client request", Some("dd-trace-go v2.12.0")),
                ("gRPC server call", Some("dd-trace-go v2.12.0")),
                ("gRPC client call", Some("dd-trace-go v2.12.0")),
            ],
        ),
        (
            Program::HalfTraced,
            &[
                ("HTTP/1 server request", Some("otelhttp v0.72.0")),
                ("HTTP client request", None),
                ("gRPC server call", None),
                ("gRPC client stream", None),
            ],
        ),
        (Program::Lifecycle, &[("HTTP/1 server request", None)]),
    ] {
        let path = binary(program).unwrap();
        let output = Command::new(lightfoot()).args(["inspect", "--json", text(&path)]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let libraries = report["libraries"].as_array().unwrap();
        let operations: Vec<_> =
            libraries.iter().flat_map(|library| library["operations"].as_array().unwrap()).collect();
        for (title, by) in covered {
            let operation = operations.iter().find(|operation| operation["title"] == *title).unwrap();
            assert_eq!(operation["covered_by"].as_str(), *by, "{program:?}: {title}");
        }
    }
    let output =
        Command::new(lightfoot()).arg("inspect").arg(binary(Program::Bench).unwrap()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("covered by otelhttp v0.72.0: left to it but with --sdk both"), "{page}");
}

#[test]
fn what_is_covered_is_left_to_the_program_unless_asked_otherwise() {
    let Some(folder) = Folder::for_test("programs that trace themselves") else { return };
    let backend = backend(&folder);
    let front = traced(&folder, &backend, "always_on");
    let (pid, path) = (front.pid().to_string(), folder.path().join("traced-always_on"));
    let covered = "HTTP/1 server request by otelhttp v0.72.0, HTTP/2 server request by otelhttp v0.72.0, HTTP client request by otelhttp v0.72.0";
    for (mode, said) in [
        // It has gRPC clients besides, which it does not use.
        (
            "fill-gaps",
            format!(
                "INFO left to the program's own instrumentation  path={} covered={covered:?}",
                text(&path)
            ),
        ),
        (
            "off",
            format!(
                "reason=\"left to its own instrumentation: {covered} (--sdk both watches it all the same)\""
            ),
        ),
    ] {
        let agent = Agent::start(["--pid", &pid, "--sdk", mode], &[]).unwrap();
        agent.says(&said).unwrap();
        agent.counts().unwrap();
        assert_eq!(front.get("/orders/1").unwrap(), 200);
        let outcome = agent.stop().unwrap();
        assert_eq!(outcome.spans.len(), 0, "{mode}: {}", outcome.messages);
        for count in ["started", "unselected_process", "end_without_start"] {
            assert_eq!(outcome.count(count), 0, "no trap is taken: {}", outcome.messages);
        }
    }
    let agent = Agent::start(["--pid", &pid, "--sdk", "both"], &[]).unwrap();
    agent.watches(front.pid()).unwrap();
    assert_eq!(front.get("/items/1").unwrap(), 200);
    agent.span("/items/1").unwrap();
    let outcome = agent.stop().unwrap();
    assert!(!Said::lines(&outcome.messages).any(|said| said.message.contains("own")), "{}", outcome.messages);
}

#[test]
fn what_datadogs_tracer_covers_is_left_to_it_unless_asked_otherwise() {
    let Some(folder) = Folder::for_test("programs that are traced by Datadog's tracer") else { return };
    let target = Target::start(&folder.copy_of(Program::Datadog, "datadog").unwrap()).unwrap();
    let pid = target.pid().to_string();
    let agent = Agent::start(["--pid", &pid], &[]).unwrap();
    agent.says("HTTP/1 server request by dd-trace-go v2.12.0").unwrap();
    agent.counts().unwrap();
    assert_eq!(target.get("/items/1").unwrap(), 200);
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.spans.len(), 0, "{}", outcome.messages);
    assert_eq!(outcome.count("unselected_process"), 0, "no trap is taken: {}", outcome.messages);
    let agent = Agent::start(["--pid", &pid, "--sdk", "both"], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/orders/2").unwrap(), 200);
    agent.span("/orders/2").unwrap();
    agent.span("/items/2").unwrap();
    agent.stop().unwrap();
}

#[test]
fn gaps_are_filled_within_the_spans_of_the_sdk_and_the_rest_is_told_of() {
    let Some(folder) = Folder::for_test("gaps of programs that trace themselves") else { return };
    let target = Target::start(&folder.copy_of(Program::HalfTraced, "halftraced").unwrap()).unwrap();
    let (pid, address) = (target.pid().to_string(), target.address().unwrap());
    for (mode, is_filled) in [("fill-gaps", true), ("both", false)] {
        let agent = Agent::start(["--pid", &pid, "--sdk", mode], &[]).unwrap();
        agent.watches(target.pid()).unwrap();
        let messages = agent.messages();
        let said = Said::lines(&messages).find(|said| said.message.contains("own instrumentation"));
        let covered = "HTTP/1 server request by otelhttp v0.72.0, HTTP/2 server request by otelhttp v0.72.0";
        assert_eq!(said.is_some(), is_filled, "{messages}");
        if let Some(said) = said {
            assert_eq!(said.level, "INFO");
            assert!(said.fields.ends_with(&format!("covered={covered:?}")), "{said:?}");
        }

        // By what has no trace context, and by what has one.
        let remote = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
        for (order, headers) in [("alone", String::new()), ("within", format!("traceparent: {remote}\r\n"))] {
            let answer = Client::tcp(address).get(&format!("/orders/{order}"), &headers).unwrap().unwrap();
            assert_eq!(answer.status, 200);
            let ids = String::from_utf8(answer.body).unwrap();
            let (trace_id, span_id) = ids.split_once(' ').unwrap();
            let is_within = |span: &Span| span.kind == CLIENT && span.parent_span_id == span_id;
            agent.wait_for_spans(3, is_within).unwrap();
            for call in
                [&format!("/items/{order}")[..], "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"]
            {
                let is_it = |span: &Span| span.text("url.full").ends_with(call) || span.name == call;
                let call = agent.find(call, |span| is_within(span) && is_it(span)).unwrap();
                assert_eq!(call.trace_id, trace_id);
                assert_eq!(call.text("lightfoot.parent.rule"), "context");
            }
            if is_filled {
                continue;
            }
            // Two spans of what is served: ours has the same parent as the SDK's, and is in a trace of its own if that has
            // none, for then it is made before the SDK has one.
            let served = agent.span(&format!("/orders/{order}")).unwrap();
            assert_ne!(served.span_id, span_id);
            let [_, remote_trace, remote_span, _] =
                [0, 1, 2, 3].map(|part| remote.split('-').nth(part).unwrap());
            if order == "within" {
                assert_eq!((&*served.trace_id, &*served.parent_span_id), (remote_trace, remote_span));
                assert_eq!(trace_id, remote_trace);
            } else {
                assert_eq!(served.parent_span_id, "");
                assert_ne!(served.trace_id, trace_id);
            }
        }
        let is_served = |span: &Span| span.kind == SERVER && span.text("rpc.system.name") == "grpc";
        agent.wait_for_spans(4, is_served).unwrap();
        let outcome = agent.stop().unwrap();
        let served = |by: &str| {
            let all = outcome.spans.iter().filter(|span| span.kind == SERVER);
            all.filter(|span| span.text("rpc.system.name") == by).count()
        };
        // Of each order the calls by gRPC, and itself and its item.
        assert_eq!((served("grpc"), served("")), (4, if is_filled { 0 } else { 4 }), "{}", outcome.messages);
        assert_eq!(outcome.spans.iter().filter(|span| span.kind == CLIENT).count(), 6);
        assert_eq!(outcome.count("unselected_process"), 0, "{}", outcome.messages);
    }
}

#[test]
fn calls_within_a_span_of_the_sdk_are_its_children() {
    let Some(folder) = Folder::for_test("spans of an SDK as parents") else { return };
    let backend = backend(&folder);
    let fronts = ["always_on", "always_off"].map(|sampler| traced(&folder, &backend, sampler));
    let [on, off] = &fronts;
    let pids = [on.pid(), off.pid(), backend.pid()].map(|pid| pid.to_string());
    let arguments = pids.iter().flat_map(|pid| ["--pid", pid.as_str()]).chain(["--sdk", "both"]);
    let agent = Agent::start(arguments, &[]).unwrap();
    for target in [on, off, &backend] {
        agent.watches(target.pid()).unwrap();
    }
    assert_eq!(on.get("/orders/1").unwrap(), 200);
    let call = agent.find("the call", of(on.pid(), CLIENT)).unwrap();
    let served = agent.find("the request served", of(backend.pid(), SERVER)).unwrap();
    // The SDK's span of the call is told by the header that it sent.
    assert_eq!(call.trace_id, served.trace_id);
    assert_eq!(call.parent_span_id, served.parent_span_id);
    assert_ne!(call.parent_span_id, "");
    assert_eq!(call.text("lightfoot.parent.rule"), "context");

    // What the SDK does not record has no spans of ours within.
    assert_eq!(off.get("/orders/2").unwrap(), 200);
    agent.span("/orders/2").unwrap();
    let outcome = agent.stop().unwrap();
    let of_off = |span: &&Span| of(off.pid(), CLIENT)(span);
    assert_eq!(outcome.spans.iter().filter(of_off).count(), 0);
    assert_eq!(outcome.spans.iter().filter(|span| of(backend.pid(), SERVER)(span)).count(), 1);
    assert_eq!(outcome.count("unsampled"), 2, "the call, and the request served: {}", outcome.messages);
}
