//! Which release of the conventions names attributes: `OTEL_SEMCONV_STABILITY_OPT_IN` of the agent decides.

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Driven, Span, is_privileged};
use serde_json::{Value as Json, json};

use crate::pairs::{CLIENT, SERVER};

/// What is the same whoever names it.
const ALWAYS: [&str; 6] = [
    "error.type",
    "server.address",
    "server.port",
    "network.peer.address",
    "network.peer.port",
    "lightfoot.parent.rule",
];

#[test]
fn both_releases_of_the_conventions_can_be_asked_for() {
    if !is_privileged("naming attributes") {
        return;
    }
    let build = Build::here(Program::Rpc, GoVersion::of_minor(27).unwrap(), Mode::Stripped);
    for (asked, new, old) in [
        ("", true, false),
        ("http", true, false),
        ("rpc", true, false),
        ("http, rpc/dup", true, true),
        ("rpc,rpc/dup", true, true),
        ("rpc/old", false, true),
    ] {
        let mut program = Driven::start(&build.path().unwrap()).unwrap();
        let pid = program.pid().to_string();
        let variables = [("OTEL_SEMCONV_STABILITY_OPT_IN", asked)];
        let agent = Agent::start(["--pid", pid.as_str()], &variables).unwrap();
        agent.watches(program.pid()).unwrap();
        program.ask("run says-not-found").unwrap();
        program.ask("run unknown-method").unwrap();
        for kind in [CLIENT, SERVER] {
            let span = agent.find(asked, |span| span.kind == kind && span.name.contains("/N")).unwrap();
            let name = span.name.clone();
            assert_names(&span, &name, "NOT_FOUND", 5, [new, old]);
            let is_other = |span: &Span| span.kind == kind && !span.name.contains("/N");
            let span = agent.find(asked, is_other).unwrap();
            if new && kind == SERVER {
                assert_eq!(span.attributes["rpc.method"], "_OTHER");
                let original = span.text("rpc.method_original").to_owned();
                assert_names(&span, &original, "UNIMPLEMENTED", 12, [new, old]);
            }
        }
        agent.stop().unwrap();
        program.stop().unwrap();
    }
}

/// Fails unless the attributes are those of the releases asked for, and no others.
fn assert_names(span: &Span, method: &str, code: &str, number: u64, [new, old]: [bool; 2]) {
    let (service, name) = method.rsplit_once('/').unwrap();
    let mut wanted: Vec<(&str, Json)> = Vec::new();
    if new {
        wanted.push(("rpc.system.name", json!("grpc")));
        wanted.push(("rpc.response.status_code", json!(code)));
        if span.text("rpc.method_original").is_empty() {
            wanted.push(("rpc.method", json!(method)));
        } else {
            wanted.push(("rpc.method", json!("_OTHER")));
            wanted.push(("rpc.method_original", json!(method)));
        }
    } else {
        wanted.push(("rpc.method", json!(name)));
    }
    if old {
        wanted.push(("rpc.system", json!("grpc")));
        wanted.push(("rpc.service", json!(service)));
        wanted.push(("rpc.grpc.status_code", json!(number)));
    }
    let mut said = span.attributes.clone();
    said.retain(|key, _| !ALWAYS.contains(&key.as_str()));
    let wanted = wanted.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    assert_eq!(said, wanted);
}
