//! The table of docs/http2-server.md, row by row: what it says is what spans say.

use std::collections::BTreeSet;

use lightfoot_tests::go::{Build, Mode};
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Span, Truth};
use serde_json::{Value as Json, json};

use crate::expected;
use crate::scene::{DOORS, Scene};
use crate::{number, seen, truth_of};

#[test]
fn spans_say_what_the_document_says() {
    let rows = documented("http2-server.md").unwrap();
    for (program, door, first) in DOORS {
        for minor in [21, 24, 26, 27].into_iter().filter(|minor| *minor >= first) {
            let Some(scene) = Scene::set(program, door, minor, Mode::Plain) else { return };
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
    let mut spans = outcome.spans.iter().filter(|span| span.kind == 2).collect::<Vec<_>>();
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
                check_attributes(span, truth_of(&facts, seen.number), build);
            }
            [_, _] if seen.case == "upgrade" => check_upgrade(&of_request, row, build),
            _ => panic!("one request, several spans: {of_request:#?}"),
        }
    }
    assert!(spans.is_empty(), "spans of no request: {spans:#?}");
    for name in ["abandoned", "read_fault", "unexpected", "header_bound", "spans_open_at_end"] {
        assert_eq!(outcome.count(name), 0, "{name}: {}", outcome.messages);
    }
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
    if truth.target.len() < 1000 {
        expected::assert_equal(span, truth, build.version);
        return;
    }
    let mut wanted = expected::attributes(truth, build.version);
    // 1024 bytes of method and target together.
    let cut = &truth.target[..1024 - "GET ".len()];
    wanted.insert("url.path".to_owned(), cut.into());
    wanted.insert("lightfoot.truncated".to_owned(), json!(["url.path"]));
    assert_eq!(span.attributes, wanted);
}

/// The request that asked for the upgrade, which was taken over, and the stream that answered it.
fn check_upgrade(spans: &[&Span], row: &[String], build: Build) {
    let (answered, taken_over): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.attributes.contains_key("http.response.status_code"));
    check_documented(answered[0], row, build);
    assert_eq!(taken_over.len(), 1);
    assert_eq!(taken_over[0].text("network.protocol.version"), "1.1");
    assert!(!taken_over[0].attributes.contains_key("error.type"));
}
