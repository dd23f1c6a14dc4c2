//! The messages of streams, counted if asked for.

use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Span, Watched, fill, wall_offset};
use serde_json::Value as Json;

use crate::pairs::{Calls, method};
use crate::{USUAL, all};

const SETTING: [&str; 1] = ["--count-messages"];
const CLOCK: u64 = 10_000;

/// What a span says: sent and received.
fn messages(span: &Span) -> Option<[u64; 2]> {
    let count = |what| span.attributes.get(&format!("lightfoot.rpc.messages.{what}")).and_then(Json::as_u64);
    Some([count("sent")?, count("received")?])
}

/// Each stream of each case, on both sides, those whose handler uses the stream on another goroutine included.
#[test]
fn counts_are_those_of_the_program() {
    let extent = Extent::of_environment();
    for &(program, minor, mode) in extent.some_of(&extent.pick(USUAL.to_vec(), all())) {
        let watched = Watched::start_with(program, minor, mode, &SETTING, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        let cases = watched.program.ask("list").unwrap();
        let is_stream =
            |case: &&String| case.contains("stream") || ["unary", "health-watch"].contains(&case.as_str());
        for case in cases.iter().filter(is_stream) {
            watched.program.ask(&format!("run {case}")).unwrap();
        }
        watched.program.ask("run stream-elsewhere 3").unwrap();
        watched.program.ask_within(Duration::from_mins(2), "load 500 50 0").unwrap();
        let (build, (offset, uncertainty)) = (watched.build, wall_offset());
        let (facts, outcome) = watched.end().unwrap();
        let calls = Calls::of(&facts, &outcome.spans, [offset, uncertainty + CLOCK]);
        let (mut counted, mut received) = (0, 0);
        for call in &calls.all {
            let client = call.client.unwrap();
            // Generated code calls by itself, and nobody counts there.
            if call.called.method.starts_with("/truth.") && call.called.case != "stream-interceptor" {
                // A server that has received nothing may have ended the stream before the one message of a call without a client
                // stream is sent; grpc-go tells its caller that it was (csAttempt.sendMsg, stream.go).
                let has_got_none = call
                    .handled
                    .iter()
                    .all(|handled| handled.messages.is_none_or(|[_, received]| received == 0));
                let is_late = has_got_none && call.called.method.starts_with("/truth.ServerStream/");
                let unsent = call.called.messages.map(|[_, received]| [0, received]);
                if !is_late || messages(client) != unsent {
                    assert_eq!(messages(client), call.called.messages, "{build}: {:?}", call.called);
                }
                counted += u64::from(call.called.messages.is_some());
            }
            for (span, handled) in call.servers.iter().zip(&call.handled) {
                // Below net/http, nothing is counted, and a stream without any is as a unary call.
                let is_counted = handled.messages != Some([0, 0]) && !call.called.case.starts_with("handler");
                let wanted = handled.messages.filter(|_| is_counted);
                // Since grpc-go 1.85 a unary call is served as a stream is.
                if handled.messages.is_none() && program == Program::Rpc && minor >= 26 {
                    let [sent, received] = messages(span).unwrap_or_default();
                    assert!(sent <= 1 && received <= 1, "{build}: {handled:?}");
                    continue;
                }
                assert_eq!(messages(span), wanted, "{build}: {handled:?}");
                received += wanted.map_or(0, |[_, received]| received);
            }
        }
        assert!(counted > 50 && received > 50, "{counted} {received}");
        assert_eq!(outcome.count("read_fault"), 0, "{}", outcome.messages);
    }
}

/// Nobody pays who has not asked.
#[test]
fn without_the_setting_nothing_is_counted() {
    let (program, minor, mode) = USUAL[3];
    let Some(mut watched) = Watched::start(program, minor, mode).unwrap() else { return };
    watched.program.ask("run both-streams").unwrap();
    let (_, outcome) = watched.end().unwrap();
    assert_eq!(outcome.spans.len(), 2);
    assert!(outcome.spans.iter().all(|span| messages(span).is_none()));
}

/// As many streams are counted at once. Of those that were used least nothing is said, and others are as ever.
#[test]
fn streams_beyond_the_limit_say_nothing() {
    const STREAMS: u64 = 4096;
    let (program, minor, mode) = USUAL[3];
    let watched = Watched::start_with(program, minor, mode, &SETTING, |_| Ok(())).unwrap();
    let Some(mut watched) = watched else { return };
    let said = |watched: &Watched| {
        watched.catch_up().unwrap();
        let spans = watched.spans().unwrap();
        spans.iter().filter(|span| method(span).contains("Stream") && messages(span).is_some()).count()
    };
    // Three streams that wait, of which the client says that there was no message, and one after each, told of by both sides.
    watched.program.ask("hold 3").unwrap();
    watched.program.ask("release").unwrap();
    assert_eq!(said(&watched), 3 + 6);
    watched.program.ask("hold 3").unwrap();
    // The addresses are none of a program's.
    let other = |number| ([u64::MAX, number], [1_u64, 1]);
    fill(watched.agent.pid(), "MESSAGES", 0..3 * STREAMS, other).unwrap();
    watched.program.ask("release").unwrap();
    assert_eq!(said(&watched), 3 + 6 + 6);
    let (_, outcome) = watched.end().unwrap();
    assert_eq!((outcome.count("read_fault"), outcome.count("spans_open_at_end")), (0, 0));
}
