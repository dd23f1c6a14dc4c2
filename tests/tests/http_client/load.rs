//! Many calls at once: each has its span, and the span is true.

use std::collections::HashSet;
use std::time::Duration;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::{Facts, Outcome, Watched, wall_offset};

use crate::expected;

/// By how much a span's time of day may be off, in nanoseconds, besides the uncertainty of the comparison here.
const CLOCK: u64 = 10_000;

#[test]
fn go_1_21() {
    spans_are_the_truth(21, Mode::Plain);
}

#[test]
fn go_1_24() {
    spans_are_the_truth(24, Mode::Plain);
}

#[test]
fn go_1_26() {
    spans_are_the_truth(26, Mode::Plain);
}

#[test]
fn go_1_27() {
    spans_are_the_truth(27, Mode::Plain);
}

#[test]
fn stripped() {
    spans_are_the_truth(27, Mode::Stripped);
}

#[test]
fn position_independent() {
    spans_are_the_truth(24, Mode::Pie);
}

fn spans_are_the_truth(minor: u32, mode: Mode) {
    let Some(mut watched) = Watched::start(Program::Clients, minor, mode).unwrap() else { return };
    watched.program.ask_within(Duration::from_mins(2), "load 2000 50 7").unwrap();
    check(watched, 2000);
}

#[test]
fn a_thousand_calls_open_at_once() {
    let Some(mut watched) = Watched::start(Program::Clients, 26, Mode::Plain).unwrap() else { return };
    watched.program.ask("crowd 1000").unwrap();
    let (facts, _) = check(watched, 1000);
    let latest_start = facts.calls.iter().map(|call| call.start).max();
    let first_end = facts.calls.iter().map(|call| call.end).min();
    assert!(latest_start < first_end, "not all of them were open at once");
}

fn check(watched: Watched, at_least: usize) -> (Facts, Outcome) {
    let build = watched.build;
    let (offset, uncertainty) = wall_offset();
    let (facts, outcome) = watched.end().unwrap();
    assert!(facts.calls.len() >= at_least / 2);
    let slack = CLOCK + uncertainty;
    let (pairs, rest) = expected::pairs(&facts.calls, &outcome);
    assert!(rest.is_empty(), "spans of no call: {rest:#?}");
    for (call, span) in &pairs {
        let span = span.unwrap_or_else(|| panic!("no span of {call:?}; {}", outcome.messages));
        expected::assert_equal(span, call);
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
    (facts, outcome)
}
