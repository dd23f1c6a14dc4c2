//! The tables of docs/connect.md, row by row: what they say is what spans say, and what the program itself says of its calls.
//!
//! Needs root and a kernel that attaches probes; elsewhere it says why it does nothing, and fails where `CI` is `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

use lightfoot::catalog::connect;
use lightfoot::inspect::Program as Facts;
use lightfoot::plan::Plan;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Span, Watched, wait_for};
use serde::Deserialize;

const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// One side of a call as the program saw it; `tests/targets/connect/main.go` says more of each field.
#[derive(Debug, Deserialize)]
struct Fact {
    side: String,
    procedure: String,
    protocol: String,
    code: String,
}

#[test]
fn go_1_24() {
    spans_are_those_of_the_tables(24, Mode::Plain);
}

#[test]
fn go_1_24_stripped() {
    spans_are_those_of_the_tables(24, Mode::Stripped);
}

#[test]
fn go_1_27() {
    spans_are_those_of_the_tables(27, Mode::Plain);
}

#[test]
fn go_1_27_stripped() {
    spans_are_those_of_the_tables(27, Mode::Stripped);
}

/// What `lightfoot inspect` says of programs, and why.
#[test]
fn what_can_be_told_is_planned() {
    const NOT_LINKED: &str = "not linked into this program";
    const BY_GRPC: &str = "WithGRPC is linked, so its protocol cannot be told";
    for (program, minor, server, client) in [
        (Program::Connect, 24, None, None),
        (Program::Connect, 27, None, None),
        (Program::ConnectGrpc, 24, Some(NOT_LINKED), Some(BY_GRPC)),
        (Program::ConnectGrpc, 27, Some(NOT_LINKED), Some(BY_GRPC)),
        (Program::OldConnect, 21, None, Some(NOT_LINKED)),
    ] {
        let build = Build::here(program, GoVersion::of_minor(minor).unwrap(), Mode::Stripped);
        let plan = Plan::new(&Facts::inspect(&build.path().unwrap()).unwrap());
        let library = plan.libraries.iter().find(|planned| planned.library.name == connect::LIBRARY.name);
        let operations = library.unwrap().operations.as_ref().unwrap();
        for (planned, refusal) in operations.iter().zip([server, client]) {
            assert_eq!(planned.refusals, Vec::from_iter(refusal), "{build}: {}", planned.operation.title);
            assert_eq!(planned.traps_per_span(), 0);
        }
    }
    let without = Build::here(Program::Hello, GoVersion::of_minor(27).unwrap(), Mode::Stripped);
    let plan = Plan::new(&Facts::inspect(&without.path().unwrap()).unwrap());
    let library = plan.libraries.iter().find(|planned| planned.library.name == connect::LIBRARY.name);
    assert!(library.unwrap().operations.is_err());
}

/// Its servers are told as those of connect are; of its clients nothing is known.
#[test]
fn servers_of_connect_go_1_10() {
    let Some(watched) = Watched::start(Program::OldConnect, 21, Mode::Stripped).unwrap() else { return };
    let mut looked = Looked::at(watched);
    looked.watched.program.ask("run").unwrap();
    for span in looked.next("connect-go", 2) {
        assert_says(&span, if span.kind == SERVER { "connectrpc OK" } else { "no call" }, None);
    }
    looked.end();
}

/// A program under watch, and how many of its spans were looked at.
struct Looked {
    watched: Watched,
    spans: usize,
}

impl Looked {
    fn at(watched: Watched) -> Self {
        Self { watched, spans: 0 }
    }

    /// The next spans, so many.
    fn next(&mut self, case: &str, count: usize) -> Vec<Span> {
        let from = self.spans;
        self.spans += count;
        wait_for(case, || self.watched.spans().ok()?.get(from..from + count).map(<[Span]>::to_vec)).unwrap()
    }

    /// Fails if there are more.
    fn end(self) {
        let (_, outcome) = self.watched.end().unwrap();
        assert_eq!(outcome.spans.len(), self.spans);
        assert_eq!(outcome.count("read_fault"), 0, "{}", outcome.messages);
    }
}

fn spans_are_those_of_the_tables(minor: u32, mode: Mode) {
    let Some(own) = Watched::start(Program::Connect, minor, mode).unwrap() else { return };
    let build = Build::here(Program::ConnectGrpc, GoVersion::of_minor(minor).unwrap(), mode);
    let other = Watched::beside_others(build, &NO_CALLER_IS_LATE).unwrap().unwrap();
    let (mut own, mut other) = (Looked::at(own), Looked::at(other));
    let url = own.watched.program.url("server").unwrap();
    let rows: Vec<_> = documented("connect.md").unwrap().into_iter().filter(|row| row.len() == 4).collect();
    assert!(rows.len() > 35);
    for row in &rows {
        let [case, _, client, server] = &row[..] else { panic!("{row:?}") };
        let is_of_other = case.starts_with("grpc") || case == "connect";
        let served = usize::from(server != "no span");
        let (lines, spans) = if is_of_other {
            other.watched.program.ask(&format!("run {case} {url}")).unwrap();
            let mut spans = own.next(case, served);
            spans.extend(other.next(case, 1));
            (own.watched.program.ask("facts").unwrap(), spans)
        } else {
            let lines = own.watched.program.ask(&format!("run {case}")).unwrap();
            (lines, own.next(case, served + 1))
        };
        let facts: Vec<Fact> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (kind, side, said) in [(SERVER, "server", server), (CLIENT, "client", client)] {
            let of_kind: Vec<_> = spans.iter().filter(|span| span.kind == kind).collect();
            assert_eq!(of_kind.len(), usize::from(said != "no span"), "{case}");
            let fact = facts.iter().find(|fact| fact.side == side);
            for span in of_kind {
                println!("Go {minor} {mode}: {case}, {side}: {}", span.name);
                assert_says(span, said, fact);
            }
        }
    }
    own.end();
    other.end();
}

/// Fails unless a span is what a row says, and what the program says.
fn assert_says(span: &Span, row: &str, fact: Option<&Fact>) {
    let told = ["rpc.system.name", "rpc.method", "rpc.response.status_code"].map(|key| span.text(key));
    let http_name = if span.kind == SERVER { span.text("http.route") } else { "" };
    let http_name = format!("{} {http_name}", span.text("http.request.method"));
    if row == "no call" {
        assert_eq!((told, &*span.name), (["", "", ""], http_name.trim_end()));
        return;
    }
    let (system, rest) = row.split_once(' ').unwrap_or((row, ""));
    let path = if span.kind == SERVER { span.path() } else { span.text("url.full") };
    let parts: Vec<_> = path.rsplitn(3, '/').collect();
    let method = format!("{}/{}", parts[1], parts[0].split('?').next().unwrap());
    if rest == "_OTHER" {
        assert_eq!((told, &*span.name), ([system, "_OTHER", ""], http_name.trim_end()));
        assert_eq!(span.text("rpc.method_original"), method);
        return;
    }
    assert_eq!((told, &*span.name), ([system, &*method, rest], &*method));
    assert!(!span.attributes.contains_key("rpc.method_original"));
    let Some(fact) = fact else { return };
    assert_eq!(fact.procedure.strip_prefix('/'), Some(&*method));
    assert_eq!(if fact.protocol == "connect" { "connectrpc" } else { "grpc" }, system);
    if !rest.is_empty() {
        assert_eq!(fact.code, rest.replace("OK", ""));
    }
}
