//! The table of docs/http-client.md, row by row: what it says is what spans say.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lightfoot_tests::expected::call;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Call, Outcome, Span, Watched};
use serde_json::Value as Json;

/// What counts something that should not have happened.
const LOSSES: [&str; 8] = [
    "ring_full",
    "in_flight_full",
    "no_goroutine",
    "no_request",
    "read_fault",
    "too_deep",
    "abandoned",
    "spans_open_at_end",
];

#[test]
fn spans_say_what_the_document_says() {
    let rows: BTreeMap<String, [String; 2]> = documented("http-client.md")
        .unwrap()
        .into_iter()
        .map(|row| (row[0].clone(), [row[2].clone(), row[3].clone()]))
        .collect();
    let (mut tested, mut failed) = (BTreeSet::new(), Vec::new());
    for &minor in Extent::of_environment().some_of(&[21, 24, 26, 27]) {
        for program in [Program::Clients, Program::XNet] {
            let Some(mut watched) = Watched::start(program, minor, Mode::Plain).unwrap() else { return };
            let cases = watched.program.ask("list").unwrap();
            for case in &cases {
                assert!(rows.contains_key(case), "{case} is not documented");
                watched.program.ask(&format!("run {case}")).unwrap();
            }
            let build = watched.build;
            let (facts, outcome) = watched.end().unwrap();
            let (pairs, rest) = call::pairs(&facts.calls, &outcome);
            // Shown if something fails below; the rows that fail are listed in the end.
            println!("{build}: {}", outcome.messages);
            let mut check = |what: &str, check: &dyn Fn()| {
                if catch_unwind(AssertUnwindSafe(check)).is_err() {
                    failed.push(format!("{build}: {what}"));
                }
            };
            for case in &cases {
                check(case, &|| {
                    let mut of_case = pairs.iter().filter(|(call, _)| call.case == *case);
                    if rows[case][0] == "no span" {
                        assert!(of_case.all(|(_, span)| span.is_none()));
                        return;
                    }
                    let spans: Vec<_> = of_case.map(|(call, span)| (*call, span.unwrap())).collect();
                    check_documented(&spans, &rows[case]);
                    for (call, span) in spans {
                        call::assert_equal(span, call);
                        check_parent(call, span, &outcome);
                    }
                });
            }
            check("no other spans", &|| assert!(rest.is_empty(), "spans of no call: {rest:#?}"));
            check("a span of each request", &|| {
                let served = outcome.spans.iter().filter(|span| span.kind == 2).count();
                assert_eq!(served, facts.requests.len());
            });
            check("nothing lost", &|| {
                for name in LOSSES {
                    assert_eq!(outcome.count(name), 0, "{name}");
                }
            });
            tested.extend(cases);
        }
    }
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
    assert_eq!(tested, rows.into_keys().collect(), "each row is tested");
}

fn check_documented(pairs: &[(&Call, &Span)], [statuses, errors]: &[String; 2]) {
    let said: Vec<_> = pairs
        .iter()
        .map(|(_, span)| {
            span.attributes.get("http.response.status_code").map_or("none".to_owned(), Json::to_string)
        })
        .collect();
    assert_eq!(said.join(" "), *statuses, "{pairs:?}");
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
