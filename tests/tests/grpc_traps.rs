//! What a call by gRPC costs in traps, by the kernel's own statistics. A test program of its own: nothing else may use the
//! watched program meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "common/runs.rs"]
mod runs;

use std::thread;
use std::time::Duration;

use lightfoot::watch::CALLERS_SETTLE;
use lightfoot_tests::each::at_once;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Driven, Watched};

use runs::runs_of;

const CALLS: u64 = 200;

/// How long the agent may take to learn a caller that it has not seen before.
const LEARNING: Duration = CALLERS_SETTLE.saturating_add(Duration::from_secs(4));

const USUAL: [(Program, u32); 3] = [(Program::OldRpc, 21), (Program::OldRpc, 25), (Program::Rpc, 27)];

fn builds() -> Vec<(Program, u32)> {
    let all = [Program::Rpc, Program::OldRpc]
        .into_iter()
        .flat_map(|program| (21..=27).map(move |minor| (program, minor)));
    let extent = Extent::of_environment();
    extent.some_of(&extent.pick(USUAL.to_vec(), all.collect())).to_vec()
}

/// Such a program, which is watched as users start the agent, with these arguments more.
fn watched(program: Program, minor: u32, arguments: &[&str]) -> Option<Watched> {
    let build = Build::here(program, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
    Watched::beside_others(build, arguments).unwrap()
}

/// Calls a server in each of these ways, and compares the traps that each call takes, once its caller is known.
fn assert_traps(watched: &mut Watched, server: &Driven, kinds: &[(&str, u64)]) {
    let call = |count, kind| format!("call {} {count} {kind}", server.url("grpc").unwrap());
    for (kind, _) in kinds {
        watched.program.ask(&call(10, kind)).unwrap();
    }
    thread::sleep(LEARNING);
    for (kind, traps) in kinds {
        let Watched { program, agent, .. } = &mut *watched;
        let runs = runs_of(agent, || {
            program.ask(&call(CALLS, kind)).unwrap();
        });
        assert_eq!(runs, traps * CALLS, "{kind}, {}", watched.build);
    }
}

/// Two for each call, whatever comes of it; a stream has to be recognised when it was opened, and takes three.
#[test]
fn a_call_takes_two_traps() {
    let kinds = [
        ("unary", 2),
        ("direct", 2),
        ("error", 2),
        ("intercepted", 2),
        ("retried", 2),
        ("deadline", 2),
        ("cancelled", 2),
        ("stream", 3),
    ];
    at_once(builds(), |(program, minor)| {
        let Some(mut watched) = watched(program, minor, &[]) else { return };
        let server = Driven::start(&watched.build.path().unwrap()).unwrap();
        assert_traps(&mut watched, &server, &kinds);
        // Nobody listens there any more; the caller is known.
        let address = server.url("grpc").unwrap();
        server.stop().unwrap();
        let runs = runs_of(&watched.agent, || {
            watched.program.ask(&format!("call {address} {CALLS} error")).unwrap();
        });
        assert_eq!(runs, 2 * CALLS, "refused, {}", watched.build);
        let (_, outcome) = watched.end().unwrap();
        let calls = kinds.len() as u64 * (CALLS + 10) + CALLS;
        assert_eq!(outcome.spans.len() as u64, calls, "each call has its span: {}", outcome.messages);
        assert_eq!(outcome.count("spans_open_at_end"), 0, "{}", outcome.messages);
    });
}

/// One more for each message if they are counted, and for what tells that no more come. A unary call of a client sends and receives as
/// a stream does.
#[test]
fn a_message_takes_a_trap_if_it_is_counted() {
    at_once(builds(), |(program, minor)| {
        let Some(mut watched) = watched(program, minor, &["--count-messages"]) else { return };
        let server = Driven::start(&watched.build.path().unwrap()).unwrap();
        // Since 1.85 a unary call receives once more to know that nothing comes.
        let once_more = u64::from(program == Program::Rpc && minor >= 26);
        assert_traps(&mut watched, &server, &[("unary", 4 + once_more), ("stream", 4)]);
        watched.end().unwrap();
    });
}

/// One more for each call that is joined with what it reaches, and none for what is served.
#[test]
fn a_call_takes_a_trap_more_if_it_is_joined() {
    at_once(builds(), |(program, minor)| {
        let Some(mut watched) = watched(program, minor, &["--join"]) else { return };
        let server = Driven::start(&watched.build.path().unwrap()).unwrap();
        let kinds = [("unary", 3), ("error", 3), ("intercepted", 3), ("retried", 3), ("stream", 4)];
        assert_traps(&mut watched, &server, &kinds);
        let mut client = Driven::start(&watched.build.path().unwrap()).unwrap();
        let address = watched.program.url("grpc").unwrap();
        let runs = runs_of(&watched.agent, || {
            client.ask(&format!("call {address} {CALLS} unary")).unwrap();
        });
        assert_eq!(runs, 2 * CALLS, "served, {}", watched.build);
        watched.end().unwrap();
    });
}

/// Two for each attempt of a call that is served, by grpc-go's own transport.
#[test]
fn a_served_call_takes_two_traps() {
    at_once(builds(), |(program, minor)| {
        let Some(watched) = watched(program, minor, &[]) else { return };
        let mut client = Driven::start(&watched.build.path().unwrap()).unwrap();
        let address = watched.program.url("grpc").unwrap();
        let kinds = [("unary", 1), ("error", 1), ("retried", 3), ("stream", 1)];
        for (kind, attempts) in kinds {
            let runs = runs_of(&watched.agent, || {
                client.ask(&format!("call {address} {CALLS} {kind}")).unwrap();
            });
            assert_eq!(runs, 2 * attempts * CALLS, "{kind}, {}", watched.build);
        }
        let (_, outcome) = watched.end().unwrap();
        let attempts: u64 = kinds.iter().map(|(_, attempts)| attempts).sum();
        assert_eq!(outcome.spans.len() as u64, attempts * CALLS, "{}", outcome.messages);
    });
}

/// Below net/http the request has its two, and the call and its status take two more. The connection takes one when it begins
/// as HTTP/1, which is where `h2c` gets it, and one when it ends.
#[test]
fn a_call_served_by_net_http_takes_four_traps() {
    at_once(builds(), |(program, minor)| {
        let Some(watched) = watched(program, minor, &[]) else { return };
        let mut client = Driven::start(&watched.build.path().unwrap()).unwrap();
        let address = watched.program.url("handler").unwrap();
        let runs = runs_of(&watched.agent, || {
            client.ask(&format!("call {address} {CALLS} unary")).unwrap();
        });
        assert_eq!(runs, 4 * CALLS + 2, "{}", watched.build);
        let (_, outcome) = watched.end().unwrap();
        assert_eq!(outcome.spans.len() as u64, CALLS, "{}", outcome.messages);
    });
}
