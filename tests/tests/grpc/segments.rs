//! Calls that are open for long, told of in pieces.

use std::collections::{BTreeMap, HashSet};
use std::process::Command;
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::{Extent, VARIABLE};
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::{
    Agent, Driven, Facts, Folder, Span, Watched, is_privileged, lightfoot, text, wall_offset,
};
use lightfoot_tests::recordings::replay;
use serde_json::Value as Json;

use crate::LOSSES;
use crate::pairs::{CLIENT, SERVER, method};

/// By how much times of two pieces may differ that are the same: the clock may be set between them.
const CLOCK: u64 = 100_000_000;

const SETTING: [&str; 2] = ["--segment-after", "1"];

fn number(span: &Span) -> u64 {
    span.attributes.get("lightfoot.segment").and_then(Json::as_u64).unwrap_or_default()
}

fn is_open(span: &Span) -> bool {
    span.attributes.contains_key("lightfoot.segment.open")
}

/// The pieces of each call, by side and method, in their order.
fn chains(spans: &[Span]) -> BTreeMap<(u64, &str), Vec<&Span>> {
    let mut chains: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for span in spans {
        chains.entry((span.kind, method(span))).or_default().push(span);
    }
    for chain in chains.values_mut() {
        chain.sort_by_key(|span| number(span));
    }
    chains
}

/// Fails unless the pieces are those of one call that is over: one goes on from the other, and the last one has the status.
fn assert_chain(chain: &[&Span], at_least: usize) {
    assert!(chain.len() >= at_least, "{chain:#?}");
    let (last, first) = (chain.last().unwrap(), chain[0]);
    for (index, span) in chain.iter().enumerate() {
        assert_eq!(number(span), index as u64 + 1, "{chain:#?}");
        assert_eq!(
            (&span.trace_id, &span.parent_span_id, &span.name, &span.scope),
            (&first.trace_id, &first.parent_span_id, &first.name, &first.scope)
        );
        assert_eq!(is_open(span), index + 1 < chain.len(), "{chain:#?}");
        let status = span.text("rpc.response.status_code");
        assert_eq!(status, if is_open(span) { "" } else { "OK" }, "{span:#?}");
        assert_eq!(span.text("lightfoot.parent.rule"), first.text("lightfoot.parent.rule"));
        let length = span.end - span.start;
        assert!(!is_open(span) || length >= 1_000_000_000, "{length}");
    }
    assert_eq!(first.links, []);
    for pair in chain.windows(2) {
        assert_eq!(pair[1].links, [(first.trace_id.clone(), pair[0].span_id.clone())]);
        assert!(pair[1].start.abs_diff(pair[0].end) < CLOCK, "{pair:#?}");
    }
    assert!(!is_open(last));
}

/// Fails unless all is told of once, and each parent is there.
fn assert_whole(spans: &[Span]) {
    let ids: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "span ids are unique");
    for span in spans.iter().filter(|span| !span.parent_span_id.is_empty()) {
        assert!(ids.contains(span.parent_span_id.as_str()), "{span:#?}");
    }
}

/// Calls and streams that are held for some seconds, on both sides, and one that makes another meanwhile.
fn hold(program: &mut Driven) {
    program.ask("hold 3").unwrap();
    thread::sleep(Duration::from_millis(3_500));
    program.ask("release").unwrap();
    program.ask("run long-nested").unwrap();
}

fn check(facts: &Facts, spans: &[Span]) -> usize {
    let (offset, uncertainty) = wall_offset();
    assert_whole(spans);
    let chains = chains(spans);
    for called in &facts.called {
        let name = called.method.trim_start_matches('/');
        let [client, server] = [CLIENT, SERVER].map(|kind| &chains[&(kind, name)]);
        if called.case == "after-held" {
            assert_eq!((client.len(), server.len(), number(client[0])), (1, 1, 0));
            continue;
        }
        // Half the time is enough to see two pieces and the last one; looks are a quarter of a second apart.
        for chain in [client, server] {
            assert_chain(chain, 3);
        }
        // Together they are the call.
        let (start, end) = (client[0].start - offset, client[client.len() - 1].end - offset);
        let slack = uncertainty + CLOCK;
        // Whoever calls may lose the processor before it comes to the probe; another piece would begin a second later.
        assert!(start + slack >= called.start && start < called.start + 1_000_000_000, "{called:?}");
        let last = if called.end == 0 { end } else { called.end };
        assert!(end.abs_diff(last) < 5_000_000_000, "{called:?}");
        let handled = facts.handled.iter().find(|handled| handled.number == called.number).unwrap();
        let (start, end) = (server[0].start - offset, server[server.len() - 1].end - offset);
        assert!(start <= handled.start + slack && end + slack >= handled.end, "{handled:?}");
    }
    // What is called in a call that has pieces belongs to the first of them.
    let nested = facts.called.iter().find(|called| called.case == "rpc-slow").unwrap();
    let outer = facts.called.iter().find(|called| called.case == "long-nested").unwrap();
    let [nested, outer] = [nested, outer].map(|called| called.method.trim_start_matches('/'));
    for span in &chains[&(CLIENT, nested)] {
        assert_eq!(span.parent_span_id, chains[&(SERVER, outer)][0].span_id);
    }
    spans.iter().filter(|span| is_open(span)).count()
}

