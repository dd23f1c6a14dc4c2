//! The table of docs/http2-server.md, row by row: what it says is what spans say.

use std::collections::BTreeSet;

use lightfoot_tests::expected::request;
use lightfoot_tests::go::{Build, Mode};
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Span, Truth};
use serde_json::{Value as Json, json};

use crate::scene::{DOORS, Scene, number};
use crate::{seen, truth_of};

#[test]
fn spans_say_what_the_document_says() {
    let rows = documented("http2-server.md").unwrap();
    for (program, door, first) in DOORS {
        for minor in [21, 24, 26, 27].into_iter().filter(|minor| *minor >= first) {
            let Some(mut scene) = Scene::set(program, door, minor, Mode::Plain, &[]) else { return };
            scene.learn_routes();
            check(scene, door, &rows);
        }
    }
}

fn check(mut scene: Scene, door: &str, rows: &[Vec<String>]) {
    let build = scene.watched.build;
    let cases = scene.client.ask("list").unwrap();
    let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&mut cases.iter()), names(&mut rows.iter().map(|row| &row[0])), "each row is tested");
    let mut lines = Vec::new();
    for case in cases.iter().filter(|case| *case != "upgrade" || door == "h2c") {
        lines.extend(scene.client.ask(&format!("send {} {case}", scene.url)).unwrap());
    }
    let (facts, outcome) = scene.end();
    let mut spans: Vec<_> = outcome.spans.iter().collect();
    // Maps before Go 1.24 are read up to 104 headers.
    let is_overlooked = |case: &str| case.starts_with("many-headers") && build.version.minor < 24;
    for seen in &seen(&lines) {
        // Shown if something fails below.
        println!("{build}, {door}: {}", seen.case);
        let row = rows.iter().find(|row| row[0] == seen.case).unwrap();
        let (of_request, rest): (Vec<_>, Vec<_>) =
            spans.into_iter().partition(|span| number(span.path()) == seen.number);
        spans = rest;
        match &of_request[..] {
            [] => assert_eq!(row[2], "no span"),
            [span] => {
                check_documented(span, row, build);
                if !is_overlooked(&seen.case) {
                    check_attributes(span, truth_of(&facts, seen.number), build);
                }
            }
            _ => panic!("one request, several spans: {of_request:#?}"),
        }
    }
    assert!(spans.is_empty(), "spans of no request: {spans:#?}");
    for name in ["abandoned", "read_fault", "unexpected", "spans_open_at_end"] {
        assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
    }
    let overlooked = seen(&lines).iter().filter(|seen| is_overlooked(&seen.case)).count() as u64;
    assert!(outcome.count("header_bound") <= overlooked, "{}", outcome.messages);
}

fn check_documented(span: &Span, row: &[String], build: Build) {
    let [_, _, name, status, error] = row else { panic!("{row:?}") };
    if build.version.minor >= 22 {
        assert_eq!(span.name, *name);
    }
    let said = span.attributes.get("http.response.status_code").map_or("none".to_owned(), Json::to_string);
    assert_eq!(said, *status);
    assert_eq!(span.attributes.get("error.type").and_then(Json::as_str).unwrap_or("none"), error);
}

fn check_attributes(span: &Span, truth: &Truth, build: Build) {
    if truth.user_agent == "row/upgrade" {
        // The handler is told of the request that came; the answer goes over HTTP/2.
        let truth = Truth { major: 2, minor: 0, ..truth.clone() };
        request::assert_equal(span, &truth, build.version);
        return;
    }
    if truth.target.len() < 1000 {
        request::assert_equal(span, truth, build.version);
        return;
    }
    let mut wanted = request::attributes(truth, build.version);
    // 1024 bytes of method and target together.
    let cut = &truth.target[..1024 - "GET ".len()];
    wanted.insert("url.path".to_owned(), cut.into());
    wanted.insert("lightfoot.truncated".to_owned(), json!(["url.path"]));
    assert_eq!(span.attributes, wanted);
}
