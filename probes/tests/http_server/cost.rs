//! What a request costs: traps, reads of user memory, time.

use aya::sys::{Stats, enable_stats};
use lightfoot_probes_abi::layout::{Layout, Map};
use lightfoot_probes_abi::record::{ContentType, http_flags};
use lightfoot_probes_abi::user::Record;
use lightfoot_probes_abi::{Counter, Sampler};
use lightfoot_tests::go::VERSIONS;
use lightfoot_tests::go::version::{NEWEST, OLDEST};
use lightfoot_tests::live::{Client, assert_settles, processor_time};

use crate::layout::End;
use crate::watch::{Options, Watch};
use crate::{ALWAYS_ON, BINARY, alone, process, selected, send, traceparent, watched};

/// Reads of user memory of a request that is not sampled.
const UNSAMPLED: u64 = 13;

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

/// Two traps a request, no matter how many a connection serves, and one when it closes.
#[test]
fn two_traps_a_request() {
    let _alone = alone();
    let Some((mut watch, server)) = watched(Options::default(), ALWAYS_ON) else { return };
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let (clients, each) = (8, 1000);
    let (before, _) = watch.runs();
    let (records, connections) = watch.collect(clients * each, || send(server.address, clients, each, fixed));
    assert_eq!(records.len(), clients * each);
    // A server notices the end of a connection a moment later.
    assert_settles(&(2 * (clients * each) as u64 + connections), || watch.runs().0 - before);
    drop(server.stop());
}

/// Each read has its price, and on large machines a high one.
#[test]
fn reads_of_user_memory() {
    let _alone = alone();
    for version in VERSIONS {
        let Some(mut watch) = Watch::load(Options { count_reads: true, ..Options::default() }) else {
            return;
        };
        let (server, facts) = selected(&mut watch, version, End::FinishRequest, ALWAYS_ON);
        watch.attach(&server.binary, server.pid(), &facts.sites);
        let requests = 200;
        let (records, _) = watch.collect(requests, || send(server.address, 1, requests, fixed));
        assert_eq!(records.len(), requests);
        let reads = watch.counter(Counter::UserReads);
        // The peer's address is read once. One tells the goroutine, at the start and at the end, one where its stack is. Swiss maps have a table between; Go 1.22 keeps the pattern behind a pointer, 1.21 nowhere. A bucket of a
        // classic map overflows now and then.
        let expected = match version.minor {
            21 => 16,
            22 => 19,
            23 => 18,
            _ => 20,
        } * requests as u64;
        assert!(
            (expected..expected + 40).contains(&reads),
            "{version}: {reads} reads in {requests} requests"
        );
        drop(server.stop());
    }
}

