//! The configurations in `deploy/examples/`: real backends start by them, and get spans from an agent that does so too.
//!
//! Needs root; elsewhere each test says why it does nothing, and fails where `CI` is `true`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightfoot_tests::extent::{Extent, VARIABLE};
use lightfoot_tests::live::{Folder, lightfoot};
use serde_json::{Value, json};

mod alerts;
mod exposition;
mod metrics;

/// As many requests as the trial sends, besides the one for its health.
const REQUESTS: usize = 300;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where a program is that nobody here wrote.
fn foreign(program: &str) -> PathBuf {
    let built = Command::new(root().join("scripts/foreign.sh")).arg(program).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8(built.stdout).unwrap().trim().into()
}

/// The paths of the spans that a backend has got, in its own words; `None` where nothing can be tried.
fn tried(example: &str, program: &str) -> Option<String> {
    let folder = Folder::for_test(example)?;
    let backend = foreign(program);
    let own = root().join("deploy/examples").join(example);
    folder.copy(&own.join(format!("{example}.yaml")), "backend.yaml").unwrap();
    folder.copy(&own.join("lightfoot.yaml"), "lightfoot.yaml").unwrap();
    let server = folder.server().unwrap();
    let trial = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/trial.sh");
    let mut command = Command::new("timeout");
    command.args(["120", "unshare", "--net", "bash"]).arg(trial).arg(backend);
    let output = command.arg(folder.path()).arg(lightfoot()).arg(server).output().unwrap();
    let log = fs::read_to_string(folder.path().join("backend.log")).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{log}");
    assert!(!said.contains("ERROR"), "{said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What was found by service, by path, and by the id of that one; all traces were found by service.
fn found(answers: &str) -> [Value; 3] {
    let answers: Vec<_> = answers.lines().map(|answer| serde_json::from_str(answer).unwrap()).collect();
    answers.try_into().unwrap()
}

fn length(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

#[test]
fn jaeger_finds_by_service_by_tag_and_by_id() {
    let Some(answers) = tried("jaeger", "jaeger") else { return };
    let [all, one, same] = found(&answers);
    assert_eq!(length(&all["data"]), REQUESTS + 1);
    assert_eq!(length(&one["data"]), 1);
    assert_eq!(one["data"][0]["traceID"], same["data"][0]["traceID"]);
    let [span] = same["data"][0]["spans"].as_array().unwrap().as_slice() else { panic!("{same}") };
    let tags = span["tags"].as_array().unwrap();
    assert!(tags.iter().any(|tag| tag["key"] == "url.path" && tag["value"] == "/asked/7"), "{same}");
}

#[test]
fn tempo_finds_by_service_by_traceql_and_by_id() {
    if Extent::of_environment() != Extent::All {
        println!("skipped: Tempo is built and tried where {VARIABLE} is 1");
        return;
    }
    let Some(answers) = tried("tempo", "tempo") else { return };
    let [all, one, same] = found(&answers);
    assert_eq!(length(&all["traces"]), REQUESTS + 1);
    assert_eq!(length(&one["traces"]), 1);
    let [batch] = same["batches"].as_array().unwrap().as_slice() else { panic!("{same}") };
    let [spans] = batch["scopeSpans"].as_array().unwrap().as_slice() else { panic!("{same}") };
    let [span] = spans["spans"].as_array().unwrap().as_slice() else { panic!("{same}") };
    let path = span["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == "url.path");
    assert_eq!(path.unwrap()["value"]["stringValue"], "/asked/7");
}

/// All spans of a file of the Collector's, each with its resource.
fn spans(file: &str) -> Vec<(Value, Value)> {
    let list = |value: &Value, key| value[key].as_array().unwrap().clone();
    let documents = file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_resources = documents.flat_map(|document| list(&document, "resourceSpans"));
    let of_scopes = of_resources.flat_map(|one| {
        list(&one, "scopeSpans").into_iter().map(move |scope| (scope, one["resource"].clone()))
    });
    of_scopes
        .flat_map(|(scope, resource)| {
            list(&scope, "spans").into_iter().map(move |span| (span, resource.clone()))
        })
        .collect()
}

/// What an attribute of a span or a resource says, whatever its type.
fn attribute<'a>(of: &'a Value, key: &str) -> &'a str {
    let attributes = of["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = found.unwrap_or_else(|| panic!("no {key} in {of}"))["value"].as_object().unwrap();
    value.values().next().unwrap().as_str().unwrap()
}

/// A tenth of them by their ids, and the check of health not at all; a caller's decision holds.
#[test]
fn the_collector_gets_the_share_that_is_asked_for_and_a_trace_with_all_that_is_known_of_it() {
    let Some(file) = tried("collector", "otelcol") else { return };
    let spans = spans(&file);
    let (called, own): (Vec<_>, Vec<_>) =
        spans.iter().partition(|(span, _)| span["traceId"] == "0af7651916cd43ddfffffffffffffff1");
    let [(span, resource)] = called[..] else { panic!("{file}") };
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/kept"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("http.route", "/"),
        ("network.protocol.version", "1.0"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(span, key), value, "{key}: {span}");
    }
    assert_eq!((&span["name"], &span["parentSpanId"]), (&json!("GET /"), &json!("b7ad6b7169203331")));
    // SPAN_KIND_SERVER.
    assert_eq!(span["kind"], 2, "{span}");
    assert_eq!(attribute(resource, "service.name"), "lifecycle");
    assert_eq!(attribute(resource, "telemetry.sdk.language"), "go");

    // Six standard deviations around 30.
    assert!((1..62).contains(&own.len()), "{}", own.len());
    for (span, _) in own {
        assert!(attribute(span, "url.path").starts_with("/asked/"), "{span}");
        // As `TraceIDRatioBased` of the Go SDK decides, by 63 bits of the id.
        let id = u64::from_str_radix(&span["traceId"].as_str().unwrap()[16..], 16).unwrap();
        assert!(id >> 1 <= (1 << 63) / 10, "{span}");
    }
}
