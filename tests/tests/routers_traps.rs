//! What a request that a router serves costs in traps, by the kernel's own statistics. A test program of its own: nothing
//! else may send requests to the watched server meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "common/runs.rs"]
mod runs;

use std::sync::{Mutex, PoisonError};

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Client, Outcome, Server, is_privileged};

const REQUESTS: u64 = 200;

static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn what_gin_matches_takes_a_third_trap() {
    // gin 1.9 is probed where it is done with a request, matched or not, later ones where something has matched.
    for (minor, unmatched) in [(21, 3), (26, 2)] {
        for (path, traps) in [("/plain/7", 3), ("/nowhere", unmatched)] {
            let Some((runs, outcome)) = runs_of(minor, path, &[]) else { return };
            assert_eq!(runs, traps * REQUESTS + 1, "Go 1.{minor}, {path}");
            let hits = outcome.counts.get("router_site").copied().unwrap_or_default();
            assert_eq!(hits, (traps - 2) * REQUESTS, "{}", outcome.messages);
            let route = if path == "/plain/7" { "/plain/:number" } else { "" };
            assert!(outcome.spans.iter().all(|span| span.text("http.route") == route));
        }
    }
}

#[test]
fn it_can_be_switched_off() {
    let Some((runs, outcome)) = runs_of(26, "/plain/7", &["--no-router-routes"]) else { return };
    assert_eq!(runs, 2 * REQUESTS + 1);
    assert_eq!(outcome.counts.get("router_site"), None, "{}", outcome.messages);
    assert!(outcome.spans.iter().all(|span| span.text("http.route").is_empty()));
}

/// How often the agent's program ran for requests over one connection and its end.
fn runs_of(minor: u32, path: &str, arguments: &[&str]) -> Option<(u64, Outcome)> {
    let build = Build::here(Program::Gin, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
    if !is_privileged(&format!("watching {build}")) {
        return None;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(&build.path().unwrap()).unwrap();
    let pid = server.pid().to_string();
    let agent = Agent::start([&["--pid", &pid], arguments].concat(), &[]).unwrap();
    agent.watches(server.pid()).unwrap();
    let runs = runs::runs_of(&agent, || {
        let mut client = Client::tcp(server.address);
        for _ in 0..REQUESTS {
            client.get(path, "").unwrap().unwrap();
        }
        assert_eq!(client.connections, 1);
    });
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.spans.len() as u64, REQUESTS);
    drop(server.stop());
    Some((runs, outcome))
}
