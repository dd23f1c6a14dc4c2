//! What a call costs in traps, by the kernel's own statistics. A test program of its own: nothing else may use the watched
//! program meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "common/runs.rs"]
mod runs;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lightfoot::watch::{CALLERS_SETTLE, TRUST};
use lightfoot_tests::each::at_once;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Client, Driven, Server, Watched};

use runs::runs_of;

const CALLS: u64 = 200;

/// How long the agent may take to learn a caller that it has not seen before.
const LEARNING: Duration = CALLERS_SETTLE.saturating_add(Duration::from_secs(4));

#[test]
fn go_1_21() {
    a_call_takes_two_traps(21);
}

#[test]
fn go_1_24() {
    a_call_takes_two_traps(24);
}

#[test]
fn go_1_26() {
    a_call_takes_two_traps(26);
}

#[test]
fn go_1_27() {
    a_call_takes_two_traps(27);
}

/// Two for each call, whoever makes it: by `http.Client`, by a wrapper around the transport, directly.
fn a_call_takes_two_traps(minor: u32) {
    at_once(["client", "wrapped", "direct"], |kind| {
        let Some(mut watched) = clients(minor, &[]) else { return };
        let server = Server::start(&truth(watched.build)).unwrap();
        let call = |count| format!("call http://{} {count} {kind}", server.address);
        learn(&mut watched.program, &call(10));
        if kind == "wrapped" {
            // Until then the client's own call of a transport is taken for one that matters.
            thread::sleep(TRUST);
        }
        let Watched { program, agent, .. } = &mut watched;
        let runs = runs_of(agent, || {
            program.ask(&call(CALLS)).unwrap();
        });
        assert_eq!(runs, 2 * CALLS, "{kind}, {}", watched.build);
        let (_, outcome) = watched.end().unwrap();
        let spans = outcome.spans.iter().filter(|span| span.kind == 3).count() as u64;
        assert_eq!(spans, CALLS + 10, "each call has its span: {}", outcome.messages);
        assert_eq!(outcome.count("spans_open_at_end"), 0, "{}", outcome.messages);
    });
}

#[test]
fn a_call_over_http2_takes_two_traps() {
    calls_take(2, &["http2"], &[]);
}

/// One more for each request whose connection is told of.
#[test]
fn a_call_takes_a_trap_more_if_it_is_joined() {
    calls_take(3, &["client", "http2"], &["--join"]);
}

/// What calls by `http.Client` take to a server that is not watched, over HTTP/1 or HTTP/2.
fn calls_take(traps: u64, kinds: &[&str], arguments: &[&str]) {
    let minors = Extent::of_environment().some_of(&[21, 26, 27]);
    at_once(
        minors.iter().flat_map(|minor| kinds.iter().map(move |kind| (*minor, *kind))),
        |(minor, kind)| {
            let Some(mut watched) = clients(minor, arguments) else { return };
            let server = Build { program: Program::Bundled, ..watched.build };
            let server = Driven::start(&server.path().unwrap()).unwrap();
            let url = server.url(if kind == "http2" { "tls" } else { "http1" }).unwrap();
            let call = |count| format!("call {url} {count} {kind}");
            learn(&mut watched.program, &call(10));
            let Watched { program, agent, .. } = &mut watched;
            let runs = runs_of(agent, || {
                program.ask(&call(CALLS)).unwrap();
            });
            assert_eq!(runs, traps * CALLS, "{kind} {arguments:?}, {}", watched.build);
            let (_, outcome) = watched.end().unwrap();
            assert_eq!(outcome.spans.len() as u64, CALLS + 10, "{}", outcome.messages);
        },
    );
}

/// Two for the request and two for the call.
#[test]
fn what_a_reverse_proxy_passes_on_takes_four_traps() {
    at_once(Extent::of_environment().some_of(&[21, 24, 26, 27]), |&minor| {
        let Some(mut watched) = clients(minor, &[]) else { return };
        let server = Server::start(&truth(watched.build)).unwrap();
        let proxy = watched.program.ask(&format!("reverse http://{}", server.address)).unwrap();
        let address = proxy[0].trim_start_matches("http://").parse().unwrap();
        let mut client = Client::tcp(address);
        let mut send = |count: u64| {
            for number in 0..count {
                client.get(&format!("/plain/{number}"), "").unwrap().unwrap();
            }
        };
        send(10);
        thread::sleep(LEARNING);
        let runs = runs_of(&watched.agent, || send(CALLS));
        assert_eq!(runs, 4 * CALLS, "{}", watched.build);
        drop(client);
        let (_, outcome) = watched.end().unwrap();
        assert_eq!(outcome.spans.len() as u64, 2 * (CALLS + 10), "{}", outcome.messages);
    });
}

/// A caller that nobody has seen costs a third trap only until it is known; the others stay at two. But a wrapper's call passes
/// the end of a call by `http.Client` as well, which others need.
#[test]
fn callers_are_learned_while_it_runs() {
    let Some(mut watched) = clients(26, &[]) else { return };
    let server = Server::start(&truth(watched.build)).unwrap();
    let call = |kind: &str, count| format!("call http://{} {count} {kind}", server.address);
    let kinds = ["client", "direct", "wrapped"];
    for kind in kinds {
        learn(&mut watched.program, &call(kind, 1));
    }
    let Watched { program, agent, .. } = &mut watched;
    let mut all = || {
        runs_of(agent, || {
            for kind in kinds {
                program.ask(&call(kind, CALLS)).unwrap();
            }
        })
    };
    assert_eq!(all(), (2 + 2 + 3) * CALLS);
    let (_, outcome) = watched.end().unwrap();
    assert_eq!(outcome.spans.len() as u64, (CALLS + 1) * kinds.len() as u64, "{}", outcome.messages);
}

fn learn(program: &mut Driven, command: &str) {
    program.ask(command).unwrap();
    thread::sleep(LEARNING);
}

/// Such a program, which is watched as users start the agent, with these arguments more.
fn clients(minor: u32, arguments: &[&str]) -> Option<Watched> {
    let build = Build::here(Program::Clients, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
    Watched::beside_others(build, arguments).unwrap()
}

/// A server that is not watched: its binary is another file.
fn truth(build: Build) -> PathBuf {
    Build { program: Program::Truth, ..build }.path().unwrap()
}
