//! Many calls at once: each has its spans, and the spans are true.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Driven, Facts, Watched, fill, is_privileged, wall_offset};

use crate::expected::{assert_client, assert_server, is_stream};
use crate::pairs::{Call, Calls, SERVER};
use crate::rows::check_times;
use crate::{LOSSES, USUAL, all, parents};

/// See [`check_times`].
const CLOCK: u64 = 10_000;

/// The oldest and the newest grpc-go, or all.
fn oldest_and_newest() -> Vec<(Program, u32, Mode)> {
    let usual = vec![(Program::OldRpc, 21, Mode::Plain), (Program::Rpc, 27, Mode::Plain)];
    Extent::of_environment().pick(usual, all())
}

#[test]
fn spans_are_the_truth() {
    for (program, minor, mode) in Extent::of_environment().pick(USUAL.to_vec(), all()) {
        let Some(mut watched) = Watched::start(program, minor, mode).unwrap() else { return };
        // All at once would be more than an agent that is not optimised can print.
        for seed in 0..4 {
            watched.program.ask_within(Duration::from_mins(2), &format!("load 500 50 {seed}")).unwrap();
            watched.catch_up().unwrap();
        }
        check(watched, 2000);
    }
}

#[test]
fn a_thousand_calls_and_a_thousand_streams_of_one_connection_are_open_at_once() {
    let newest = vec![(Program::Rpc, 27, Mode::Plain)];
    for (program, minor, mode) in Extent::of_environment().pick(newest, all()) {
        let Some(mut watched) = Watched::start(program, minor, mode).unwrap() else { return };
        watched.program.ask_within(Duration::from_mins(1), "crowd 1000 1000").unwrap();
        let facts = check(watched, 2000);
        let streams = facts.called.iter().filter(|called| is_stream(called)).count();
        assert_eq!((facts.called.len(), streams), (2000, 1000));
        let latest_start = facts.handled.iter().map(|handled| handled.start).max();
        let first_end = facts.handled.iter().map(|handled| handled.end).min();
        assert!(latest_start < first_end, "not all of them were open at once");
    }
}

