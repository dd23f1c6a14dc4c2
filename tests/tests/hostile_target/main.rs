//! Programs that have garbage wherever Lightfoot looks, and names that would steer a terminal, watched for real. Each test has a part of
//! the cases end in spans that are looked at byte by byte, beside a neighbour that behaves well.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Outcome, Span, is_privileged, processor_time, slowness, text};
use lightfoot_tests::recordings::replay;

mod clean;
#[path = "../../../agent/src/deliver/tests/endpoint.rs"]
mod endpoint;
mod scene;

use clean::{assert_clean, assert_json, assert_json_lines};
use endpoint::Endpoint;
use scene::Scene;

/// What the programs at the sites of one case may run together, at best of three times where the first took longer.
const MAX_RUN_TIME: Duration = Duration::from_millis(1);
/// What the agent may take of processor time for a case, whatever it prints.
const MAX_AGENT_TIME: Duration = Duration::from_millis(5);

/// Everything that was counted has its place: each case that could be opened has ended, and the neighbour's requests all have spans.
fn assert_whole(outcome: &Outcome, scene: &Scene, version: u32) {
    let of = |name: &str| outcome.count(name);
    println!("Go 1.{version}: {:?}", outcome.oddities());
    let neighbour = scene.neighbour.pid();
    let theirs = outcome.spans.iter().filter(|span| span.pid() == u64::from(neighbour));
    let mut paths: Vec<_> = theirs.map(Span::path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), scene.asked, "the neighbour's spans: {}", outcome.messages);
    assert_eq!(of("started"), of("ended"), "{}", outcome.messages);
    assert_eq!(of("ended"), outcome.spans.len() as u64, "{}", outcome.messages);
    assert!(of("read_fault") > 100, "{}", outcome.messages);
    assert!(of("cut_string") > 20, "{}", outcome.messages);
    let lost = ["ring_full", "in_flight_full", "records_malformed", "spans_lost_printer_behind"];
    assert_eq!(lost.map(of), [0; 4], "{}", outcome.messages);
}

#[test]
fn memory_that_lies_costs_a_bounded_time_and_no_span() {
    if !is_privileged("watching hostile programs") {
        return;
    }
    let _alone = scene::alone();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let programs = [Program::Hostile, Program::HostileGrpc];
    for (program, version) in programs.into_iter().flat_map(|program| [(program, 21), (program, 27)]) {
        let mut scene = Scene::set(program, version);
        let agent = scene.agent(&["run", "--format", "otlp-json"], &[]);
        let before = processor_time(agent.pid()).unwrap();
        let mut slowest = (Duration::ZERO, String::new());
        let mut runs = BTreeMap::new();
        for case in scene.cases.clone() {
            let mut time = Duration::MAX;
            for _ in 0..10 {
                time = time.min(scene.time(&agent, case.number));
                *runs.entry(case.kind.clone()).or_insert(0) += 1;
                if time < MAX_RUN_TIME * slowness() {
                    break;
                }
            }
            slowest = slowest.max((time, format!("{} {}", case.kind, case.name)));
            if case.number % 10 == 0 {
                scene.ask_neighbour();
            }
        }
        println!("{program}, Go 1.{version}: {} cases, the slowest {slowest:?}", scene.cases.len());
        assert!(slowest.0 < MAX_RUN_TIME * slowness(), "{slowest:?}");
        let cases = runs.values().sum::<usize>();
        let spent = processor_time(agent.pid()).unwrap().saturating_sub(before);
        println!(
            "{program}, Go 1.{version}: the agent took {:?} a case",
            spent / u32::try_from(cases).unwrap()
        );
        assert!(spent < MAX_AGENT_TIME * slowness() * u32::try_from(cases).unwrap(), "{spent:?}");
        let (outcome, page) = scene.end(agent);
        assert_whole(&outcome, &scene, version);
        assert_json_lines(&page);
        assert_clean("spans", &page);
        assert_clean("messages", outcome.messages.as_bytes());
        // However little can be read of them, requests and calls have their spans, but for those of HTTP/2 that no server of it serves.
        let spans = |kind| {
            let of_kind = |span: &&Span| span.kind == kind && span.pid() == u64::from(scene.program.pid());
            outcome.spans.iter().filter(of_kind).count()
        };
        let refused = match program {
            // A stream that cannot be read, and transports of no known kind, which net/http may serve.
            Program::HostileGrpc => {
                let strange = scene.cases.iter().filter(|case| case.name.starts_with("transport-")).count();
                strange + usize::try_from(outcome.count("no_request")).unwrap()
            }
            _ => usize::try_from(outcome.count("end_without_start")).unwrap(),
        };
        let both = runs.get("both").copied().unwrap_or_default();
        assert_eq!(spans(2) + refused, runs["server"] + both, "{}", outcome.messages);
        assert_eq!(spans(3), runs["client"] + both, "{}", outcome.messages);
    }
}

