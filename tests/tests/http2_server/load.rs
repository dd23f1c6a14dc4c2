//! Many streams at once: each has its span, and the span is true.

use std::collections::{HashMap, HashSet};

use lightfoot_tests::expected::request;
use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::{Span, wall_offset};

use crate::scene::{DOORS, Scene, number};

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
fn stripped_and_position_independent() {
    spans_are_the_truth(27, Mode::PieStripped);
}

fn spans_are_the_truth(minor: u32, mode: Mode) {
    for (program, door, first) in DOORS {
        if minor >= first {
            check(program, door, minor, mode);
        }
    }
}

fn check(program: Program, door: &str, minor: u32, mode: Mode) {
    let Some(mut scene) = Scene::set(program, door, minor, mode, &[]) else { return };
    scene.learn_routes();
    let build = scene.watched.build;
    let mut seen = scene.client.ask(&format!("load {} 2000 25 4", scene.url)).unwrap();
    // As many on one connection as servers allow by default.
    seen.extend(scene.client.ask(&format!("at-once {} 100", scene.url)).unwrap());
    let (offset, uncertainty) = wall_offset();
    let (facts, outcome) = scene.end();
    println!("{}", outcome.messages);
    assert_eq!((facts.requests.len(), outcome.spans.len()), (seen.len(), seen.len()));
    let slack = CLOCK + uncertainty;
    let mut spans: HashMap<u64, &Span> =
        outcome.spans.iter().map(|span| (number(span.path()), span)).collect();
    for truth in &facts.requests {
        let span = spans.remove(&number(&truth.target)).unwrap_or_else(|| panic!("no span of {truth:?}"));
        request::assert_equal(span, truth, build.version);
        let (start, end) = (span.start - offset, span.end - offset);
        assert!(
            start <= truth.start + slack && end + slack >= truth.end,
            "{start}-{end} does not hold {truth:?}"
        );
    }
    let ids: HashSet<_> = outcome.spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), outcome.spans.len(), "span ids are unique");
    for name in
        ["ring_full", "in_flight_full", "no_goroutine", "no_request", "abandoned", "end_without_start"]
    {
        assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
    }
}