/// As many streams end before they are known at once. Where one of these is forgotten it stays open, and is counted so.
#[test]
fn streams_that_end_before_they_are_known_may_be_more_than_there_is_room_for() {
    const ENDS: u64 = 1024;
    let Some(mut watched) = Watched::start(Program::Rpc, 27, Mode::Plain).unwrap() else { return };
    let (agent, is_over) = (watched.agent.pid(), AtomicBool::new(false));
    thread::scope(|scope| {
        let filling = scope.spawn(|| {
            for turn in 0.. {
                // The addresses are none of a program's.
                fill(agent, "STREAM_ENDS", turn * ENDS..(turn + 1) * ENDS, |number| {
                    ([u64::MAX, number], 1_u64)
                })?;
                if turn > 1 && is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            io::Result::Ok(())
        });
        watched.program.ask_within(Duration::from_mins(2), "load 500 50 0").unwrap();
        is_over.store(true, Ordering::Relaxed);
        filling.join().unwrap().unwrap();
    });
    watched.catch_up().unwrap();
    let (facts, outcome) = watched.end().unwrap();
    let (offset, uncertainty) = wall_offset();
    let calls = Calls::of(&facts, &outcome.spans, [offset, uncertainty + CLOCK]);
    let forgotten = calls.all.iter().filter(|call| call.client.is_none()).count();
    println!("{forgotten} of {} were forgotten", calls.all.len());
    assert_eq!(outcome.count("spans_open_at_end"), forgotten as u64, "{}", outcome.messages);
    assert!(calls.all.len() >= 500 && calls.rest.is_empty(), "{:?}", calls.rest);
}

/// What is kept of an HTTP/1 connection are its own span's place and those of calls, not those of the streams that its handlers
/// open: there is room for the last of many.
#[test]
fn streams_that_handlers_open_leave_nothing_behind() {
    let few = ["--max-open-spans", "24"];
    let watched = Watched::start_with(Program::Rpc, 27, Mode::Plain, &few, |_| Ok(())).unwrap();
    let Some(mut watched) = watched else { return };
    watched.program.ask_within(Duration::from_mins(1), "run web-stream-context 200").unwrap();
    check(watched, 200);
}

/// Calls from before the agent have no spans; what comes after them on the same connection is like anything else.
#[test]
fn what_began_before_the_agent_has_no_span() {
    for (program, minor, mode) in oldest_and_newest() {
        let before = |program: &mut Driven| program.ask("hold 20").map(drop);
        let watched = Watched::start_with(program, minor, mode, &[], before).unwrap();
        let Some(mut watched) = watched else { return };
        watched.program.ask("release").unwrap();
        let (offset, uncertainty) = wall_offset();
        let (facts, outcome) = watched.end().unwrap();
        let calls = Calls::of(&facts, &outcome.spans, [offset, uncertainty + CLOCK]);
        assert_eq!((calls.all.len(), calls.rest.len()), (80, 0));
        for call in &calls.all {
            let is_old = call.called.case == "held";
            assert_eq!((call.client.is_none(), call.servers.is_empty()), (is_old, is_old), "{call:?}");
        }
    }
}

/// The same below `net/http`, by HTTP/2 over TLS and without it.
#[test]
fn what_net_http_received_before_the_agent_has_no_span() {
    for (program, minor, mode) in oldest_and_newest() {
        let call = |program: &mut Driven| {
            ["handler-tls", "handler-h2c"]
                .iter()
                .try_for_each(|case| program.ask(&format!("run {case} 5")).map(drop))
        };
        let Some(mut watched) = Watched::start_with(program, minor, mode, &[], call).unwrap() else { return };
        call(&mut watched.program).unwrap();
        let (offset, uncertainty) = wall_offset();
        let (facts, outcome) = watched.end().unwrap();
        let calls = Calls::of(&facts, &outcome.spans, [offset, uncertainty + CLOCK]);
        assert_eq!((calls.all.len(), calls.rest.len()), (20, 0));
        for (index, call) in calls.all.iter().enumerate() {
            let is_old = index < 10;
            assert_eq!((call.client.is_none(), call.servers.is_empty()), (is_old, is_old), "{call:?}");
        }
        assert!(
            outcome.spans.iter().all(|span| span.text("rpc.system.name") == "grpc"),
            "{}",
            outcome.messages
        );
    }
}

/// Its end cannot be told; its server's can.
#[test]
fn a_stream_that_an_interceptor_hides_is_counted() {
    for (program, minor, mode) in oldest_and_newest() {
        let Some(mut watched) = Watched::start(program, minor, mode).unwrap() else { return };
        watched.program.ask("run stream-hidden 3").unwrap();
        let (_, outcome) = watched.end().unwrap();
        assert_eq!(outcome.spans.iter().map(|span| span.kind).collect::<Vec<_>>(), [SERVER; 3]);
        for name in ["hidden_stream", "abandoned"] {
            assert_eq!(outcome.count(name), 3, "{name}: {}", outcome.messages);
        }
    }
}

/// Nothing leads from a worker to the request whose call it serves: that stays one of HTTP.
#[test]
fn a_call_that_net_http_receives_and_a_worker_serves_is_a_request() {
    for (program, minor) in [(Program::OldRpc, 21), (Program::Rpc, 27)] {
        let Some(mut watched) = Watched::start(program, minor, Mode::Plain).unwrap() else { return };
        watched.program.ask("run handler-workers").unwrap();
        let (facts, outcome) = watched.end().unwrap();
        let (served, made): (Vec<_>, Vec<_>) = outcome.spans.iter().partition(|span| span.kind == SERVER);
        let paths: Vec<_> = served.iter().map(|span| span.path()).collect();
        let called: Vec<_> = facts.called.iter().map(|called| called.method.as_str()).collect();
        assert_eq!((paths, made.len()), (called, 5), "{}", outcome.messages);
        for span in served {
            assert_eq!((span.text("rpc.system.name"), span.text("http.request.method")), ("", "POST"));
        }
    }
}

/// Calls and streams, on both sides.
#[test]
fn what_is_open_when_the_agent_ends_is_counted() {
    for (program, minor, mode) in oldest_and_newest() {
        let Some(watched) = Watched::start(program, minor, mode).unwrap() else { return };
        let Watched { mut program, agent, .. } = watched;
        program.ask("hold 20").unwrap();
        let outcome = agent.stop().unwrap();
        program.ask("release").unwrap();
        program.stop().unwrap();
        let counts = ["started", "spans_open_at_end", "ended"].map(|name| outcome.count(name));
        assert_eq!(counts, [80, 80, 0], "{}", outcome.messages);
    }
}

/// What is open when its process dies is counted.
#[test]
fn a_panic_that_nobody_recovers_from_is_the_end_of_its_server_and_counted() {
    for (program, minor, mode) in oldest_and_newest() {
        let build = Build::here(program, GoVersion::of_minor(minor).unwrap(), mode);
        if !is_privileged(&format!("watching {build}")) {
            return;
        }
        let (server, mut client) =
            (Driven::start(&build.path().unwrap()).unwrap(), Driven::start(&build.path().unwrap()).unwrap());
        let agent = Agent::start(["--pid", &server.pid().to_string()], &[]).unwrap();
        agent.watches(server.pid()).unwrap();
        let call = |kind| format!("call {} 1 {kind}", server.url("grpc").unwrap());
        client.ask(&call("unary")).unwrap();
        client.ask(&call("panic")).unwrap();
        agent.counts_to("spans_open_at_end", 1).unwrap();
        assert!(server.stop().is_err(), "it lives");
        let outcome = agent.stop().unwrap();
        assert_eq!(outcome.spans.len(), 1, "{}", outcome.messages);
    }
}

fn check(watched: Watched, at_least: usize) -> Facts {
    let (build, (offset, uncertainty)) = (watched.build, wall_offset());
    let (facts, outcome) = watched.end().unwrap();
    assert!(facts.called.len() >= at_least);
    let calls = Calls::of(&facts, &outcome.spans, [offset, uncertainty + CLOCK]);
    assert!(calls.rest.is_empty(), "spans of no call: {:#?}", calls.rest);
    for call in &calls.all {
        let Call { called, client, servers, handled } = call;
        let client = client.unwrap_or_else(|| panic!("no span of {called:?}; {}", outcome.messages));
        assert_client(client, called, !servers.is_empty(), true);
        let is_unsampled = called.case == "traceparent-unsampled";
        assert!(is_unsampled || servers.len() >= handled.len(), "{call:?}; {}", outcome.messages);
        for (attempt, span) in servers.iter().enumerate() {
            assert_server(span, called, handled.get(attempt).copied());
        }
        check_times(call, offset, uncertainty + CLOCK);
    }
    parents::judge(&facts, &outcome, &calls);
    let ids: HashSet<_> = outcome.spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), outcome.spans.len(), "span ids are unique");
    for name in LOSSES {
        assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
    }
    let [started, ended, unsampled] = ["started", "ended", "unsampled"].map(|name| outcome.count(name));
    assert_eq!((started, ended), (ended + unsampled, outcome.spans.len() as u64), "{}", outcome.messages);
    println!("{build}: {} calls, {} handled", facts.called.len(), facts.handled.len());
    facts
}
