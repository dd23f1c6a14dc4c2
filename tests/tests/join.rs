//! Links between the spans of two programs, of which one calls the other: the number in the path tells which request was which call.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lightfoot::attach::MAX_CONNECTED;
use lightfoot_probes_abi::Connected;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Driven, Outcome, Span, fill, hash_map, is_privileged};

const CLIENT: u64 = 3;
type Counts = BTreeMap<String, u64>;
/// What the client gives up, perhaps before its request has come.
const LATE: u64 = 8;
/// Enough that callers that come late have spans, too.
const ARGUMENTS: [&str; 3] = ["--join", "--callers-settle", "3600"];
/// One agent at a time: the machine is busy enough.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn go_1_27_calls_go_1_21() {
    each_request_is_linked_with_its_call_and_nothing_else(27, 21);
}

#[test]
fn go_1_21_calls_go_1_27() {
    each_request_is_linked_with_its_call_and_nothing_else(21, 27);
}

/// A client, a server, and an agent that watches both.
fn scene(client: u32, server: u32, arguments: &[&str]) -> Option<(Driven, Driven, Agent)> {
    if !is_privileged("joining spans") {
        return None;
    }
    let start = |minor| {
        let build = Build::here(Program::Join, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
        Driven::start(&build.path().unwrap()).unwrap()
    };
    let (client, server) = (start(client), start(server));
    let pids = [&client, &server].map(|driven| driven.pid().to_string());
    let of_processes = ["--pid", &pids[0], "--pid", &pids[1]];
    let agent = Agent::start(of_processes.iter().chain(arguments).copied(), &[]).unwrap();
    agent.watches(client.pid()).unwrap();
    agent.watches(server.pid()).unwrap();
    Some((client, server, agent))
}

/// Ends the agent once all of so many spans are there.
fn ended(agent: Agent, spans: usize) -> Outcome {
    agent.wait_for_spans(spans, |_| true).unwrap();
    agent.stop().unwrap()
}

fn each_request_is_linked_with_its_call_and_nothing_else(client: u32, server: u32) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((mut client, server, agent)) = scene(client, server, &ARGUMENTS) else { return };
    let (plain, secure) = (server.url("plain").unwrap(), server.url("secure").unwrap());
    let mut load = |command: String| assert_eq!(client.ask(&command).unwrap(), ["0"], "none fails");
    load(format!("load {plain} 1000 16 0"));
    load(format!("load {secure} 500 16 1000"));
    load(format!("load {secure} 500 16 2000 http2"));
    agent.wait_for_spans(2000, |span| span.kind == CLIENT).unwrap();
    agent.wait_for_spans(1779, |span| span.kind != CLIENT && number(span) % 9 != LATE).unwrap();
    let outcome = agent.stop().unwrap();
    let mut of_numbers: BTreeMap<u64, Vec<&Span>> = BTreeMap::new();
    for span in &outcome.spans {
        of_numbers.entry(number(span)).or_default().push(span);
    }
    let by_id: BTreeMap<_, _> = outcome.spans.iter().map(|span| (&span.span_id, span)).collect();
    let mut linked = BTreeSet::new();
    for span in &outcome.spans {
        for (trace_id, span_id) in &span.links {
            let other = by_id[span_id];
            assert_eq!((number(span), trace_id), (number(other), &other.trace_id), "{span:?} {other:?}");
            assert_ne!(span.kind, other.kind);
            assert!(linked.insert(number(span)), "one of both has the link");
        }
    }
    let pairs = of_numbers.iter().filter(|(_, spans)| spans.len() == 2);
    let pairs: BTreeSet<_> = pairs.map(|(number, _)| *number).collect();
    assert!(linked.is_subset(&pairs));
    let in_time = |of: &BTreeSet<u64>| of.iter().filter(|number| **number % 9 != LATE).count();
    assert_eq!((in_time(&pairs), in_time(&linked)), (1779, 1779), "each");
    assert!(linked.len() > 1779, "those that are given up, too");
    // A stream is of one call alone, so it is known however late its request comes.
    let over_http2 = |of: &BTreeSet<u64>| of.iter().filter(|number| **number >= 2000).count();
    assert_eq!(over_http2(&pairs), over_http2(&linked));
    assert_eq!(outcome.count("joined"), linked.len() as u64);
    assert!(outcome.count("join_site") >= 1779, "{}", outcome.count("join_site"));
    let is_clean = ["join_ambiguous", "join_unproven", "join_full"].map(|name| outcome.count(name));
    assert_eq!(is_clean, [0; 3]);
    let has_peer = |span: &&Span| span.kind == CLIENT && span.text("network.peer.address") == "127.0.0.1";
    assert!(outcome.spans.iter().filter(has_peer).count() >= 1779);
}

/// Without the flag nothing is placed, and no record says more.
#[test]
fn nothing_is_linked_unless_asked_for() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((mut client, server, agent)) = scene(26, 26, &ARGUMENTS[1..]) else { return };
    client.ask(&format!("load {} 8 1 0", server.url("plain").unwrap())).unwrap();
    let outcome = ended(agent, 16);
    assert!(outcome.spans.iter().all(|span| span.links.is_empty()));
    assert!(
        outcome.spans.iter().all(|span| span.kind != CLIENT || span.text("network.peer.address").is_empty())
    );
    assert_eq!((outcome.count("join_site"), outcome.count("join_unmatched")), (0, 0));
}

