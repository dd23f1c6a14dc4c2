//! The table of docs/http-client.md, row by row: what it says is what spans say.

use std::collections::{BTreeMap, BTreeSet};

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Call, Outcome, Span, Watched};
use serde_json::Value as Json;

use crate::expected;

/// Cases that not every version of Go knows.
const OPTIONAL: [&str; 1] = ["h2c-get"];

#[test]
fn spans_say_what_the_document_says() {
    let rows: BTreeMap<String, [String; 2]> = documented("http-client.md")
        .unwrap()
        .into_iter()
        .map(|row| (row[0].clone(), [row[2].clone(), row[3].clone()]))
        .collect();
    let mut tested = BTreeSet::new();
    for minor in [21, 24, 26, 27] {
        for program in [Program::Clients, Program::XNet] {
            let Some(mut watched) = Watched::start(program, minor, Mode::Plain).unwrap() else { return };
            let cases = watched.program.ask("list").unwrap();
            for case in &cases {
                assert!(rows.contains_key(case), "{case} is not documented");
                watched.program.ask(&format!("run {case}")).unwrap();
            }
            let build = watched.build;
            let (facts, outcome) = watched.end().unwrap();
            let pairs = expected::pairs(&facts.calls, &outcome);
            for case in &cases {
                // Shown if something fails below.
                println!("{build}: {case}");
                let of_case: Vec<_> = pairs.iter().filter(|(call, _)| call.case == *case).copied().collect();
                check_documented(&of_case, &rows[case]);
                for (call, span) in of_case {
                    expected::assert_equal(span, call);
                    check_parent(call, span, &outcome);
                }
            }
            // Each request that one of the program's own servers got has its span as well.
            let served = outcome.spans.iter().filter(|span| span.kind == 2).count();
            assert_eq!(served, facts.requests.len());
            for name in
                ["ring_full", "in_flight_full", "no_goroutine", "no_request", "read_fault", "too_deep"]
            {
                assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
            }
            assert_eq!(outcome.count("spans_open_at_end"), 0, "{}", outcome.messages);
            tested.extend(cases);
        }
    }
    tested.extend(OPTIONAL.map(str::to_owned));
    assert_eq!(tested, rows.into_keys().collect(), "each row is tested");
}

fn check_documented(pairs: &[(&Call, &Span)], [statuses, errors]: &[String; 2]) {
    if statuses == "no span" {
        assert!(pairs.is_empty());
        return;
    }
    let said: Vec<_> = pairs
        .iter()
        .map(|(_, span)| {
            span.attributes.get("http.response.status_code").map_or("none".to_owned(), Json::to_string)
        })
        .collect();
    assert_eq!(said.join(" "), *statuses);
    let said: Vec<_> = pairs
        .iter()
        .map(|(_, span)| span.attributes.get("error.type").and_then(Json::as_str).unwrap_or("none"))
        .collect();
    let said = said.join(" ");
    assert!(errors.split(" or ").any(|error| error == said), "{said} is not {errors}");
}

/// Only what a proxy passes on has a parent here: the request that the proxy got.
fn check_parent(call: &Call, span: &Span, outcome: &Outcome) {
    if call.parent == 0 {
        assert_eq!(span.parent_span_id, "", "{call:?}");
        return;
    }
    let is_parent = |span: &&Span| {
        span.kind == 2
            && span.text("server.address") == "proxy.test"
            && span.path() == format!("/{}/{}", call.case, call.parent)
    };
    let parent = outcome.spans.iter().find(is_parent).unwrap();
    assert_eq!((&span.trace_id, &span.parent_span_id), (&parent.trace_id, &parent.span_id), "{call:?}");
}
