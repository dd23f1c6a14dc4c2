//! Requests at random, all kinds of them at once, while memory is collected and stacks move: nothing is linked wrongly.
//!
//! `LIGHTFOOT_CHAOS` is how many requests each test sends.

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::Watched;

use crate::judge::{judge, total};

/// Enough for each case to come hundreds of times.
const REQUESTS: u64 = 20_000;

/// Requests that are open at a time.
const CONNECTIONS: u64 = 32;

/// How many requests are sent before the agent may catch up with printing their spans: all of them would be more than
/// an agent that is not optimised can print, and what is lost cannot be judged.
const AT_ONCE: u64 = 500;

/// What counts spans that cannot be judged.
const LOSSES: [&str; 7] = [
    "ring_full",
    "in_flight_full",
    "no_goroutine",
    "no_request",
    "too_deep",
    "context_evicted",
    "spans_lost_printer_behind",
];

#[test]
fn go_1_21() {
    nothing_is_linked_wrongly(21, Mode::Plain);
}

#[test]
fn go_1_24() {
    nothing_is_linked_wrongly(24, Mode::Plain);
}

#[test]
fn go_1_26() {
    nothing_is_linked_wrongly(26, Mode::Plain);
}

#[test]
fn go_1_27() {
    nothing_is_linked_wrongly(27, Mode::Plain);
}

#[test]
fn stripped_and_position_independent() {
    nothing_is_linked_wrongly(26, Mode::PieStripped);
}

fn nothing_is_linked_wrongly(minor: u32, mode: Mode) {
    let Some(mut watched) = Watched::start(Program::Parents, minor, mode).unwrap() else { return };
    let build = watched.build;
    let wanted = std::env::var("LIGHTFOOT_CHAOS").ok().and_then(|text| text.parse().ok());
    let requests: u64 = wanted.unwrap_or(REQUESTS);
    let seed = Extent::of_environment().pick(1, fastrand::u32(..));
    println!("{build}: seed {seed}");
    chaos(&mut watched, requests, seed);
    let (facts, outcome) = watched.end().unwrap();
    assert!(facts.served.len() as u64 >= requests);
    for name in LOSSES {
        assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
    }
    let panicked = outcome.count("abandoned");
    assert!(panicked > 0, "the calls that ended with a panic are counted");
    let inferred = total(&judge(&facts, &outcome));
    println!("{inferred:?}\n{}", outcome.messages);
    assert!(inferred.wrong > 0, "the documented way to be wrong did not show");
    assert!(inferred.right > inferred.missed, "the rule finds too little to be worth it");
}

fn chaos(watched: &mut Watched, requests: u64, seed: u32) {
    for burst in 0..requests.div_ceil(AT_ONCE) {
        let seed = u64::from(seed) + burst * CONNECTIONS;
        watched.program.ask(&format!("chaos {AT_ONCE} {CONNECTIONS} {seed}")).unwrap();
        watched.catch_up().unwrap();
    }
}

/// All of them open at once, each with goroutines of its own, in stacks of all sizes.
#[test]
fn a_thousand_requests_at_once() {
    let Some(mut watched) = Watched::start(Program::Parents, 26, Mode::Plain).unwrap() else { return };
    watched.program.ask("crowd 1000").unwrap();
    let (facts, outcome) = watched.end().unwrap();
    assert_eq!((facts.served.len(), facts.calls.len()), (1000, 4000));
    let inferred = total(&judge(&facts, &outcome));
    assert!(inferred.right > inferred.missed && inferred.wrong == 0, "{inferred:?}");
}

/// Without the rule that infers nothing is wrong, and nothing is inferred.
#[test]
fn inference_can_be_switched_off() {
    let arguments = ["--no-inferred-parents"];
    let watched = Watched::start_with(Program::Parents, 26, Mode::Plain, &arguments, |_| Ok(())).unwrap();
    let Some(mut watched) = watched else { return };
    chaos(&mut watched, 3000, 5);
    let (facts, outcome) = watched.end().unwrap();
    let inferred = total(&judge(&facts, &outcome));
    assert_eq!((inferred.right, inferred.wrong), (0, 0));
}
