//! Many requests at once, while probes come and go: none fails, and each is well formed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Driven, Outcome, is_privileged};

use super::refusal::is_refused;
use super::wire::Wire;

/// What the program sends that traces itself, which every fifth request does.
const OURS: &str = "Traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
const WORKERS: usize = 16;
/// So many requests are asked for at once, and so many agents come and go at least.
const CHUNK: usize = 500;
const AGENTS: usize = 3;

#[test]
fn no_request_fails_while_probes_come_and_go() {
    if !is_privileged("watching") {
        return;
    }
    let requests: usize = Extent::of_environment().pick(2_000, 100_000);
    let build = Build::here(Program::Propagation, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let mut program = Driven::start(&build.path().unwrap()).unwrap();
    let (pid, wire) = (program.pid(), Wire::start());
    let command = format!("load {CHUNK} {WORKERS} http://{}", wire.address);
    let (sent, is_enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, ends) = (Arc::clone(&sent), Arc::clone(&is_enough));
    let load = thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            assert_eq!(program.ask_within(Duration::from_mins(9), &command).unwrap(), ["0"], "none fails");
            counted.fetch_add(CHUNK, Ordering::Relaxed);
        }
    });
    let mut outcomes = Vec::new();
    while !load.is_finished() && (sent.load(Ordering::Relaxed) < requests || outcomes.len() < AGENTS) {
        let agent = Agent::start(["--pid", &pid.to_string(), "--propagate"], &[]).unwrap();
        agent.watches(pid).unwrap();
        thread::sleep(Duration::from_secs(1));
        outcomes.push(agent.stop().unwrap());
        if is_refused(&outcomes[0]) {
            println!("skipped: this kernel lets no program write");
            break;
        }
    }
    is_enough.store(true, Ordering::Relaxed);
    load.join().unwrap();
    let (messages, requests) = (wire.take(), sent.load(Ordering::Relaxed));
    assert_eq!(messages.len(), requests);
    let count = |name| outcomes.iter().map(|outcome| outcome.count(name)).sum::<u64>();
    let added = messages.iter().filter_map(|message| added(message)).collect::<Vec<_>>();
    if is_refused(&outcomes[0]) {
        assert!(added.is_empty());
        return;
    }
    println!("{} agents added {} headers to {requests} requests", outcomes.len(), added.len());
    assert_eq!(added.len() as u64, count("propagated"));
    assert!(added.len() > 100, "{}", added.len());
    assert!(count("propagation_own") > 0);
    let unproven = ["propagation_unproven", "propagation_shared", "propagation_no_room"].map(count);
    assert_eq!(unproven, [0; 3]);
    assert_parents(&added, &outcomes, count("spans_open_at_end"));
}

/// The header that was added to a message, with its target, if one was. What the program sent itself stands as it was.
fn added(message: &[u8]) -> Option<(String, String)> {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&message[..end]).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let number: usize = target.rsplit_once('/').unwrap().1.parse().unwrap();
    let size = if number.is_multiple_of(3) { number % 6000 } else { 0 };
    assert_eq!(message.len() - end - 4, size, "{head}");
    let is_header = |line: &&str| line.to_ascii_lowercase().starts_with("traceparent");
    let headers: Vec<_> = head.lines().filter(is_header).collect();
    if number.is_multiple_of(5) {
        assert_eq!(headers, [OURS], "{head}");
        return None;
    }
    assert!(headers.len() <= 1, "{head}");
    headers.first().map(|header| (target, (*header).to_owned()))
}

/// Each header is that of the span of its request, but for those that were open when their agent ended.
fn assert_parents(added: &[(String, String)], outcomes: &[Outcome], open: u64) {
    let spans = outcomes.iter().flat_map(|outcome| &outcome.spans);
    let by_header: BTreeMap<_, _> = spans
        .map(|span| (format!("traceparent: 00-{}-{}-01", span.trace_id, span.span_id), span.text("url.full")))
        .collect();
    let mut missing = 0;
    for (target, header) in added {
        match by_header.get(header) {
            Some(url) => assert!(url.ends_with(target.as_str()), "{header} of {target} is that of {url}"),
            None => missing += 1,
        }
    }
    assert!(missing <= open, "{missing} headers of no span, {open} were open");
}
