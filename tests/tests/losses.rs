//! Every way to lose a span moves its counter.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::live::{Agent, Client, Folder, Outcome, Target, lightfoot, wait_for};
use rustix::process::Signal;

/// A server of its own file.
struct Scene {
    target: Target,
    _folder: Folder,
}

impl Scene {
    fn set(test: &str) -> Option<Self> {
        let folder = Folder::for_test(test)?;
        let target = Target::start(&folder.server().unwrap()).unwrap();
        target.address().unwrap();
        Some(Self { target, _folder: folder })
    }

    fn client(&self) -> Client {
        Client::tcp(self.target.address().unwrap())
    }

    /// An agent that watches it.
    fn watched(&self, words: &[&str], variables: &[(&str, &str)]) -> Agent {
        let pid = self.target.pid().to_string();
        let agent = Agent::start([&["--pid", &pid], words].concat(), variables).unwrap();
        agent.watches(self.target.pid()).unwrap();
        agent
    }

    /// An agent that watches it and sends what it sees to an endpoint.
    fn exporting(&self, endpoint: &TcpListener, words: &[&str], variables: &[(&str, &str)]) -> Agent {
        let url = format!("http://{}", endpoint.local_addr().unwrap());
        let mut command = Command::new(lightfoot());
        command.args(["run", "--pid", &self.target.pid().to_string()]);
        command.args(["--endpoint", &url, "--protocol", "http/protobuf"]).args(words);
        let agent = Agent::spawn(command, variables).unwrap();
        agent.watches(self.target.pid()).unwrap();
        agent
    }

    /// So many requests over one connection.
    fn requests(&self, count: u64) {
        let mut client = self.client();
        for number in 0..count {
            assert_eq!(client.status(&format!("/{number}"), "").unwrap(), 200);
        }
    }

