//! Losses that cost a span nothing but what it says: of its route, of its parent.

use std::collections::HashMap;
use std::time::Duration;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::{Span, Truth as Request, Watched, is_privileged};

use crate::balance::Truth;
use crate::load::{self, numbers, send};
use crate::scene::{Output, Scene, printed};

const CLIENT: u64 = 3;

/// Each span is there; those without a route are as many as reads have failed.
#[test]
fn spans_whose_memory_is_absent_lack_an_attribute() {
    if !is_privileged("spans whose memory is absent") {
        return;
    }
    let each = 25;
    // Which of them may wait for a page.
    for (method, waits) in [("uprobe-multi", true), ("perf-event", false), ("perf-event-by-address", false)] {
        let scene = Scene::set(Output::Printed, &["--attach-method", method], &[]);
        send(scene.server.address, 0, each, |number| format!("/plain/{number}"));
        send(scene.server.address, 10_000, each, |number| format!("/not-yet-there/{number}"));
        send(scene.server.address, 20_000, each, |number| format!("/never-there/{number}"));
        let (requests, delivered, outcome) = scene.end();
        let truth = Truth { certain: numbers(&requests), ..Truth::default() };
        truth.assert_balanced(method, &delivered, &outcome, &[]);
        let routes: HashMap<&str, &Request> =
            requests.iter().map(|request| (request.target.as_str(), request)).collect();
        let without = |span: &&Span| span.text("http.route") != routes[span.path()].route;
        let without: Vec<_> = outcome.spans.iter().filter(without).map(Span::path).collect();
        let is_absent = |path: &&str| path.starts_with("/never") || !waits && path.starts_with("/not-yet");
        let absent = outcome.spans.iter().map(Span::path).filter(is_absent).count();
        assert!(without.iter().all(is_absent), "{method}: {without:?}");
        assert_eq!(without.len(), absent, "{method}");
        assert_eq!(absent as u64, each * load::CLIENTS * if waits { 1 } else { 2 });
        let faults = outcome.count("read_fault");
        println!("{method}: {faults} faults, {absent} attributes absent");
        // A program that may not wait has others, of which it has the rest of a text without the next page.
        assert!(
            if waits { faults == absent as u64 } else { faults >= absent as u64 },
            "{}",
            outcome.messages
        );
        assert_eq!(outcome.count("page_waits") > 0, waits, "{}", outcome.messages);
    }
}

/// Requests and calls keep their spans, even where contexts or callers are forgotten; calls without their parent are no
/// more than contexts were forgotten.
#[test]
fn calls_whose_context_is_forgotten_lack_a_parent() {
    for (cause, arguments) in [
        ("room for all", &[][..]),
        ("too many contexts", &["--max-contexts", "64"]),
        ("too many callers", &["--max-callers", "1"]),
    ] {
        let watched = Watched::start_with(Program::Parents, 26, Mode::Plain, arguments, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        watched.program.ask_within(Duration::from_mins(1), "crowd 300").unwrap();
        let (facts, outcome) = watched.end().unwrap();
        let (calls, requests): (Vec<Span>, Vec<Span>) =
            outcome.spans.iter().cloned().partition(|span| span.kind == CLIENT);
        let parents: HashMap<u64, &str> =
            calls.iter().map(|call| (number(call), call.parent_span_id.as_str())).collect();
        let delivered: Vec<u64> = printed(&requests).into_iter().chain(calls.iter().map(number)).collect();
        let mut truth = Truth::default();
        truth.certain.extend(facts.served.iter().map(|served| served.number));
        truth.certain.extend(facts.calls.iter().map(|call| call.number));
        assert_eq!(
            truth.certain.len(),
            facts.served.len() + facts.calls.len(),
            "each has a number of its own"
        );
        truth.assert_balanced(cause, &delivered, &outcome, &[]);
        let by_context = facts.calls.iter().filter(|call| call.rule == "context");
        let lost = by_context.filter(|call| parents[&call.number].is_empty()).count() as u64;
        let evicted = outcome.count("context_evicted");
        let full = outcome.count("callers_full");
        println!(
            "{cause}: {lost} calls without their parent, {evicted} contexts and {full} callers forgotten"
        );
        assert_eq!(full > 0, cause == "too many callers", "{}", outcome.messages);
        assert_eq!(evicted > 0, cause == "too many contexts", "{}", outcome.messages);
        assert_eq!(lost > 0, evicted > 0, "{}", outcome.messages);
        assert!(lost <= evicted, "{lost} calls lost their parent, for {evicted} contexts");
    }
}

fn number(call: &Span) -> u64 {
    call.text("url.full").rsplit('/').next().unwrap().parse().unwrap()
}
