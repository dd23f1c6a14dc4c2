//! Links between both sides' spans of a call, where the program itself passes nothing on (with `--join`).

use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::{Span, Watched, wall_offset};

use crate::pairs::Calls;
use crate::{USUAL, all};

const SETTING: [&str; 1] = ["--join"];
const CLOCK: u64 = 10_000;
/// Cases whose connection is none of TCP.
const OTHERS: [&str; 3] = ["unix-target", "unix-named", "in-memory"];

/// Every case of docs/grpc.md, and five hundred calls, fifty at once: whatever has reached a handler is linked with its call, the last of
/// several attempts, and nothing else is.
#[test]
fn each_call_is_linked_with_what_it_reached() {
    for (program, minor, mode) in Extent::of_environment().pick(USUAL.to_vec(), all()) {
        let watched = Watched::start_with(program, minor, mode, &SETTING, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        for case in watched.program.ask("list").unwrap() {
            watched.program.ask(&format!("run {case}")).unwrap();
        }
        watched.program.ask_within(Duration::from_mins(2), "load 500 50 0").unwrap();
        let (build, (offset, uncertainty)) = (watched.build, wall_offset());
        let (facts, outcome) = watched.end().unwrap();
        let calls = Calls::of(&facts, &outcome.spans, [offset, uncertainty + CLOCK]);
        let (mut linked, mut without) = (0, 0);
        for call in &calls.all {
            let client = call.client.unwrap();
            let is_tcp = !OTHERS.contains(&call.called.case.as_str());
            without += u64::from(!is_tcp);
            let mut links = links(client).len();
            for (index, server) in call.servers.iter().enumerate() {
                let is_last = index + 1 == call.servers.len();
                let is_child = server.parent_span_id == client.span_id;
                let is_linked = has_link(server, client) != has_link(client, server);
                assert_eq!(is_linked, is_last && is_tcp && !is_child, "{build}: {call:?}");
                links = links + self::links(server).len() - usize::from(is_linked);
                linked += usize::from(is_linked);
                let peer = client.text("network.peer.address");
                assert!(!is_linked || peer == "127.0.0.1" || peer == "::1", "{build}: {call:?}");
            }
            assert_eq!(links, 0, "to something else, {build}: {call:?}");
        }
        assert!(linked > 700, "{linked}, {build}");
        assert_eq!(outcome.count("join_unproven"), without, "{build}");
        assert_eq!(["join_ambiguous", "join_full", "read_fault"].map(|name| outcome.count(name)), [0; 3]);
    }
}

fn links(span: &Span) -> &[(String, String)] {
    &span.links
}

fn has_link(from: &Span, to: &Span) -> bool {
    from.links.iter().any(|(trace_id, span_id)| (trace_id, span_id) == (&to.trace_id, &to.span_id))
}