    /// So many requests, each over a connection of its own, that end with their clients.
    fn open(&self, count: usize) -> Vec<Client> {
        let mut clients: Vec<_> = (0..count).map(|_| self.client()).collect();
        for client in &mut clients {
            assert_eq!(client.begin("/wait").unwrap(), 200);
        }
        clients
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
        "spans_lost_refused",
        "spans_lost_rejected",
        "spans_lost_export_timeout",
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
    let Some(scene) = Scene::set("a full ring") else { return };
    let agent = scene.watched(&["--ring-size", "4"], &[]);
    agent.signal(Signal::STOP);
    let sent = 500;
    scene.requests(sent);
    agent.signal(Signal::CONT);
    // It reads all that is there before it hands the first one on, and then there is room again.
    agent.find("the first span", |_| true).unwrap();
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
    let Some(scene) = Scene::set("too many open spans") else { return };
    let agent = scene.watched(&["--max-open-spans", "16"], &[]);
    let open = scene.open(200);
    let counts = agent.counts().unwrap();
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    assert_eq!(count("started") + count("in_flight_full"), 200, "{counts:?}");
    assert!(count("in_flight_full") > 100, "{counts:?}");
    drop(open);
    let ended = || {
        agent.counts().ok().filter(|counts| counts.get("end_without_start") == counts.get("in_flight_full"))
    };
    wait_for("the ends", ended).unwrap();
    agent.wait_for_spans(usize::try_from(count("started")).unwrap(), |_| true).unwrap();
    let outcome = agent.stop().unwrap();
    expect(&outcome, "ended", outcome.spans.len() as u64);
    expect(&outcome, "in_flight_full", count("in_flight_full"));
}

#[test]
fn an_end_without_a_start_is_counted() {
    let Some(scene) = Scene::set("an end without a start") else { return };
    let agent = scene.watched(&[], &[]);
    // Refused before any handler.
    assert_eq!(scene.client().status("/odd", "Expect: miracles\r\n").unwrap(), 417);
    assert_eq!(scene.target.get("/even").unwrap(), 200);
    agent.span("/even").unwrap();
    let outcome = agent.stop().unwrap();
    expect(&outcome, "end_without_start", 1);
    assert_eq!(outcome.paths(), ["/even"]);
}

#[test]
fn spans_that_are_open_when_their_process_dies_or_the_agent_ends_are_counted() {
    for kills in [true, false] {
        let Some(mut scene) = Scene::set("open spans") else { return };
        let agent = scene.watched(&[], &[]);
        let open = scene.open(3);
        if kills {
            scene.target.signal(Signal::KILL);
            scene.target.wait().unwrap();
            agent.counts_to("spans_open_at_end", 3).unwrap();
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
    // It accepts connections and never answers.
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ];
    let Some(scene) = Scene::set("a full queue") else { return };
    let agent = scene.exporting(&endpoint, &[], &variables);
    scene.requests(100);
    agent.counts_to("spans_pushed", 100).unwrap();
    let asked = Instant::now();
    let outcome = agent.stop().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    expect(&outcome, "spans_lost_queue_full", 99);
    expect(&outcome, "spans_lost_unfinished", 1);
    expect_delivery_to_add_up(&outcome);
}

#[test]
fn a_queue_of_large_spans_is_full_before_it_has_its_number() {
    let Some(scene) = Scene::set("a queue full of bytes") else { return };
    // It accepts connections and never answers.
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = scene.exporting(&endpoint, &["--queue-size", "1"], &[]);
    let mut client = scene.client();
    let (path, header) = (format!("/{}", "p".repeat(1000)), format!("User-Agent: {}\r\n", "a".repeat(256)));
    for _ in 0..1_000 {
        assert_eq!(client.status(&path, &header).unwrap(), 200);
    }
    agent.counts_to("spans_pushed", 1_000).unwrap();
    let outcome = agent.stop().unwrap();
    // One service has half a MiB of it, and a span takes some more than its texts.
    let lost = outcome.count("spans_lost_queue_bytes");
    assert!((600..850).contains(&lost), "{}", outcome.messages);
    expect(&outcome, "spans_lost_queue_full", 0);
    expect(&outcome, "spans_lost_unfinished", 1_000 - lost);
    expect_delivery_to_add_up(&outcome);
}

#[test]
fn spans_that_no_endpoint_takes_are_counted_with_the_reason() {
    let Some(scene) = Scene::set("a refusing endpoint") else { return };
    // Of an address of which nobody else takes a port once it is free.
    let endpoint = TcpListener::bind("127.0.0.5:0").unwrap();
    let timeouts = [("OTEL_BSP_EXPORT_TIMEOUT", "500"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
    let agent = scene.exporting(&endpoint, &[], &timeouts);
    // Nobody listens there any more.
    drop(endpoint);
    scene.requests(20);
    agent.counts_to("spans_lost_export_timeout", 20).unwrap();
    let outcome = agent.stop().unwrap();
    for said in ["takes no spans", "what the last failed export said"] {
        assert!(outcome.messages.contains(said), "{said} is not in {}", outcome.messages);
    }
    expect_delivery_to_add_up(&outcome);
}

#[test]
fn a_resolver_that_never_answers_holds_up_neither_start_nor_end() {
    let Some(scene) = Scene::set("a silent resolver") else { return };
    let folder = tempfile::tempdir().unwrap();
    // It takes questions and says nothing.
    let silent = UdpSocket::bind("127.66.66.66:53").unwrap();
    let file = folder.path().join("resolv.conf");
    fs::write(
        &file,
        format!("nameserver {}\noptions timeout:30 attempts:2\n", silent.local_addr().unwrap().ip()),
    )
    .unwrap();
    let mut command = Command::new("unshare");
    let script = r#"mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@""#;
    command.args(["--mount", "sh", "-c", script]).arg(&file).arg(lightfoot());
    command.args(["run", "--pid", &scene.target.pid().to_string(), "--flush-timeout", "1"]);
    command.args(["--endpoint", "http://collector.lightfoot.test"]);
    let started = Instant::now();
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.watches(scene.target.pid()).unwrap();
    // The resolver takes sixty.
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    scene.requests(3);
    agent.counts_to("spans_pushed", 3).unwrap();
    // Their batch leaves within half a second, and asks for sixty where to go.
    thread::sleep(Duration::from_secs(1));
    let asked = Instant::now();
    let outcome = agent.stop().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(25), "{:?}", asked.elapsed());
    expect(&outcome, "spans_lost_unfinished", 3);
    expect_delivery_to_add_up(&outcome);
}

#[test]
fn an_output_that_nobody_reads_holds_up_nothing_and_is_counted() {
    let Some(scene) = Scene::set("an output that nobody reads") else { return };
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(lightfoot());
    command.args(["run", "--format", "json", "--pid", &scene.target.pid().to_string()]);
    let agent = Agent::spawn_into(writer.into(), command, &[]).unwrap();
    agent.watches(scene.target.pid()).unwrap();
    // A pipe holds 64 KiB and the printer's queue 4,096 spans.
    scene.requests(6_000);
    agent.counts_to("spans_pushed", 6_000).unwrap();
    let asked = Instant::now();
    let outcome = agent.stop().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    expect(&outcome, "ended", 6_000);
    assert!(outcome.count("spans_lost_printer_behind") > 1_000, "{}", outcome.messages);
    assert!(outcome.count("spans_lost_unprinted") > 1_000, "{}", outcome.messages);
    expect_delivery_to_add_up(&outcome);
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    assert!(printed.lines().count() as u64 >= outcome.count("spans_printed"));
}

#[test]
fn an_output_that_cannot_be_written_is_counted() {
    let Some(scene) = Scene::set("a full disk") else { return };
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for (output, ends) in [(Stdio::from(full), false), (Stdio::from(closed), true)] {
        let mut command = Command::new(lightfoot());
        command.args(["run", "--format", "json", "--pid", &scene.target.pid().to_string()]);
        let agent = Agent::spawn_into(output, command, &[]).unwrap();
        agent.watches(scene.target.pid()).unwrap();
        scene.requests(1);
        // Whoever closes the output wants no more; a disk may have room again.
        let outcome = if ends {
            agent.wait().unwrap()
        } else {
            agent.counts_to("spans_lost_print_failed", 1).unwrap();
            scene.requests(19);
            agent.counts_to("spans_lost_print_failed", 20).unwrap();
            agent.stop().unwrap()
        };
        assert!(outcome.status.success());
        expect(&outcome, "spans_lost_print_failed", if ends { 1 } else { 20 });
        expect_delivery_to_add_up(&outcome);
    }
}

#[test]
fn counts_are_printed_on_request_and_say_what_they_count() {
    let Some(scene) = Scene::set("counts on request") else { return };
    let agent = scene.watched(&[], &[]);
    assert!(agent.counts().unwrap().is_empty(), "{}", agent.messages());
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
    assert_eq!(scene.target.get("/more").unwrap(), 200);
    agent.span("/more").unwrap();
    assert_eq!(agent.counts().unwrap().get("started"), Some(&8));
    let outcome = agent.stop().unwrap();
    expect(&outcome, "started", 8);
}
