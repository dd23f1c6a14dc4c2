//! An agent in a cgroup that may use no more memory than it asks for at its start, with an endpoint that says nothing: it is not
//! killed however many spans wait.

use std::process::{Command, Output as Ended};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Cgroup, Server, binary, is_privileged, lightfoot};

use crate::balance::Truth;
use crate::endpoint::Endpoint;
use crate::load::{CLIENTS, numbers, send};

const MIB: u64 = 1 << 20;
/// Too little for any kernel.
const FAR_TOO_LITTLE: u64 = 40;
/// In MiB; of it one service has half, which is as much as all together have by default.
const QUEUE: &str = "32";
/// Requests of each client at once, for which the ring has room.
const EACH: u64 = 100;
/// So many times are more than there is room for in the queue.
const PORTIONS: u64 = 40;

#[test]
fn within_the_least_memory_that_it_starts_with_it_lives_through_a_full_queue() {
    if !is_privileged("the least memory") {
        return;
    }
    let Some(small) = Cgroup::limited(FAR_TOO_LITTLE * MIB) else { return };
    let server = Server::start(&binary(Program::Truth).unwrap()).unwrap();
    let endpoint = Endpoint::start(|_| None::<&str>);
    let command = |cgroup: &Cgroup| {
        let mut command = cgroup.command(&lightfoot());
        command.args(["run", "--pid", &server.pid().to_string(), "--queue-size", QUEUE]);
        command.args([
            "--flush-timeout",
            "1",
            "--protocol",
            "http/protobuf",
            "--endpoint",
            &endpoint.address,
        ]);
        command
    };
    let least = refused(command(&small), FAR_TOO_LITTLE);
    let below = Cgroup::limited((least - 1) * MIB).unwrap();
    assert_eq!(refused(command(&below), least - 1), least);

    let cgroup = Cgroup::limited(least * MIB).unwrap();
    let agent = Agent::spawn(command(&cgroup), &[("OTEL_BSP_MAX_QUEUE_SIZE", "100000")]).unwrap();
    agent.watches(server.pid()).unwrap();
    for portion in 0..PORTIONS {
        let first = portion * EACH * CLIENTS;
        send(server.address, first, EACH, |number| format!("/plain/{number}/{}", "p".repeat(1000)));
        agent.counts_to("spans_pushed", first + EACH * CLIENTS).unwrap();
        if agent.counts().unwrap().contains_key("spans_lost_queue_bytes") {
            break;
        }
    }
    let outcome = agent.stop().unwrap();
    println!("{least} MiB are asked for, and {:?} KiB were taken at most", cgroup.peak());
    assert_eq!([&small, &below, &cgroup].map(Cgroup::kills), [0; 3]);
    let truth = Truth { certain: numbers(&server.stop().unwrap()), ..Truth::default() };
    let causes = ["spans_lost_queue_bytes", "spans_lost_unfinished"];
    truth.assert_balanced("the least memory", &[], &outcome, &causes);
}

/// How many MiB it asks for where it may use so many.
fn refused(mut command: Command, permitted: u64) -> u64 {
    let Ended { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), said.lines().count()), (Some(1), 1), "{said}");
    let (before, rest) = said.split_once(" MiB of memory, and it takes ").unwrap();
    assert!(before.ends_with(&format!("this cgroup may use {permitted}")), "{said}");
    rest.split_once(" MiB").unwrap().0.parse().unwrap()
}
