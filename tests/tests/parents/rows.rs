//! The table of docs/parents.md, row by row: what it says is what spans say.

use std::collections::BTreeSet;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Call, Driven, Watched, fill, hash_map};

use crate::judge::judge;

/// How often each row is tried: the order of a case's calls is that of each time.
const TIMES: usize = 3;

#[test]
fn spans_are_linked_as_the_document_says() {
    let rows = documented("parents.md").unwrap();
    let names: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    for minor in [21, 24, 26, 27] {
        let Some(mut watched) = Watched::start(Program::Parents, minor, Mode::Plain).unwrap() else { return };
        let build = watched.build;
        let cases = watched.program.ask("list").unwrap();
        assert_eq!(cases.iter().map(String::as_str).collect::<BTreeSet<_>>(), names, "each row is tested");
        for case in &cases {
            watched.program.ask(&format!("run {case} {TIMES}")).unwrap();
        }
        let (facts, outcome) = watched.end().unwrap();
        let inferred = judge(&facts, &outcome);
        for row in &rows {
            // Shown if something fails below.
            println!("{build}: {}", row[0]);
            let is_of_row = |call: &&Call| call.case.strip_suffix("-inner").unwrap_or(&call.case) == row[0];
            let mut calls: Vec<_> = facts.calls.iter().filter(is_of_row).collect();
            calls.sort_by_key(|call| call.start);
            if row[2] == "no span" {
                // That there is none the judge has said.
                assert_eq!(calls.len(), 3 * TIMES);
                continue;
            }
            let rule =
                |call: &&Call| if call.rule.is_empty() { "none".to_owned() } else { call.rule.clone() };
            let rules: Vec<_> = calls.iter().map(rule).collect();
            assert_eq!(rules.join(" "), [row[2].as_str(); TIMES].join(" "));
            let found = inferred.get(&row[0]).map_or(0, |inferred| inferred.right + inferred.wrong);
            assert_eq!(found > 0, row[2].contains("parent_goroutine"), "{inferred:?}");
        }
        assert_eq!(outcome.count("context_bound"), TIMES as u64, "{}", outcome.messages);
    }
}

/// Requests, goroutines and contexts from before the agent belong to nobody; what comes after them on the same
/// connections is like anything else.
#[test]
fn what_began_before_the_agent_is_linked_to_nothing() {
    for minor in [21, 26, 27] {
        let before = |program: &mut Driven| program.ask("hold 20").map(drop);
        let watched = Watched::start_with(Program::Parents, minor, Mode::Plain, &[], before).unwrap();
        let Some(mut watched) = watched else { return };
        watched.program.ask("release").unwrap();
        let (facts, outcome) = watched.end().unwrap();
        judge(&facts, &outcome);
        let linked = facts.calls.iter().filter(|call| !call.rule.is_empty()).count();
        assert_eq!((facts.calls.len(), linked), (20 * 6, 20 * 2));
    }
}

/// What the program was asked about its types is forgotten where there is no room, and asked again.
#[test]
fn types_that_were_forgotten_are_asked_about_again() {
    const ITABS: u64 = 4096;
    let Some(mut watched) = Watched::start(Program::Parents, 26, Mode::Plain).unwrap() else { return };
    let cases = watched.program.ask("list").unwrap();
    let agent = watched.agent.pid();
    let known = || -> BTreeSet<[u64; 2]> {
        hash_map::<[u64; 2], u64>(agent, "ITABS").unwrap().keys().map(Result::unwrap).collect()
    };
    let mut run = || {
        for case in &cases {
            watched.program.ask(&format!("run {case} {TIMES}")).unwrap();
        }
    };
    run();
    let before = known();
    assert!(!before.is_empty());
    // The addresses are none of a program's.
    fill(agent, "ITABS", 0..4 * ITABS, |number| ([u64::MAX, number], 0_u64)).unwrap();
    assert_eq!(known().intersection(&before).count(), 0);
    run();
    assert!(known().is_superset(&before));
    let (facts, outcome) = watched.end().unwrap();
    judge(&facts, &outcome);
}
