//! Served HTTP/1 requests, from a real Go server through the kernel to records. Needs root and uprobe_multi (Linux 6.6).

mod client;
mod compare;
mod layout;
mod target;
mod watch;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use lightfoot_probes_abi::{Counter, Process, Sampler, SamplerKind};
use lightfoot_tests::go::{GoVersion, VERSIONS};

use client::Client;
use compare::{Span, assert_equal};
use layout::{End, Facts, inspect};
use target::{Server, build};
use watch::Watch;

const ALWAYS_ON: Sampler = Sampler { kind: SamplerKind::AlwaysOn as u32, parent_based: 1, threshold: 0 };
const BINARY: u32 = 7;

/// Programs are loaded once at a time: their run counts are the kernel's, and the machine is small.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the programs, or prints why not.
fn load(count_reads: bool) -> Option<Watch> {
    Watch::load(count_reads)
        .inspect_err(|why| println!("skipped: the programs cannot be loaded here: {why}"))
        .ok()
}

fn newest() -> GoVersion {
    GoVersion::of_minor(26).unwrap()
}

/// Starts a server and watches it.
fn watched(watch: &mut Watch, version: GoVersion, end: End, sampler: Sampler) -> (Server, Facts) {
    let binary = build(version, &[]);
    let facts = inspect(&binary, BINARY, end);
    let server = Server::start(&binary);
    watch.add_layout(BINARY, facts.layout);
    watch.select(server.pid(), Process { binary: BINARY, layout: BINARY, sampler, ..Process::default() });
    watch.attach(&binary, &facts.sites);
    (server, facts)
}