/// A dialer of the program's own hands out a connection that is none of package `net`.
#[test]
fn connections_of_another_kind_are_counted() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((mut client, server, agent)) = scene(26, 26, &ARGUMENTS) else { return };
    client.ask(&format!("load {} 8 1 0 wrapped", server.url("plain").unwrap())).unwrap();
    let outcome = ended(agent, 16);
    assert!(outcome.spans.iter().all(|span| span.links.is_empty()));
    assert_eq!((outcome.count("join_unproven"), outcome.count("join_site")), (8, 8));
}

/// More requests over HTTP/2 are open at once than there is room for their connections: those that are forgotten are counted, and the others have
/// their links.
#[test]
fn connections_beyond_the_limit_are_counted() {
    const CROWD: u64 = 5000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let arguments: Vec<_> =
        ARGUMENTS.into_iter().chain(["--max-open-spans", "16384", "--ring-size", "16384"]).collect();
    let Some((mut client, server, agent)) = scene(26, 26, &arguments) else { return };
    let load = format!("load {} {CROWD} {CROWD} 0 crowd", server.url("secure").unwrap());
    assert_eq!(client.ask_within(Duration::from_mins(1), &load).unwrap(), ["0"], "none fails");
    let outcome = ended(agent, 2 * usize::try_from(CROWD).unwrap());
    let forgotten = outcome.count("join_unproven");
    assert!(forgotten >= CROWD - u64::from(MAX_CONNECTED) && forgotten < CROWD, "{forgotten}");
    let by_id: BTreeMap<_, _> = outcome.spans.iter().map(|span| (&span.span_id, span)).collect();
    let mut linked = 0;
    for span in &outcome.spans {
        for (_, span_id) in &span.links {
            assert_eq!(number(span), number(by_id[span_id]));
            linked += 1;
        }
    }
    assert_eq!((linked, outcome.count("joined")), (CROWD - forgotten, CROWD - forgotten));
}

/// So many threads at once put a connection together: what one more finds is not known, and counted.
#[test]
fn threads_beyond_the_limit_are_counted() {
    const THREADS: u64 = 256;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((mut client, server, agent)) = scene(26, 26, &ARGUMENTS) else { return };
    let load = |first| format!("load {} 8 1 {first} http2", server.url("secure").unwrap());
    // None of them is a thread's.
    let other = |number| (u64::MAX - number, [0_u64; size_of::<Connected>() / 8]);
    fill(agent.pid(), "CONNECTING", 0..THREADS, other).unwrap();
    client.ask(&load(0)).unwrap();
    agent.wait_for_spans(16, |_| true).unwrap();
    let mut threads = hash_map::<u64, [u64; size_of::<Connected>() / 8]>(agent.pid(), "CONNECTING").unwrap();
    assert_eq!(threads.keys().count() as u64, THREADS);
    threads.remove(&u64::MAX).unwrap();
    client.ask(&load(8)).unwrap();
    let outcome = ended(agent, 32);
    assert_eq!(["join_site", "join_unproven", "joined"].map(|name| outcome.count(name)), [16, 8, 8]);
    let linked: BTreeSet<_> =
        outcome.spans.iter().filter(|span| !span.links.is_empty()).map(number).collect();
    assert_eq!(linked, (8..16).collect());
}

/// The site adds a dozen reads to a call, and two more where the connection is encrypted. Over HTTP/2 it is 19, of which 3 are the server's.
#[test]
fn a_call_takes_a_dozen_reads_more() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let measured = |flags: &[&str], server: &str, how: &str| {
        let flags: Vec<_> =
            flags.iter().copied().chain(["--callers-settle", "3600", "--count-reads"]).collect();
        let (mut client, other, agent) = scene(26, 26, &flags)?;
        let mut counted = |first| {
            let before = agent.counts().unwrap();
            client.ask(&format!("load {} 8 1 {first}{how}", other.url(server).unwrap())).unwrap();
            agent.wait_for_spans(16, |span| number(span) >= first).unwrap();
            let after = agent.counts().unwrap();
            let count = |of: &Counts, name: &str| of.get(name).copied().unwrap_or_default();
            ["user_reads", "join_site"].map(|name| count(&after, name) - count(&before, name))
        };
        // Of the first call of a connection and of a caller more is read.
        counted(0);
        Some(counted(900))
    };
    for (server, how, more) in [("plain", "", 12), ("secure", "", 14), ("secure", " http2", 19)] {
        let without = measured(&[], server, how);
        let with = measured(&["--join"], server, how);
        let (Some([without, none]), Some([with, traps])) = (without, with) else { return };
        assert_eq!((none, traps), (0, 8), "{server}{how}");
        assert_eq!(with - without, 8 * more, "{server}{how}: {without} and {with}");
    }
}

/// What the path of a request ends with.
fn number(span: &Span) -> u64 {
    let path = if span.kind == CLIENT { span.text("url.full") } else { span.path() };
    path.rsplit('/').next().unwrap().parse().unwrap()
}
