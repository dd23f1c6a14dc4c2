//! An agent that may open fewer files than it takes to watch all that it should: it says which it leaves alone and why, and loses
//! nothing of the others.

use std::fs;
use std::process::Command;

use lightfoot::attach::RESERVED_FILES;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Folder, Server, binary, lightfoot, text, wait_for, watching};

use crate::balance::Truth;
use crate::causes::plain;
use crate::endpoint::Endpoint;
use crate::load::{CLIENTS, numbers, send};
use crate::scene::accepted;

const SERVERS: u64 = 6;
/// Requests of each client to each server.
const EACH: u64 = 20;

#[test]
fn with_too_few_files_what_is_watched_loses_nothing_and_the_rest_is_told_of() {
    let Some(folder) = Folder::for_test("an agent that may open few files") else { return };
    let path = binary(Program::Truth).unwrap();
    let start = |_| Server::start_in(Folder::within(folder.path()).unwrap(), &path).unwrap();
    let servers: Vec<Server> = (0..SERVERS).map(start).collect();
    let pattern = format!("{}/*/server", text(folder.path()));
    // What it has open while it watches one; each more takes three or four files.
    let first = servers[0].pid();
    let one = Agent::start(["--pid", &first.to_string(), "--attach-method", "perf-event"], &[]).unwrap();
    one.watches(first).unwrap();
    let files = fs::read_dir(format!("/proc/{}/fd", one.pid())).unwrap().count();
    one.stop().unwrap();
    let files = files + usize::try_from(RESERVED_FILES).unwrap() + 10;

    let endpoint = Endpoint::start(|_| Some("200 OK"));
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={files}:{files}")).arg(lightfoot());
    command.args(["run", "--exe", &pattern, "--attach-method", "perf-event"]);
    command.args(["--protocol", "http/protobuf", "--endpoint", &endpoint.address]);
    let agent = Agent::spawn(command, &[("OTEL_BSP_SCHEDULE_DELAY", "100")]).unwrap();
    let messages = || agent.messages();
    let is_watched = |server: &Server| messages().contains(&watching(server.pid()));
    let is_refused = |server: &Server| {
        let pid = format!(" pid={} ", server.pid());
        let is_it = |line: &str| line.contains("not watching") && line.contains(&pid);
        messages().lines().any(|line| {
            is_it(line) && line.contains(&format!("Lightfoot may open no more than {files} files"))
        })
    };
    let is_decided = || servers.iter().all(|server| is_watched(server) || is_refused(server)).then_some(());
    wait_for("all to be decided on", is_decided).unwrap_or_else(|error| panic!("{error}: {}", messages()));
    agent.counts().unwrap();
    let watched: Vec<bool> = servers.iter().map(is_watched).collect();
    for (server, first) in servers.iter().zip((0..).step_by(1 << 20)) {
        send(server.address, first, EACH, plain);
    }
    let outcome = agent.stop().unwrap();
    let mut truth = Truth::default();
    for (server, is_watched) in servers.into_iter().zip(&watched) {
        let asked = numbers(&server.stop().unwrap());
        assert_eq!(asked.len() as u64, EACH * CLIENTS);
        if *is_watched {
            truth.certain.extend(asked);
        }
    }
    let count = watched.iter().filter(|is_watched| **is_watched).count();
    println!("with {files} files {count} of {SERVERS} servers are watched");
    assert!((1..watched.len()).contains(&count), "{watched:?}");
    truth.assert_balanced("few files", &accepted(&endpoint, |_| true), &outcome, &[]);
}
