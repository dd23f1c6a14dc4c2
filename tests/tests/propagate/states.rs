//! `tracestate`: what a request came with goes out with those that are sent on behalf of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::Watched;
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;

use super::refusal::is_refused;
use super::wire::Wire;

pub(crate) const PARENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// How a request is handed on, what it came with, and the lines that go out with a `traceparent`.
struct Case {
    way: &'static str,
    came: Vec<String>,
    sent: Vec<String>,
    /// What is counted for it: `propagated_states`, `propagation_state_dropped`.
    counted: [u64; 2],
}

#[test]
fn what_a_request_came_with_goes_out_with_those_on_its_behalf() {
    for (minor, mode) in [(26, Mode::Plain), (21, Mode::Plain), (27, Mode::Plain)] {
        let wire = Wire::start();
        let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
        let watched = Watched::start_with(Program::Propagation, minor, mode, &arguments, |_| Ok(()));
        let Some(mut watched) = watched.unwrap() else { return };
        let address = watched.program.ask("serve").unwrap().remove(0);
        let mut results = Vec::new();
        for case in cases() {
            let before = watched.agent.counts().unwrap();
            request(&address, &format!("/{}/{}", case.way, wire.address), &case.came);
            let after = watched.agent.counts().unwrap();
            let count = |name| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
            let counted = ["propagated_states", "propagation_state_dropped"].map(count);
            results.push((case, counted, count("propagated"), wire.take()));
        }
        let (build, (_, outcome)) = (watched.build, watched.end().unwrap());
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        for (case, counted, propagated, messages) in results {
            let what = format!("{build} {} {:?}", case.way, case.came);
            assert_eq!((counted, propagated), (case.counted, 1), "{what}");
            let [message] = &messages[..] else { panic!("{what}: {} messages", messages.len()) };
            let head = String::from_utf8(message.clone()).unwrap();
            let lines: Vec<_> = head.split("\r\n").collect();
            let [_, .., context, "", ""] = lines[..] else { panic!("{what}: {head}") };
            assert!(context.starts_with("traceparent: 00-"), "{what}: {head}");
            let states: Vec<_> =
                lines.iter().filter(|line| line.to_ascii_lowercase().starts_with("tracestate:")).collect();
            assert_eq!(states, case.sent.iter().collect::<Vec<_>>(), "{what}");
        }
    }
}

/// Of which the kernel does not tell.
#[test]
fn what_was_dropped_for_newer_ones_is_counted() {
    // More than the map has room for, and as many at a time.
    const NEWER: usize = 5_000;
    const AT_A_TIME: usize = 100;
    let wire = Wire::start();
    let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
    let watched = Watched::start_with(Program::Propagation, 26, Mode::Plain, &arguments, |_| Ok(()));
    let Some(mut watched) = watched.unwrap() else { return };
    let address = watched.program.ask("serve").unwrap().remove(0);
    // Nothing is sent on its behalf before its body comes.
    let mut waiting = TcpStream::connect(&address).unwrap();
    let lines = format!("Connection: close\r\nContent-Length: 1\r\n{PARENT}\r\ntracestate: foo=1");
    write!(waiting, "POST /plain/{} HTTP/1.1\r\nHost: here\r\n{lines}\r\n\r\n", wire.address).unwrap();
    watched.agent.counts_to("started", 1).unwrap();
    let mut newer = TcpStream::connect(&address).unwrap();
    let one = format!("GET /none/ HTTP/1.1\r\nHost: here\r\n{PARENT}\r\ntracestate: foo=2\r\n\r\n");
    let mut answers = BufReader::new(newer.try_clone().unwrap()).lines();
    for _ in 0..NEWER / AT_A_TIME {
        newer.write_all(one.repeat(AT_A_TIME).as_bytes()).unwrap();
        let is_one = |line: &String| line.starts_with("HTTP/1.1 200 ");
        let answered = answers.by_ref().map(Result::unwrap).filter(is_one).take(AT_A_TIME).count();
        assert_eq!(answered, AT_A_TIME);
    }
    waiting.write_all(b"x").unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    let (_, outcome) = watched.end().unwrap();
    if is_refused(&outcome) {
        println!("skipped: this kernel lets no program write");
        return;
    }
    let head = String::from_utf8(wire.take().remove(0)).unwrap();
    assert!(head.contains("\r\ntraceparent: 00-") && !head.contains("tracestate"), "{head}");
    let counted = ["started", "propagated", "propagated_states", "propagation_state_evicted"];
    assert_eq!(counted.map(|name| outcome.count(name)), [NEWER as u64 + 2, 1, 0, 1], "{:?}", outcome.counts);
}

fn cases() -> Vec<Case> {
    let came = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    let state = |value: &str| format!("tracestate: {value}");
    let handed_on = |way, lines: &[&str], value: &str| Case {
        way,
        came: came(lines),
        sent: vec![state(value)],
        counted: [1, 0],
    };
    let none = |way, lines: &[&str], dropped| Case {
        way,
        came: came(lines),
        sent: Vec::new(),
        counted: [0, dropped],
    };
    let longest = format!("a={},b={}", "x".repeat(251), "y".repeat(256));
    let members =
        |count: usize| (0..count).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",");
    vec![
        handed_on("plain", &[PARENT, "tracestate: foo=1"], "foo=1"),
        handed_on("goroutine", &[PARENT, "tracestate: foo=1,bar=2"], "foo=1,bar=2"),
        handed_on("plain", &[UNSAMPLED, "tracestate: foo=1"], "foo=1"),
        // Several are one list (RFC 9110, section 5.3).
        handed_on("plain", &[PARENT, "TraceState: foo=1", "tracestate: bar=2"], "foo=1,bar=2"),
        handed_on("plain", &[PARENT, "tracestate: foo=1,", "tracestate: "], "foo=1,,"),
        handed_on("plain", &[PARENT, "tracestate: foo=1 \t , \t bar=2"], "foo=1 \t , \t bar=2"),
        handed_on("plain", &[PARENT, &state(&longest)], &longest),
        handed_on("plain", &[PARENT, &state(&members(32))], &members(32)),
        none("plain", &[PARENT], 0),
        none("plain", &[PARENT, "tracestate: "], 0),
        // Without a valid one that does not count.
        none("plain", &["tracestate: foo=1"], 0),
        none("plain", &["traceparent: what", "tracestate: foo=1"], 0),
        // Too long, which is counted as `tracestate_dropped`.
        none("plain", &[PARENT, &state(&format!("{longest}z"))], 0),
        none("plain", &[PARENT, &state(&members(33))], 1),
        none("plain", &[PARENT, "tracestate: foo=bar=baz"], 1),
        none("plain", &[PARENT, "tracestate: foo=1,bar"], 1),
        none("full", &[PARENT, &state(&longest)], 1),
        Case {
            way: "own",
            came: came(&[PARENT, "tracestate: foo=1"]),
            sent: vec!["Tracestate: own=1".into()],
            counted: [0, 0],
        },
    ]
}

/// Sends a request with these lines, and waits for the answer.
pub(crate) fn request(address: &str, path: &str, lines: &[String]) {
    let mut stream = TcpStream::connect(address).unwrap();
    let lines = [lines, &[String::new()]].concat().join("\r\n");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{lines}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("ok"), "{answer}");
}
