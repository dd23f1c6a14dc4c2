//! How much memory an agent takes that watches ten processes of three programs, after some load, and what it is made of.
//! Alone in its binary: nothing else starts an agent meanwhile.

use std::process::Command;

use lightfoot_tests::live::{Agent, Crowd, Sink, is_privileged, lightfoot, resident};

/// What is promised, in KiB, while spans leave as they come.
const PROMISED: u64 = 30_000;
/// The same once all of them had to wait, as they do where the endpoint or the machine is slow: what the queue took is not
/// given back to the kernel.
const PROMISED_AFTER_A_QUEUE: u64 = 40_000;
/// What the code of a release takes of either at most. That of a test is not optimised, and larger; `make bench` measures the
/// release.
const CODE: u64 = 9_000;
/// Requests at once to each of the servers that get any.
const PORTION: u64 = 250;
/// How many times.
const PORTIONS: u64 = 8;

#[test]
fn ten_watched_processes_take_less_than_was_promised() {
    if !is_privileged("the memory of an agent") {
        return;
    }
    let crowd = Crowd::start().unwrap();
    let pids = crowd.pids();
    assert_eq!(pids.len(), 10);
    let sink = Sink::start().unwrap();
    let mut command = Command::new(lightfoot());
    command.args(["run", "--protocol", "http/protobuf", "--endpoint", &sink.endpoint]);
    command.args(pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
    // What is held back does not become late, for it would be sent, and counted, again.
    let agent = Agent::spawn(command, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")]).unwrap();
    for pid in &pids {
        agent.watches(*pid).unwrap();
    }
    let assert_promised = |promised: u64, sent: u64| {
        let parts = resident(agent.pid()).unwrap();
        let total: u64 = parts.values().sum();
        println!("{total} KiB resident after {sent} spans: {parts:?}");
        // The ring's data are mapped twice, one behind the other, so that no record is torn: what the kernel has once
        // counts twice.
        assert!((8 * 1024..9 * 1024).contains(&parts["anon_inode:bpf-map"]), "{parts:?}");
        let code = parts["agent-under-test"];
        assert!(total - code < promised - CODE, "{total} KiB: {parts:?}");
    };
    let mut sent = 0;
    for _ in 0..PORTIONS {
        sent += crowd.ask(PORTION).unwrap();
        agent.counts_to("spans_exported", sent).unwrap();
    }
    assert_promised(PROMISED, sent);

    let held = sink.hold();
    sent += crowd.ask(PORTION * PORTIONS).unwrap();
    drop(held);
    agent.counts_to("spans_exported", sent).unwrap();
    assert_eq!(sink.spans(), sent);
    assert_promised(PROMISED_AFTER_A_QUEUE, sent);
    agent.stop().unwrap();
}
