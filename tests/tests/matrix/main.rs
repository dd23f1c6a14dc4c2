//! Every Go and every way to build, end to end: what programs know of themselves against the spans that `lightfoot run` prints.
//!
//! What is found must be what `docs/support.json` says, of which README.md shows a table; `make support-table` makes both anew.
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use lightfoot_tests::each::each_build;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, Program, matrix};
use lightfoot_tests::live::is_privileged;
use lightfoot_tests::support::{Found, Row, Support};

mod client;
mod server;

#[test]
fn spans_of_every_build_are_the_truth() {
    if !is_privileged("the matrix") {
        return;
    }
    let rows = Mutex::new(Vec::new());
    each_build(matrix::watched(Program::Truth, Extent::of_environment()), |build, _| {
        let row = row(build);
        rows.lock().unwrap().push(row);
    });
    let rows = rows.into_inner().unwrap();
    let committed = Support::committed().unwrap();
    let differs = |row: &&Row| !committed.contains(row);
    let different: Vec<_> = rows.iter().filter(differs).cloned().collect();
    Support::new(rows).write(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("support.json")).unwrap();
    assert_eq!(different, [], "other than in docs/support.json");
}

fn row(build: &Build) -> Row {
    let clients = Build { program: Program::Clients, ..*build };
    let run = catch_unwind(|| client::run(clients));
    let of_clients = |check: fn(&client::Run) -> Found| match &run {
        Ok(run) => found(|| check(run)),
        Err(_) => Found::Wrong,
    };
    Row {
        go: build.version.language(),
        mode: build.mode.name().to_owned(),
        http1_server: found(|| server::spans_are_the_truth(*build)),
        http2_server: of_clients(client::served_over_http2),
        http_client: of_clients(client::spans_are_the_truth),
    }
}

/// What a check finds; what it says if it fails is shown if the test does.
fn found(check: impl FnOnce() -> Found) -> Found {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or(Found::Wrong)
}