#[test]
fn a_call_that_is_open_for_long_is_told_of_in_pieces() {
    for (program, minor) in [(Program::OldRpc, 21), (Program::Rpc, 27)] {
        let watched = Watched::start_with(program, minor, Mode::Plain, &SETTING, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        hold(&mut watched.program);
        let (facts, outcome) = watched.end().unwrap();
        let pieces = check(&facts, &outcome.spans);
        for name in LOSSES {
            assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
        }
        let [started, ended, segments, printed] =
            ["started", "ended", "segments", "spans_printed"].map(|name| outcome.count(name));
        assert_eq!((started, segments), (ended, pieces as u64), "{}", outcome.messages);
        assert_eq!(printed, ended + segments, "{}", outcome.messages);
    }
}

/// The setting that nobody chose, in its own time: an hour, beside the other tests.
#[test]
fn an_hour_has_a_piece_for_each_ten_minutes() {
    if Extent::of_environment() != Extent::All {
        println!("skipped: it takes an hour, which only {VARIABLE}=1 gives it");
        return;
    }
    let build = Build::here(Program::Rpc, GoVersion::of_minor(27).unwrap(), Mode::Plain);
    let Some(mut watched) = Watched::beside_others(build, &NO_CALLER_IS_LATE).unwrap() else { return };
    watched.program.ask("hold 1").unwrap();
    thread::sleep(Duration::from_mins(61));
    watched.program.ask("release").unwrap();
    let (_, outcome) = watched.end().unwrap();
    assert_whole(&outcome.spans);
    let chains = chains(&outcome.spans);
    let long: Vec<_> = chains.values().filter(|chain| number(chain[0]) > 0).collect();
    assert_eq!(long.len(), 4, "a call and a stream, on both sides: {}", outcome.messages);
    for chain in long {
        assert_chain(chain, 6);
        // Each is a little later than it might be, so that the sixth may be the last.
        assert!(chain.len() <= 7, "{chain:#?}");
        for piece in chain.iter().filter(|piece| is_open(piece)) {
            assert!(piece.end - piece.start >= 600_000_000_000, "{piece:#?}");
        }
    }
    for name in LOSSES {
        assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
    }
}

/// They are seen while the call lives, and nothing is made up when the agent ends before it.
#[test]
fn pieces_are_there_before_the_end() {
    let watched = Watched::start_with(Program::Rpc, 27, Mode::Plain, &SETTING, |_| Ok(())).unwrap();
    let Some(watched) = watched else { return };
    let Watched { mut program, agent, .. } = watched;
    program.ask("hold 2").unwrap();
    agent.counts_to("segments", 8).unwrap();
    let outcome = agent.stop().unwrap();
    program.ask("release").unwrap();
    program.stop().unwrap();
    let counts = ["started", "spans_open_at_end", "ended"].map(|name| outcome.count(name));
    assert_eq!(counts, [8, 8, 0], "{}", outcome.messages);
    assert_eq!(outcome.count("spans_printed"), outcome.count("segments"));
}

#[test]
fn without_the_setting_there_are_no_pieces() {
    let setting = ["--segment-after", "0"];
    let watched = Watched::start_with(Program::Rpc, 27, Mode::Plain, &setting, |_| Ok(())).unwrap();
    let Some(mut watched) = watched else { return };
    hold(&mut watched.program);
    let (_, outcome) = watched.end().unwrap();
    assert!(outcome.spans.iter().all(|span| number(span) == 0));
    assert_eq!(outcome.count("segments"), 0);
}

#[test]
fn a_recording_has_the_pieces() {
    let build = Build::here(Program::Rpc, GoVersion::of_minor(27).unwrap(), Mode::Plain);
    if !is_privileged(&format!("watching {build}")) {
        return;
    }
    let folder = Folder::new().unwrap();
    let file = folder.path().join("recording");
    let mut program = Driven::start(&build.path().unwrap()).unwrap();
    let mut command = Command::new(lightfoot());
    command.args(["record", text(&file), "--pid", &program.pid().to_string()]).args(SETTING);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.watches(program.pid()).unwrap();
    hold(&mut program);
    agent.counts_to("ended", 28).unwrap();
    thread::sleep(Duration::from_secs(1));
    agent.stop().unwrap();
    let facts = program.stop().unwrap();
    let output = replay(&file, &["--to", "otlp-json"]).unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    let spans = String::from_utf8(output.stdout).unwrap();
    let spans: Vec<_> = spans.lines().map(|line| Span::parse(line).unwrap()).collect();
    let pieces = check(&facts, &spans);
    let count = messages.lines().find_map(|line| line.strip_prefix("segments "));
    let count = count.and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert_eq!(count, pieces.to_string(), "{messages}");
}
