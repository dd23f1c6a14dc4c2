//! Links between both sides' spans of a request (with `--join`), whatever the client does.

use std::collections::{BTreeMap, BTreeSet};

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::{Span, Watched};

const SERVER: u64 = 2;
/// What comes from nobody that is watched, or through a tunnel, which has another connection on its other side.
const UNKNOWN: [&str; 2] = ["/reverse-proxy", "/proxied-tls"];

/// Every case of docs/http-client.md, by the clients of net/http and of golang.org/x/net: paths tell which request was which.
#[test]
fn each_request_is_linked_with_what_it_was() {
    for &minor in Extent::of_environment().some_of(&[21, 26, 27]) {
        for program in [Program::Clients, Program::XNet] {
            let watched = Watched::start_with(program, minor, Mode::Plain, &["--join"], |_| Ok(())).unwrap();
            let Some(mut watched) = watched else { return };
            for case in watched.program.ask("list").unwrap() {
                watched.program.ask(&format!("run {case} 3")).unwrap();
            }
            let build = watched.build;
            let (_, outcome) = watched.end().unwrap();
            let by_id: BTreeMap<_, _> = outcome.spans.iter().map(|span| (&span.span_id, span)).collect();
            let mut linked = BTreeSet::new();
            for span in &outcome.spans {
                for (trace_id, span_id) in &span.links {
                    let other = by_id[span_id];
                    assert_eq!((path(span), trace_id), (path(other), &other.trace_id), "{build}");
                    assert_ne!(span.kind, other.kind, "{build}");
                    assert!(linked.insert(&span.span_id) && linked.insert(span_id), "{build}: {span:?}");
                }
            }
            for span in outcome.spans.iter().filter(|span| span.kind == SERVER) {
                let is_unknown = span.text("http.request.method") == "CONNECT"
                    || UNKNOWN.iter().any(|case| path(span).starts_with(case));
                // What a reverse proxy sends is known.
                assert!(linked.contains(&span.span_id) || is_unknown, "{build}: {span:?}");
            }
            assert_eq!(
                ["join_ambiguous", "join_unproven"].map(|name| outcome.count(name)),
                [0; 2],
                "{build}"
            );
        }
    }
}

fn path(span: &Span) -> &str {
    let url = if span.kind == SERVER { span.path() } else { span.text("url.full") };
    let behind = url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    behind.split('?').next().unwrap_or_default()
}
