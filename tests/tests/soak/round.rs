//! One round: programs start, work all at once, and end.

use std::thread;
use std::time::Duration;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Driven, Folder, Server, binary};

use crate::load::Load;

/// Requests of each client to each server of HTTP, and calls of each kind by each client of gRPC.
const REQUESTS: u64 = 300;
const CALLS: usize = 100;
/// How long calls may take that are made one after the other on a busy machine.
const LONG: Duration = Duration::from_mins(2);

/// How many operations there were: requests that were served, and both sides of calls.
pub(crate) fn run(agent: &Agent, folder: &Folder, round: usize) -> u64 {
    let within = || Folder::within(folder.path()).unwrap();
    let servers: Vec<_> =
        (0..2).map(|_| Server::start_in(within(), &binary(Program::Truth).unwrap()).unwrap()).collect();
    let driven =
        [(Program::Rpc, &["unary", "says-not-found", "both-streams"][..]), (Program::Clients, &["get"])];
    let driven = driven
        .map(|(program, cases)| (Driven::start_in(within(), &binary(program).unwrap()).unwrap(), cases));
    let pids = servers.iter().map(Server::pid).chain(driven.iter().map(|(driven, _)| driven.pid()));
    pids.for_each(|pid| agent.watches(pid).unwrap());

    let loads: Vec<_> = servers
        .iter()
        .map(|server| Load::start(server.address, 0, REQUESTS, |number| format!("/plain/{number}")))
        .collect();
    let callers: Vec<_> = driven.map(|(driven, cases)| thread::spawn(move || call(driven, cases))).into();
    let asked: u64 = loads.into_iter().map(|load| load.join().answered.len() as u64).sum();
    let called: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    // Programs end as they are told to, and as they are not.
    for server in servers {
        if round.is_multiple_of(2) {
            server.stop().unwrap();
        }
    }
    asked + called
}

/// Both sides of what it has called.
fn call(mut driven: Driven, cases: &[&str]) -> u64 {
    for case in cases {
        driven.ask_within(LONG, &format!("run {case} {CALLS}")).unwrap();
    }
    let facts = driven.stop().unwrap();
    let sides = [
        facts.calls.len(),
        facts.requests.len(),
        facts.served.len(),
        facts.called.len(),
        facts.handled.len(),
    ];
    sides.iter().sum::<usize>() as u64
}
