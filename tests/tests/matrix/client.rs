//! Many calls at once: each has its span, and the span is true. The program serves them itself, some over HTTP/2.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use lightfoot_tests::expected::{call, request};
use lightfoot_tests::go::{Build, Mode, Program};
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::{Facts, Outcome, Span, Watched, wall_offset};
use lightfoot_tests::support::Found;

/// By how much a span's time of day may be off, in nanoseconds, besides the uncertainty of the comparison here.
const CLOCK: u64 = 10_000;

/// Each kind of call comes some seven times.
const CALLS: usize = 600;

/// A program that has called, and what the agent made of it.
pub(crate) struct Run {
    build: Build,
    facts: Facts,
    outcome: Outcome,
    /// What to add to a time of the program for that of a span, and by how much they may differ.
    offset: u64,
    slack: u64,
}

/// Makes calls of all kinds.
pub(crate) fn run(build: Build) -> Run {
    let mut watched = Watched::beside_others(build, &NO_CALLER_IS_LATE).unwrap().unwrap();
    let load = format!("load {CALLS} 50 7");
    watched.program.ask_within(Duration::from_mins(2), &load).unwrap();
    let run = Run::of(watched);
    assert!(run.facts.calls.len() >= CALLS / 2);
    run
}

#[test]
fn a_thousand_calls_open_at_once() {
    let Some(mut watched) = Watched::start(Program::Clients, 26, Mode::Plain).unwrap() else { return };
    watched.program.ask("crowd 1000").unwrap();
    let run = Run::of(watched);
    spans_are_the_truth(&run);
    let calls = &run.facts.calls;
    assert!(calls.len() >= 1000);
    let latest_start = calls.iter().map(|call| call.start).max();
    let first_end = calls.iter().map(|call| call.end).min();
    assert!(latest_start < first_end, "not all of them were open at once");
}

impl Run {
    fn of(watched: Watched) -> Self {
        let build = watched.build;
        let (offset, uncertainty) = wall_offset();
        let (facts, outcome) = watched.end().unwrap();
        Self { build, facts, outcome, offset, slack: CLOCK + uncertainty }
    }
}

/// Compares the spans of calls.
pub(crate) fn spans_are_the_truth(run: &Run) -> Found {
    let Run { build, facts, outcome, offset, slack } = run;
    let (pairs, rest) = call::pairs(&facts.calls, outcome);
    assert!(rest.is_empty(), "spans of no call: {rest:#?}");
    for (call, span) in &pairs {
        let span = span.unwrap_or_else(|| panic!("no span of {call:?}; {}", outcome.messages));
        call::assert_equal(span, call);
        let (start, end) = (span.start - offset, span.end - offset);
        assert!(start <= end);
        assert!(
            start + slack >= call.start && end <= call.end + slack,
            "{start}-{end} is not within {call:?}"
        );
    }
    let ids: HashSet<_> = outcome.spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), outcome.spans.len(), "span ids are unique");
    for name in ["ring_full", "in_flight_full", "no_goroutine", "no_request", "abandoned", "too_deep"] {
        assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
    }
    println!("{build}: {} calls, {} requests", pairs.len(), facts.requests.len());
    Found::Equal
}

/// Compares the spans of requests that came over HTTP/2.
pub(crate) fn served_over_http2(run: &Run) -> Found {
    let Run { build, facts, outcome, offset, slack } = run;
    let is_of_them = |span: &&Span| span.kind == 2 && span.text("network.protocol.version") == "2";
    let served: Vec<_> = outcome.spans.iter().filter(is_of_them).collect();
    let requests: Vec<_> = facts.requests.iter().filter(|truth| truth.major == 2).collect();
    let asked: HashSet<_> = requests.iter().map(|truth| truth.target.split('?').next().unwrap()).collect();
    let rest: Vec<_> = served.iter().filter(|span| !asked.contains(span.path())).collect();
    assert!(rest.is_empty(), "spans of no request: {rest:#?}");
    assert_eq!(served.len(), requests.len(), "one span for each");
    let mut spans: HashMap<&str, _> = served.into_iter().map(|span| (span.path(), span)).collect();
    assert!(requests.len() > CALLS / 30, "{build}: {} requests", requests.len());
    for truth in requests {
        let path = truth.target.split('?').next().unwrap();
        let span = spans.remove(path).unwrap_or_else(|| panic!("no span of {truth:?}"));
        request::assert_equal(span, truth, build.version);
        let (start, end) = (span.start - offset, span.end - offset);
        assert!(
            start <= truth.start + slack && end + slack >= truth.end,
            "{start}-{end} does not hold {truth:?}"
        );
    }
    assert!(spans.is_empty(), "spans of no request: {spans:?}");
    Found::Equal
}
