//! Many requests at once, while probes come and go: none fails, and each is well formed.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Driven, Outcome, Span, is_privileged};

use super::grpc::served;
use super::http2::{CLIENTS, Served};
use super::refusal::is_refused;
use super::wire::Wire;

/// What the program sends that traces itself, which every fifth request does.
const OURS: &str = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
const WORKERS: usize = 16;
/// So many requests are asked for at once.
const CHUNK: usize = 500;
/// Says how many there are to be; a word of a kernel's command line gets here, too.
const REQUESTS: &str = "LIGHTFOOT_TEST_REQUESTS";

/// A request as its server has got it.
struct Got {
    /// Its path, which ends with its number.
    path: String,
    /// The values of its `traceparent`.
    contexts: Vec<String>,
}

#[test]
fn no_request_fails_while_probes_come_and_go() {
    let wire = Wire::start();
    let call = format!("http://{}", wire.address);
    load(Program::Propagation, &call, || wire.take().iter().map(|message| of_message(message)).collect());
}

#[test]
fn no_request_over_http2_fails_while_probes_come_and_go() {
    for client in extent().some_of(&CLIENTS) {
        let mut served = Served::start(26, Mode::Plain);
        let call = format!("{client} {}", served.address(client, false));
        load(Program::PropagationHttp2, &call, || {
            served.server.ask("seen").unwrap().iter().map(|line| of_line(line, "traceparent=")).collect()
        });
    }
}

#[test]
fn no_call_fails_while_probes_come_and_go() {
    let (mut server, address) = served(26, Mode::Plain);
    load(Program::PropagationGrpc, &address.to_string(), || {
        server.ask("seen").unwrap().iter().map(|line| of_line(line, "")).collect()
    });
}

/// All that there is of what a number was asked for.
fn extent() -> Extent {
    if env::var_os(REQUESTS).is_some() { Extent::All } else { Extent::of_environment() }
}

/// A program of the newest Go but one sends requests, while agents come and go. Then what has come of them is looked at.
fn load(program: Program, call: &str, got: impl FnOnce() -> Vec<Got>) {
    if !is_privileged("watching") {
        return;
    }
    let requests = env::var(REQUESTS).map(|text| text.parse().unwrap());
    let requests = requests.unwrap_or_else(|_| extent().pick(2_000, 100_000));
    // So many come and go at least.
    let agents = if extent() == Extent::Least { 2 } else { 3 };
    let build = Build::here(program, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let mut driven = Driven::start(&build.path().unwrap()).unwrap();
    let (pid, command) = (driven.pid(), format!("load {CHUNK} {WORKERS} {call}"));
    let (sent, is_enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, ends) = (Arc::clone(&sent), Arc::clone(&is_enough));
    let load = thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            assert_eq!(driven.ask_within(Duration::from_mins(9), &command).unwrap(), ["0"], "none fails");
            counted.fetch_add(CHUNK, Ordering::Relaxed);
        }
    });
    let mut outcomes: Vec<Outcome> = Vec::new();
    // Where all is slow, little is sent while an agent is there.
    let has_few = |outcomes: &[Outcome]| {
        let added = outcomes.iter().map(|outcome| outcome.count("propagated")).sum::<u64>();
        added <= 100 && outcomes.len() < 10 * agents
    };
    while !load.is_finished()
        && (sent.load(Ordering::Relaxed) < requests || outcomes.len() < agents || has_few(&outcomes))
    {
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
    let requests = sent.load(Ordering::Relaxed);
    judge(requests, &got(), &outcomes);
}

/// Each request came once, with what the program sent itself, or with the context of its own span.
fn judge(requests: usize, got: &[Got], outcomes: &[Outcome]) {
    assert_eq!(got.len(), requests);
    let count = |name| outcomes.iter().map(|outcome| outcome.count(name)).sum::<u64>();
    let mut added = Vec::new();
    for Got { path, contexts } in got {
        if number(path).is_multiple_of(5) {
            assert_eq!(*contexts, [OURS], "{path}");
        } else if let [context] = &contexts[..] {
            added.push((path, context));
        } else {
            assert!(contexts.is_empty(), "{path} {contexts:?}");
        }
    }
    if is_refused(&outcomes[0]) {
        assert!(added.is_empty());
        return;
    }
    println!("{} agents added {} headers to {requests} requests", outcomes.len(), added.len());
    assert_eq!(added.len() as u64, count("propagated"));
    assert!(added.len() > 100, "{}", added.len());
    assert!(count("propagation_own") > 0);
    assert_eq!(["propagation_unproven", "propagation_shared"].map(count), [0; 2]);
    // A busy machine loses spans, which are counted.
    let gone = ["spans_open_at_end", "ring_full", "spans_lost_printer_behind", "spans_lost_unprinted"];
    assert_parents(&added, outcomes, gone.map(count).iter().sum());
}

fn number(path: &str) -> usize {
    path.rsplit_once(['/', 'N']).unwrap().1.parse().unwrap()
}

/// What the server got as a message, which must be as it was sent.
fn of_message(message: &[u8]) -> Got {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&message[..end]).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let number = number(&path);
    let size = if number.is_multiple_of(3) { number % 6000 } else { 0 };
    assert_eq!(message.len() - end - 4, size, "{head}");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("traceparent").then(|| value.to_owned())
    };
    Got { path, contexts: head.lines().filter_map(header).collect() }
}

/// What a server of Go prints of a request: its path, and some words, of which those are contexts that begin so.
fn of_line(line: &str, before: &str) -> Got {
    let (path, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words = rest.split(' ').filter(|word| !word.is_empty());
    let contexts = words.filter_map(|word| word.strip_prefix(before)).map(str::to_owned).collect();
    Got { path: path.to_owned(), contexts }
}

/// Each header is that of the span of its request, but for those that were open when their agent ended or that were lost.
fn assert_parents(added: &[(&String, &String)], outcomes: &[Outcome], gone: u64) {
    let of = |span: &Span| [span.text("url.full"), span.text("rpc.method")].concat();
    let spans = outcomes.iter().flat_map(|outcome| &outcome.spans);
    let by_context: BTreeMap<_, _> =
        spans.map(|span| (format!("00-{}-{}-01", span.trace_id, span.span_id), of(span))).collect();
    let mut missing = 0;
    for (path, context) in added {
        match by_context.get(*context) {
            Some(of) => {
                assert!(of.ends_with(path.trim_start_matches('/')), "{context} of {path} is that of {of}");
            }
            None => missing += 1,
        }
    }
    assert!(missing <= gone, "{missing} headers of no span, {gone} were open or lost");
}