/// What tells the protocol of a call costs nothing where it is not asked for, and there only what has such headers.
#[test]
fn reads_of_a_call() {
    let _alone = alone();
    let (kind, connect) = ("Content-Type: application/", "Connect-Protocol-Version: 1\r\n");
    let kinds = [
        ("Accept: */*\r\n".to_owned(), 0, ContentType::Other, false),
        // Longer names are read as well, to be compared.
        (format!("X-Request-Id: 1\r\n{kind}json\r\n"), 4, ContentType::Other, false),
        (format!("{kind}json\r\n{connect}"), 4, ContentType::Other, true),
        (format!("{kind}jso\r\n{connect}"), 3, ContentType::Other, true),
        (format!("{kind}proto\r\n{connect}"), 4, ContentType::Proto, true),
        (format!("{kind}proto; charset=utf-8\r\n"), 3, ContentType::Proto, false),
        (format!("{kind}protobuf\r\n"), 3, ContentType::Other, false),
        (format!("{kind}connect+proto\r\n"), 3, ContentType::ConnectStream, false),
        (format!("{kind}connection\r\n"), 3, ContentType::Other, false),
        (format!("{kind}grpc\r\n"), 3, ContentType::Grpc, false),
        (format!("{kind}grpc+proto\r\n"), 3, ContentType::Grpc, false),
        (format!("{kind}grpc-web-text\r\n"), 3, ContentType::Other, false),
        (format!("{kind}grpc-web+proto\r\n"), 3, ContentType::GrpcWeb, false),
        (format!("{kind}grpc-web\r\n"), 3, ContentType::GrpcWeb, false),
        (format!("{kind}grpcs\r\n"), 3, ContentType::Other, false),
        ("Content-Type: text/plain; charset=x\r\n".to_owned(), 3, ContentType::Other, false),
    ];
    for version in [OLDEST, NEWEST] {
        let Some(mut watch) = Watch::load(Options { count_reads: true, ..Options::default() }) else {
            return;
        };
        let (server, facts) = selected(&mut watch, version, End::FinishRequest, ALWAYS_ON);
        watch.attach(&server.binary, server.pid(), &facts.sites);
        let mut client = Client::tcp(server.address);
        // What is read once of a connection, and at its end, is in none of the counts below.
        watch.collect(1, || drop(client.exchange(b"GET /body/0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap()));
        for (headers, price, content_type, is_connect) in &kinds {
            let mut reads = [0, 1].map(|rpc| {
                let header = Map { rpc, ..facts.layout.header };
                watch.add_layout(BINARY, &Layout { header, ..facts.layout });
                let before = watch.counter(Counter::UserReads);
                let request =
                    format!("GET /body/1?size=10 HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes();
                let (records, ()) = watch.collect(100, || {
                    for _ in 0..100 {
                        client.exchange(&request).unwrap();
                    }
                });
                assert_eq!(records.len(), 100);
                let Record::HttpServer(http, _) = Record::parse(&records[0]).unwrap() else { panic!() };
                let told =
                    if rpc == 0 { (ContentType::Unknown, false) } else { (*content_type, *is_connect) };
                assert_eq!(http.content_type, told.0 as u16, "{headers}");
                assert_eq!(http.flags & http_flags::CONNECT != 0, told.1, "{headers}");
                watch.counter(Counter::UserReads) - before
            });
            reads[1] -= reads[0];
            assert_eq!(reads[1], 100 * price, "{version}: {headers}");
        }
        drop(server.stop());
    }
}

/// The sampler decides before any text is copied: two traps, and so few reads that no text is among them but a `traceparent`.
#[test]
fn an_unsampled_request() {
    let _alone = alone();
    let Some(mut watch) = Watch::load(Options { count_reads: true, ..Options::default() }) else { return };
    let (server, facts) = selected(&mut watch, NEWEST, End::FinishRequest, Sampler::default());
    watch.attach(&server.binary, server.pid(), &facts.sites);
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let requests = 200;
    let (before, _) = watch.runs();
    let (records, connections) = watch.collect(0, || send(server.address, 1, requests, fixed));
    let requests = requests as u64;
    // A server notices the end of a connection a moment later.
    assert_settles(&(2 * requests + connections), || watch.runs().0 - before);
    assert_eq!((records.len(), watch.counter(Counter::Unsampled), watch.open_spans()), (0, requests, 0));
    let reads = watch.counter(Counter::UserReads);
    assert!((UNSAMPLED * requests..UNSAMPLED * requests + 40).contains(&reads), "{reads} reads");
    drop(server.stop());
}

#[test]
#[ignore = "a measurement, for an idle machine and a release build"]
fn time() {
    let _alone = alone();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let (clients, each) = (8, 4000);
    let requests = u32::try_from(clients * each).unwrap();
    let Some((mut watch, server)) = watched(Options::default(), ALWAYS_ON) else { return };
    let mut measure = |name, sampler: Option<Sampler>| {
        watch.enable(false);
        if let Some(sampler) = sampler {
            watch.select(server.pid(), process(sampler));
            watch.enable(true);
        }
        let mut times: Vec<_> = (0..7)
            .map(|_| {
                let (_, run_time) = watch.runs();
                let before = processor_time(server.pid()).unwrap();
                watch.collect(0, || send(server.address, clients, each, fixed));
                let run_time = watch.runs().1.saturating_sub(run_time);
                (processor_time(server.pid()).unwrap().saturating_sub(before) / requests, run_time / requests)
            })
            .collect();
        times.sort();
        let (best, median) = (times[0], times[times.len() / 2]);
        println!(
            "{name}: (server's processor time, BPF run time of it) {best:?} at best, {median:?} the median"
        );
    };
    measure("attached, switched off", None);
    measure("not sampled", Some(Sampler::default()));
    measure("recorded", Some(ALWAYS_ON));
    drop(server.stop());
}
