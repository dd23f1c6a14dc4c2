//! What each kind of gRPC call is like on the wire, and what is counted for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::{NO_CALLER_IS_LATE, documented};
use lightfoot_tests::live::{Driven, Span, Watched};

use super::cases::{as_documented, counted};
use super::frames::{Proxy, compare, ends, lacking_behind_first};
use super::refusal::is_refused;
use super::tried;

/// A case with what is counted, in the order of [`super::cases::COUNTERS`].
const CASES: [(&str, [u64; 6]); 18] = [
    ("call", [1, 0, 0, 0, 0, 0]),
    ("kept", [4, 0, 0, 0, 0, 0]),
    ("short", [4, 0, 0, 0, 0, 0]),
    ("deadline", [4, 0, 0, 0, 0, 0]),
    ("stream", [3, 0, 0, 0, 0, 0]),
    ("metadata", [2, 0, 0, 0, 0, 0]),
    ("own", [0, 2, 0, 0, 0, 0]),
    ("own-empty", [0, 2, 0, 0, 0, 0]),
    ("own-twice", [0, 2, 0, 0, 0, 0]),
    ("own-state", [2, 0, 0, 0, 0, 0]),
    ("many", [2, 0, 0, 0, 0, 0]),
    ("too-many", [0, 0, 0, 0, 0, 2]),
    ("alike", [2, 0, 0, 0, 0, 0]),
    ("long", [0, 0, 2, 0, 0, 0]),
    ("together", [3, 0, 0, 0, 0, 0]),
    ("intercepted", [3, 0, 0, 0, 0, 0]),
    ("unbuffered", [3, 0, 0, 0, 0, 0]),
    ("small-buffer", [3, 0, 0, 0, 0, 0]),
];

/// Their headers say how much time is left.
const NEVER_THE_SAME: &str = "deadline";

/// grpc-go 1.40, 1.75, 1.85.
const BUILDS: [(u32, Mode); 4] =
    [(26, Mode::Plain), (21, Mode::Plain), (24, Mode::PieStripped), (27, Mode::Plain)];

#[test]
fn a_call_differs_from_the_one_without_us_in_the_header_alone() {
    for &(minor, mode) in tried(&BUILDS) {
        // By default since grpc-go 1.83.
        let shares_buffers = minor > 25;
        let mut server = served(minor, mode);
        let proxy = Proxy::start(server.1);
        let address = proxy.address;
        let mut bare = BTreeMap::new();
        let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
        let watched = Watched::start_with(Program::PropagationGrpc, minor, mode, &arguments, |program| {
            for (case, _) in CASES {
                program.ask(&format!("run {case} {address}"))?;
                bare.insert(case, proxy.take());
            }
            Ok(())
        });
        let Some(mut watched) = watched.unwrap() else { return };
        assert_eq!(watched.program.ask("list").unwrap(), CASES.map(|(case, _)| case));
        server.0.ask("seen").unwrap();
        let mut results = Vec::new();
        for (case, expected) in CASES {
            let run = |program: &mut Driven| program.ask(&format!("run {case} {address}")).unwrap();
            let (counted, _) = counted(&mut watched, run);
            results.push((case, expected, counted, proxy.take(), server.0.ask("seen").unwrap()));
        }
        let (build, (_, outcome)) = (watched.build, watched.end().unwrap());
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        let mut failed = Vec::new();
        for (case, expected, counted, connections, seen) in &results {
            println!("{build} {case}: {counted:?}");
            // A connection that shares its buffers for writing may have nothing yet that is longer than the headers of its first call.
            let mut expected = *expected;
            if shares_buffers && expected[0] > 0 {
                let lacking = counted[2].min(connections.len() as u64);
                (expected[0], expected[2]) = (expected[0] - lacking, expected[2] + lacking);
            }
            if *counted != expected {
                failed.push(format!("{case}: counted {counted:?}, not {expected:?}"));
            }
            if expected[0] > 0 && lacking_behind_first(connections) > 0 {
                failed.push(format!("{case}: another than a first call has none: {connections:x?}"));
            }
            let compare = if *case == NEVER_THE_SAME { ends } else { compare };
            match compare(&bare[case], connections) {
                Ok(added) => {
                    let wrong = check(&added, counted[0], seen, &outcome.spans);
                    failed.extend(wrong.into_iter().map(|why| format!("{case}: {why}")));
                }
                Err(why) => failed.push(format!("{case}: {why}")),
            }
        }
        let added: u64 = results.iter().map(|(_, _, counted, ..)| counted[0]).sum();
        assert!(added > 0, "{build}");
        assert!(failed.is_empty(), "{build}: {}\n{}", failed.join("\n"), outcome.messages);
    }
}

#[test]
fn the_document_says_what_is_tested_of_grpc() {
    let rows = documented("propagation.md").unwrap();
    let of_grpc = rows.iter().filter(|row| row.len() == 3 && row[0].starts_with("grpc "));
    let said: Vec<_> = of_grpc.map(|row| (row[0].clone(), row[2].clone())).collect();
    assert_eq!(said, CASES.map(|(case, counts)| (format!("grpc {case}"), as_documented(counts))));
}

/// A program that serves, and its address. Nobody watches it.
pub(crate) fn served(minor: u32, mode: Mode) -> (Driven, SocketAddr) {
    let build = Build::here(Program::PropagationGrpc, GoVersion::of_minor(minor).unwrap(), mode);
    let mut server = Driven::start(&build.path().unwrap()).unwrap();
    let address = server.ask("serve").unwrap()[0].parse().unwrap();
    (server, address)
}

/// What is wrong with the headers that were added: each is that of a span of its own, and the server has got it.
fn check(added: &[String], counted: u64, seen: &[String], spans: &[Span]) -> Vec<String> {
    let mut wrong = Vec::new();
    if added.len() as u64 != counted {
        wrong.push(format!("{} headers were added, {counted} counted", added.len()));
    }
    if added.iter().collect::<BTreeSet<_>>().len() != added.len() {
        wrong.push(format!("not all are of spans of their own: {added:?}"));
    }
    for value in added {
        let is_of = |span: &&Span| *value == format!("00-{}-{}-01", span.trace_id, span.span_id);
        match spans.iter().filter(is_of).collect::<Vec<_>>()[..] {
            [span] if span.kind == 3 && span.text("rpc.system.name") == "grpc" => {}
            ref other => wrong.push(format!("{value} is that of {other:?}")),
        }
        if !seen.iter().any(|line| line.split_once(' ').is_some_and(|(_, seen)| seen == value)) {
            wrong.push(format!("the server has not got {value} alone: {seen:?}"));
        }
    }
    wrong
}