#[test]
fn nothing_of_a_stranger_reaches_the_terminal() {
    if !is_privileged("watching hostile programs") {
        return;
    }
    let _alone = scene::alone();
    for program in [Program::Hostile, Program::HostileGrpc] {
        reaches_no_terminal(program);
    }
}

fn reaches_no_terminal(program: Program) {
    let mut scene = Scene::set(program, 27);
    let pid = scene.program.pid().to_string();
    for arguments in [
        &["run", "--format", "tree"][..],
        &["run", "--format", "json", "--log-format", "json", "--log-level", "debug"],
    ] {
        let agent = scene.agent(arguments, &[]);
        scene.run_all();
        if arguments.len() == 3 {
            for command in [
                &["status"][..],
                &["status", "--json"],
                &["status", "--watch"],
                &["doctor"],
                &["doctor", "--json"],
                &["inspect", "--json", &pid],
                &["inspect", text(&scene.executable)],
                &["targets", "--all"],
                &["targets", "--json"],
            ] {
                let output = scene.output(command);
                println!("{command:?}: {} bytes", output.len());
                assert_clean(&command.join(" "), &output);
                if command.contains(&"--json") {
                    assert_json(&output);
                }
            }
        }
        let (outcome, page) = scene.end(agent);
        assert_clean(&arguments.join(" "), &page);
        assert_clean(&arguments.join(" "), outcome.messages.as_bytes());
        // What was asked is there in its harmless form.
        assert!(String::from_utf8(page.clone()).unwrap().contains("u{1b}[2J") || arguments.contains(&"json"));
        if arguments.contains(&"json") {
            assert_json_lines(&page);
        }
    }
}

#[test]
fn what_a_recording_and_an_endpoint_get_is_text() {
    if !is_privileged("watching hostile programs") {
        return;
    }
    let _alone = scene::alone();
    for program in [Program::Hostile, Program::HostileGrpc] {
        is_text_for_others(program);
    }
}

fn is_text_for_others(program: Program) {
    let mut scene = Scene::set(program, 27);
    let file = scene.folder.path().join("recording");
    let agent = scene.agent(&["record", text(&file)], &[]);
    scene.run_all();
    let (outcome, page) = scene.end(agent);
    assert_clean("record", &page);
    assert_clean("record", outcome.messages.as_bytes());
    for form in ["tree", "json", "otlp-json"] {
        let output = replay(&file, &["--to", form]).unwrap();
        assert!(output.status.success());
        assert_clean(form, &output.stdout);
        assert_clean(form, &output.stderr);
        if form != "tree" {
            assert_json_lines(&output.stdout);
        }
    }
    // It decodes each request, and what is no UTF-8 is no text there.
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    let arguments = ["run", "--endpoint", &endpoint.address, "--protocol", "http/protobuf"];
    let agent = scene.agent(&arguments, &[]);
    scene.run_all();
    let (outcome, _) = scene.end(agent);
    let arrived: usize = endpoint.spans().into_iter().map(|(_, spans)| spans).sum();
    assert_eq!(outcome.count("spans_exported"), arrived as u64, "{}", outcome.messages);
    assert_eq!(outcome.count("ended"), arrived as u64, "{}", outcome.messages);
    let texts = format!("{:?}", endpoint.accepted.lock().unwrap());
    assert!(texts.contains("\\u{1b}[2J") && texts.contains('\u{fffd}'), "nothing nasty arrived");
}
