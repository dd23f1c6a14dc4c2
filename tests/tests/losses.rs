//! Every way to lose a span moves its counter.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::lifecycle::target::request;
use lightfoot_tests::lifecycle::{Agent, Outcome, Target, agent, copy_of, get, is_privileged, wait_for};
use rustix::process::Signal;
use tempfile::TempDir;

/// A server of its own file.
struct Scene {
    target: Target,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
        let target = Target::start(&path).unwrap();
        target.address().unwrap();
        Self { target, _folder: folder }
    }

    /// An agent that watches it.
    fn watched(&self, words: &[&str], variables: &[(&str, &str)]) -> Agent {
        let pid = self.target.pid().to_string();
        let agent = Agent::start([&["--pid", &pid], words].concat(), variables).unwrap();
        agent.watches(self.target.pid()).unwrap();
        agent
    }

    /// So many requests over one connection.
    fn requests(&self, count: u64) {
        let mut connection = TcpStream::connect(self.target.address().unwrap()).unwrap();
        for number in 0..count {
            assert_eq!(request(&mut connection, &format!("/{number}"), "keep-alive").unwrap(), 200);
        }
    }
}

fn expect(outcome: &Outcome, name: &str, count: u64) {
    assert_eq!(outcome.count(name), count, "{name}: {}", outcome.messages);
}

/// Each span that was pushed is in one of the counters of the only place that spans go to.
fn expect_delivery_to_add_up(outcome: &Outcome) {
    let settled = [
        "spans_exported",
        "spans_printed",
        "spans_lost_queue_full",
        "spans_lost_queue_bytes",
        "spans_lost_export_failed",
        "spans_lost_unfinished",
        "spans_lost_printer_behind",
        "spans_lost_print_failed",
        "spans_lost_unprinted",
    ];
    let settled: u64 = settled.iter().map(|name| outcome.count(name)).sum();
    assert_eq!(outcome.count("spans_pushed"), settled, "{}", outcome.messages);
}

#[test]
fn a_full_ring_loses_exactly_what_it_counts() {
    if !is_privileged("a full ring") {
        return;
    }
    let scene = Scene::new();
    let agent = scene.watched(&["--ring-size", "4"], &[]);
    agent.signal(Signal::STOP);
    let sent = 500;
    scene.requests(sent);
    agent.signal(Signal::CONT);
    // It reads all that is there before it hands the first one on, and then there is room again.
    wait_for("the first span", || agent.spans().into_iter().next()).unwrap();
    assert_eq!(scene.target.get("/room").unwrap(), 200);
    agent.span("/room").unwrap();
    let outcome = agent.stop().unwrap();
    let delivered = outcome.spans.len() as u64;
    expect(&outcome, "ring_full", sent + 1 - delivered);
    assert!(outcome.count("ring_full") > 400, "{}", outcome.messages);
    expect(&outcome, "started", sent + 1);
    expect(&outcome, "ended", delivered);
    expect(&outcome, "spans_printed", delivered);
    // What was there when the ring filled is delivered whole, in order.
    assert_eq!(outcome.spans.first().unwrap().path(), "/0");
}

#[test]
fn too_many_open_spans_are_counted_at_their_start_and_at_their_end() {
    if !is_privileged("too many open spans") {
        return;
    }
    let scene = Scene::new();
    let agent = scene.watched(&["--max-open-spans", "16"], &[]);
    let address = scene.target.address().unwrap();
    let open: Vec<_> = (0..200)
        .map(|_| {
            let mut connection = TcpStream::connect(address).unwrap();
            // The header comes at once, the end with the connection's.
            assert_eq!(request(&mut connection, "/wait", "keep-alive").unwrap(), 200);
            connection
        })
        .collect();
    let counts = agent.counts().unwrap();
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    assert_eq!(count("started") + count("in_flight_full"), 200, "{counts:?}");
    assert!(count("in_flight_full") > 100, "{counts:?}");
    drop(open);
    let ended = || {
        agent.counts().ok().filter(|counts| counts.get("end_without_start") == counts.get("in_flight_full"))
    };
    wait_for("the ends", ended).unwrap();
    wait_for("the spans", || (agent.spans().len() as u64 == count("started")).then_some(())).unwrap();
    let outcome = agent.stop().unwrap();
    expect(&outcome, "ended", outcome.spans.len() as u64);
    expect(&outcome, "in_flight_full", count("in_flight_full"));
}