/// Sends `each` requests over each of `clients` connections at once. Returns how many connections were opened.
fn load_server(
    address: SocketAddr,
    clients: usize,
    each: usize,
    request: impl Fn(usize) -> Vec<u8> + Sync,
) -> u64 {
    thread::scope(|scope| {
        let request = &request;
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = Client::new(address);
                    for number in 0..each {
                        connection.send(&request(client * each + number));
                    }
                    connection.connections
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn traceparent(number: usize) -> String {
    format!("00-{:032x}-{:016x}-01", number as u128 * 0x1_0000_0001_0000_0001 + 1, number + 1)
}

/// One request of each kind in turn.
fn mixed(number: usize) -> Vec<u8> {
    let path = [
        "/body/N?size=100",
        "/status/N?status=404",
        "/overwritten/N?size=3",
        "/body/N",
        "/early/N",
        "/flushed/N",
        "/users/N",
        "/copied/N?size=1",
        "/panic/N",
        "/late-panic/N",
        "/hijack/N",
        "/hijack-elsewhere/N",
        "/abort/N",
        "/slow/N",
        "/unknown/N",
        "/status/N?status=204",
        "/exit/N",
    ][number % 17]
        .replace('N', &number.to_string());
    let mut headers = String::new();
    if number % 3 != 0 {
        headers += &format!("traceparent: {}\r\n", traceparent(number));
    }
    if number % 3 == 2 {
        headers += &format!("TraceState: a={number}\r\nTracestate: b=2,c=3\r\n");
    }
    if number % 4 != 0 {
        headers += &format!("user-agent: agent/{number}\r\n");
    }
    // From one group or bucket to several.
    for header in 0..number % 41 {
        headers += &format!("X-{}: {header}\r\n", "h".repeat(1 + header % 12));
        headers += &format!("Y-Head-{header}: {header}\r\n");
    }
    let method = ["GET", "GET", "POST", "PUT", "BREW"][number % 5];
    let method = if path.starts_with("/users") { "GET" } else { method };
    format!("{method} {path} HTTP/1.1\r\nHost: host-{number}.test\r\nContent-Length: 0\r\n{headers}\r\n")
        .into_bytes()
}

/// Watches all kinds of requests at once and compares all that is sent with the server's truth.
fn every_kind_of_request(version: GoVersion, end: End) {
    let _alone = alone();
    let Some(mut watch) = load(false) else { return };
    let (server, _) = watched(&mut watch, version, end, ALWAYS_ON);
    let (clients, each) = (16, 170);
    let (records, _) = watch.collect(clients * each, || load_server(server.address, clients, each, mixed));
    let truth = server.stop();
    assert_eq!(truth.len(), clients * each);
    println!("{version}: {:?}, {} waits", watch.counters(), watch.counter(Counter::PageWaits));
    assert_equal(&records, &truth, version.minor >= 22);
    assert_eq!(watch.open_spans(), 0);
    let expected = [(Counter::Started, truth.len() as u64), (Counter::Ended, truth.len() as u64)];
    assert_eq!(watch.counters(), expected, "and no loss, fault or surprise");
}

#[test]
fn every_kind_of_request_in_every_go_version() {
    for version in VERSIONS {
        every_kind_of_request(version, End::FinishRequest);
    }
}

/// What the documentation promises for a request with 8 headers and a `traceparent`: two traps, no matter how many
/// requests a connection serves, and one when it closes.
#[test]
fn two_traps_a_request() {
    let _alone = alone();
    let Some(mut watch) = load(false) else { return };
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let (server, _) = watched(&mut watch, newest(), End::FinishRequest, ALWAYS_ON);
    let (clients, each) = (8, 5000);
    let (before, time_before) = watch.runs();
    let requests = (clients * each) as u64;
    let (records, connections) =
        watch.collect(clients * each, || load_server(server.address, clients, each, fixed));
    assert_eq!(records.len(), clients * each);
    // A server notices the end of a connection a moment later.
    thread::sleep(Duration::from_millis(100));
    let (after, time_after) = watch.runs();
    drop(server.stop());
    assert_eq!(after - before, 2 * requests + connections);
    println!("{:?} of BPF run time a request", (time_after - time_before) / (requests as u32));
}

/// Each read of user memory has its price, so their number is fixed.
#[test]
fn reads_of_user_memory_are_counted() {
    let _alone = alone();
    for version in VERSIONS {
        let Some(mut watch) = load(true) else { return };
        let (server, _) = watched(&mut watch, version, End::FinishRequest, ALWAYS_ON);
        let requests = 100;
        let (records, _) = watch.collect(requests, || load_server(server.address, 1, requests, fixed));
        assert_eq!(records.len(), requests);
        let reads = watch.counter(Counter::UserReads);
        println!("{version}: {reads} reads in {requests} requests");
        drop(server.stop());
    }
}

/// The fixed request of the measurements: 8 headers and a `traceparent`.
fn fixed(number: usize) -> Vec<u8> {
    format!(
        "GET /body/{number}?size=10 HTTP/1.1\r\nHost: example.test:8080\r\nUser-Agent: a-usual-client/1.0 (linux)\r\n\
         Accept: text/html,application/json\r\nAccept-Encoding: gzip\r\nAccept-Language: en\r\nConnection: keep-alive\r\n\
         Cookie: session=0123456789\r\nX-Request-Id: {number}\r\ntraceparent: {}\r\n\r\n",
        traceparent(number)
    )
    .into_bytes()
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    let _alone = alone();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    for (name, sampler) in [("on", ALWAYS_ON), ("off", Sampler::default())] {
        let Some(mut watch) = load(false) else { return };
        let (server, _) = watched(&mut watch, newest(), End::FinishRequest, sampler);
        let (clients, each) = (8, 1000);
        let mut all = Vec::new();
        for _ in 0..12 {
            let (_, before) = watch.runs();
            watch.collect(0, || load_server(server.address, clients, each, fixed));
            let (_, after) = watch.runs();
            all.push((after - before) / (clients * each) as u32);
        }
        all.sort();
        println!("{name}: min {:?} median {:?}", all[0], all[6]);
        drop(server.stop());
    }
}

#[test]
#[ignore = "a measurement"]
fn only_load() {
    load(false).unwrap();
}
