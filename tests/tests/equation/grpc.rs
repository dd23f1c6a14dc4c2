//! Losses of gRPC calls, on both sides.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::{Facts, Span, Watched, is_privileged};
use rustix::process::Signal;

use crate::balance::Truth;

const SERVER: u64 = 2;

/// A way to lose spans.
struct Cause {
    name: &'static str,
    arguments: &'static [&'static str],
    drive: fn(&mut Watched),
    /// The counters of losses that move, in their order.
    counters: &'static [&'static str],
}

const CAUSES: &[Cause] = &[
    Cause { name: "none", arguments: &[], drive: |watched| call(watched, 100), counters: &[] },
    Cause {
        name: "a tiny ring and a slow reader",
        arguments: &["--ring-size", "4"],
        drive: with_a_slow_reader,
        counters: &["ring_full"],
    },
    Cause {
        name: "too many open spans",
        arguments: &["--max-open-spans", "16"],
        drive: many_at_once,
        counters: &["in_flight_full"],
    },
    Cause {
        name: "both",
        arguments: &["--max-open-spans", "16", "--ring-size", "4"],
        drive: |watched| {
            with_a_slow_reader(watched);
            many_at_once(watched);
        },
        counters: &["ring_full", "in_flight_full"],
    },
];

#[test]
fn calls_that_are_not_delivered_are_counted() {
    if !is_privileged("calls that are not delivered are counted") {
        return;
    }
    for (program, minor) in [(Program::OldRpc, 21), (Program::Rpc, 27)] {
        for cause in CAUSES {
            let watched = Watched::start_with(program, minor, Mode::Plain, cause.arguments, |_| Ok(()));
            let Some(mut watched) = watched.unwrap() else { return };
            (cause.drive)(&mut watched);
            let (facts, outcome) = watched.end().unwrap();
            let truth = Truth { certain: sides(&facts), ..Truth::default() };
            let delivered: Vec<_> = outcome.spans.iter().map(side).collect();
            truth.assert_balanced(
                &format!("{program}: {}", cause.name),
                &delivered,
                &outcome,
                cause.counters,
            );
        }
    }
}

/// Calls and streams, one after the other.
fn call(watched: &mut Watched, count: u32) {
    for case in ["unary", "says-not-found", "both-streams"] {
        watched.program.ask_within(Duration::from_mins(1), &format!("run {case} {count}")).unwrap();
    }
}

/// An agent that pauses again and again.
fn with_a_slow_reader(watched: &mut Watched) {
    for _ in 0..4 {
        watched.agent.signal(Signal::STOP);
        call(watched, 40);
        watched.agent.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(50));
    }
}

/// Far more calls at once than may be open, and then others.
fn many_at_once(watched: &mut Watched) {
    for _ in 0..3 {
        watched.program.ask_within(Duration::from_mins(1), "crowd 200").unwrap();
        call(watched, 10);
    }
}

/// Each side of each call, with a number of its own.
fn sides(facts: &Facts) -> BTreeSet<u64> {
    let called = facts.called.iter().map(|called| 2 * called.number);
    let sides: BTreeSet<_> =
        called.chain(facts.handled.iter().map(|handled| 2 * handled.number + 1)).collect();
    assert_eq!(sides.len(), facts.called.len() + facts.handled.len(), "each has a number of its own");
    sides
}

/// The number of the side that a span is of.
fn side(span: &Span) -> u64 {
    let (_, number) = span.text("rpc.method").rsplit_once("/N").unwrap();
    2 * number.parse::<u64>().unwrap() + u64::from(span.kind == SERVER)
}