#[test]
fn an_end_without_a_start_is_counted() {
    if !is_privileged("an end without a start") {
        return;
    }
    let scene = Scene::new();
    let agent = scene.watched(&[], &[]);
    let mut connection = TcpStream::connect(scene.target.address().unwrap()).unwrap();
    // Refused before any handler: 417.
    let odd = "GET /odd HTTP/1.1\r\nHost: host.test\r\nExpect: miracles\r\nConnection: close\r\n\r\n";
    connection.write_all(odd.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 417 "), "{answer}");
    // Begun before the agent looked, ended after.
    assert_eq!(scene.target.get("/even").unwrap(), 200);
    agent.span("/even").unwrap();
    let outcome = agent.stop().unwrap();
    expect(&outcome, "end_without_start", 1);
    assert_eq!(outcome.paths(), ["/even"]);
}

#[test]
fn spans_that_are_open_when_their_process_dies_or_the_agent_ends_are_counted() {
    if !is_privileged("open spans") {
        return;
    }
    for kills in [true, false] {
        let mut scene = Scene::new();
        let agent = scene.watched(&[], &[]);
        let address = scene.target.address().unwrap();
        let open: Vec<_> = (0..3)
            .map(|_| {
                let mut connection = TcpStream::connect(address).unwrap();
                assert_eq!(request(&mut connection, "/wait", "keep-alive").unwrap(), 200);
                connection
            })
            .collect();
        if kills {
            scene.target.signal(Signal::KILL);
            scene.target.wait().unwrap();
            let left = || agent.counts().ok()?.get("spans_open_at_end").copied();
            assert_eq!(wait_for("its end", left).unwrap(), 3);
        }
        let outcome = agent.stop().unwrap();
        drop(open);
        expect(&outcome, "started", 3);
        expect(&outcome, "spans_open_at_end", 3);
        assert!(outcome.spans.is_empty());
    }
}

#[test]
fn a_queue_that_is_full_is_counted_and_the_rest_is_given_up_in_time() {
    if !is_privileged("a full queue") {
        return;
    }
    // It accepts connections and never answers.
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", endpoint.local_addr().unwrap());
    let scene = Scene::new();
    let pid = scene.target.pid().to_string();
    let mut command = Command::new(agent());
    command.args(["run", "--pid", &pid, "--endpoint", &url, "--protocol", "http/protobuf"]);
    let variables = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ];
    let agent = Agent::spawn(command, &variables).unwrap();
    agent.watches(scene.target.pid()).unwrap();
    scene.requests(100);
    wait_for("the spans", || (agent.counts().ok()?.get("spans_pushed") == Some(&100)).then_some(())).unwrap();
    let asked = Instant::now();
    let outcome = agent.stop().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    expect(&outcome, "spans_lost_queue_full", 99);
    expect(&outcome, "spans_lost_unfinished", 1);
    expect_delivery_to_add_up(&outcome);
}

#[test]
fn spans_that_no_endpoint_takes_are_counted_with_the_reason() {
    if !is_privileged("a refusing endpoint") {
        return;
    }
    // Nobody listens there any more.
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let scene = Scene::new();
    let pid = scene.target.pid().to_string();
    let mut command = Command::new(agent());
    command.args(["run", "--pid", &pid, "--endpoint", &url, "--protocol", "http/protobuf"]);
    let agent =
        Agent::spawn(command, &[("OTEL_BSP_EXPORT_TIMEOUT", "500"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")]);
    let agent = agent.unwrap();
    agent.watches(scene.target.pid()).unwrap();
    scene.requests(20);
    let failed = || (agent.counts().ok()?.get("spans_lost_export_failed") == Some(&20)).then_some(());
    wait_for("the failure", failed).unwrap();
    let outcome = agent.stop().unwrap();
    assert!(outcome.count("exports_failed") >= 1);
    assert!(outcome.messages.contains("the last failed export said"), "{}", outcome.messages);
    expect_delivery_to_add_up(&outcome);
}

#[test]
fn an_output_that_nobody_reads_holds_up_nothing_and_is_counted() {
    if !is_privileged("an output that nobody reads") {
        return;
    }
    let scene = Scene::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(agent());
    command.args(["run", "--format", "json", "--pid", &scene.target.pid().to_string()]);
    let agent = Agent::spawn_into(writer.into(), command, &[]).unwrap();
    agent.watches(scene.target.pid()).unwrap();
    // A pipe holds 64 KiB and the printer's queue 4,096 spans.
    scene.requests(6_000);
    let pushed = || (agent.counts().ok()?.get("spans_pushed") == Some(&6_000)).then_some(());
    wait_for("the spans", pushed).unwrap();
    let asked = Instant::now();
    let outcome = agent.stop().unwrap();
    assert!(outcome.status.success() && asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    expect(&outcome, "ended", 6_000);
    assert!(outcome.count("spans_lost_printer_behind") > 1_000, "{}", outcome.messages);
    assert!(outcome.count("spans_lost_unprinted") > 1_000, "{}", outcome.messages);
    expect_delivery_to_add_up(&outcome);
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    assert!(printed.lines().count() as u64 >= outcome.count("spans_printed"));
}

#[test]
fn counts_are_printed_on_request_and_say_what_they_count() {
    if !is_privileged("counts on request") {
        return;
    }
    let scene = Scene::new();
    let agent = scene.watched(&[], &[]);
    assert!(agent.counts().unwrap().keys().all(|name| name == "counts"), "{}", agent.messages());
    scene.requests(7);
    agent.span("/6").unwrap();
    let counts = agent.counts().unwrap();
    for name in ["started", "ended", "spans_pushed"] {
        assert_eq!(counts.get(name), Some(&7), "{name}: {counts:?}");
    }
    assert!(
        agent.messages().contains("Spans whose record was handed to the ring buffer"),
        "{}",
        agent.messages()
    );
    // They go on counting.
    assert_eq!(get(scene.target.address().unwrap(), "/more").unwrap(), 200);
    agent.span("/more").unwrap();
    assert_eq!(agent.counts().unwrap().get("started"), Some(&8));
    let outcome = agent.stop().unwrap();
    expect(&outcome, "started", 8);
}
