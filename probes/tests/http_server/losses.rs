//! Every loss is counted.

use std::thread;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use lightfoot_probes_abi::layout::{Layout, NONE};
use lightfoot_probes_abi::limits::{LARGE_STRUCT, SMALL_STRUCT};
use lightfoot_probes_abi::{Cookie, Counter, Process};
use lightfoot_tests::live::Client;
use lightfoot_tests::probes::{PlacedSite, Target};

use crate::layout::{End, stack_check};
use crate::watch::{Options, Watch};
use crate::{ALWAYS_ON, BINARY, alone, selected, send, usual_go, watched};

fn get(target: &str, number: usize) -> Vec<u8> {
    format!("GET /{target}/{number} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

#[test]
fn a_full_ring_buffer() {
    let _alone = alone();
    let options = Options { ring: 16 << 10, ..Options::default() };
    let Some((mut watch, server)) = watched(options, ALWAYS_ON) else { return };
    let requests = 400;
    send(server.address, 1, requests, |number| get("body", number));
    let mut records = Vec::new();
    watch.drain(&mut records);
    let (ended, full) = (watch.counter(Counter::Ended), watch.counter(Counter::RingFull));
    assert_eq!(records.len() as u64, ended);
    assert_eq!((ended + full, watch.counter(Counter::Started)), (requests as u64, requests as u64));
    assert!(ended > 50 && full > 50, "{ended} {full}");
    assert_eq!(watch.counter(Counter::Wakeups), 3, "at a quarter, at half, at three quarters");
    assert_eq!(watch.open_spans(), 0);
    drop(server.stop());
}

#[test]
fn too_many_requests_at_once() {
    let _alone = alone();
    let options = Options { in_flight: 4, ..Options::default() };
    let Some((mut watch, server)) = watched(options, ALWAYS_ON) else { return };
    let (clients, each) = (16, 20);
    let (records, _) = watch.collect(0, || send(server.address, clients, each, |number| get("slow", number)));
    let (started, full) = (watch.counter(Counter::Started), watch.counter(Counter::InFlightFull));
    assert_eq!(started + full, (clients * each) as u64);
    assert!(full > 0);
    assert!(records.len() as u64 <= started);
    assert_eq!(watch.counter(Counter::Ended), started);
    assert_eq!(watch.counter(Counter::EndWithoutStart), full);
    assert_eq!(watch.open_spans(), 0);
    drop(server.stop());
}

#[test]
fn ends_that_were_missed_and_starts_that_were_missed() {
    let _alone = alone();
    let Some(mut watch) = Watch::load(Options::default()) else { return };
    let (server, facts) = selected(&mut watch, usual_go(), End::FinishRequest, ALWAYS_ON);
    let [start, end, connection_end] = facts.sites[..] else { panic!() };
    let mut client = Client::tcp(server.address);
    watch.attach(&server.binary, server.pid(), &[start]);
    for number in 0..3 {
        client.exchange(&get("body", number)).unwrap();
    }
    assert_eq!(watch.counters(), [(Counter::Started, 3), (Counter::Abandoned, 2)]);
    assert_eq!(watch.open_spans(), 1);
    // A 417 is an end without a start, and proves the open span dead.
    watch.attach(&server.binary, server.pid(), &[end, connection_end]);
    assert_eq!(client.status("/body/4", "Expect: the-unexpected\r\n").unwrap(), 417);
    assert_eq!(
        watch.counters(),
        [(Counter::Started, 3), (Counter::Abandoned, 3), (Counter::EndWithoutStart, 1)]
    );
    assert_eq!(watch.open_spans(), 0);
    drop(server.stop());
}

#[test]
fn processes_that_are_not_selected_and_files_attached_twice() {
    let _alone = alone();
    let Some(mut watch) = Watch::load(Options::default()) else { return };
    let (server, facts) = selected(&mut watch, usual_go(), End::FinishRequest, ALWAYS_ON);
    watch.attach(&server.binary, server.pid(), &facts.sites[..2]);
    let twice: Vec<_> = facts.sites[..2].iter().map(|site| foreign(site, BINARY + 1)).collect();
    watch.attach(&server.binary, server.pid(), &twice);
    let other = Target::start(server.binary.clone());
    let requests = 50;
    let (records, ()) = watch.collect(requests, || {
        send(other.address, 2, requests, |number| get("body", number));
        send(server.address, 1, requests, |number| get("body", number));
    });
    assert_eq!(records.len(), requests);
    let requests = requests as u64;
    let expected = [
        (Counter::Started, requests),
        (Counter::Ended, requests),
        (Counter::ForeignBinary, 2 * requests),
        (Counter::UnselectedProcess, 2 * 2 * 2 * requests),
    ];
    assert_eq!(watch.counters(), expected);
    drop((server.stop(), other.stop()));
}

#[test]
fn the_off_switch() {
    let _alone = alone();
    let Some((mut watch, server)) = watched(Options::default(), ALWAYS_ON) else { return };
    watch.enable(false);
    let (records, _) = watch.collect(0, || send(server.address, 2, 50, |number| get("body", number)));
    thread::sleep(Duration::from_millis(20));
    assert!(records.is_empty());
    assert_eq!(watch.counters(), []);
    drop(server.stop());
}

/// A cookie with another binary's id.
fn foreign(site: &PlacedSite, binary: u32) -> PlacedSite {
    let kind = site.cookie.0 & u64::from(u32::MAX);
    PlacedSite { cookie: Cookie(u64::from(binary) << 32 | kind), ..*site }
}

/// What is not where it should be, how a layout says so, and what is counted of each request then, how often.
type Astray = (&'static str, fn(&mut Layout), &'static [(Counter, u64)]);

const ASTRAY: [Astray; 9] = [
    (
        "no goroutine id",
        |layout| layout.g.goid = NONE,
        &[(Counter::NoGoroutine, 1), (Counter::EndWithoutStart, 1)],
    ),
    (
        "a goroutine id in memory that cannot be read",
        |layout| layout.g.goid = 1 << 60,
        // Asked for at the start and at the end.
        &[(Counter::NoGoroutine, 1), (Counter::EndWithoutStart, 1), (Counter::ReadFault, 2)],
    ),
    (
        "no stack",
        |layout| layout.g.stack_hi = NONE,
        &[(Counter::NoGoroutine, 1), (Counter::EndWithoutStart, 1)],
    ),
    (
        "a goroutine larger than what is read",
        |layout| layout.g.size = SMALL_STRUCT as u64 + 8,
        &[(Counter::NoGoroutine, 1), (Counter::EndWithoutStart, 1)],
    ),
    (
        "a request larger than what is read",
        |layout| layout.request.size = LARGE_STRUCT as u64 + 8,
        &[(Counter::NoRequest, 1), (Counter::EndWithoutStart, 1)],
    ),
    (
        "a method that is no part of the request line",
        |layout| layout.request.method = layout.request.host,
        &[(Counter::Started, 1), (Counter::Ended, 1), (Counter::Unexpected, 1)],
    ),
    // Addresses that no process may read.
    (
        "a route in memory that cannot be read",
        |layout| layout.request.pattern = 1 << 60,
        &[(Counter::Started, 1), (Counter::Ended, 1), (Counter::ReadFault, 1)],
    ),
    (
        "a response that is larger than what is read",
        |layout| layout.response.size = SMALL_STRUCT as u64 + 8,
        &[(Counter::Started, 1), (Counter::Ended, 1), (Counter::ReadFault, 1)],
    ),
    (
        "a header map of which nothing can be read",
        |layout| layout.header.groups = NONE,
        &[(Counter::Started, 1), (Counter::Ended, 1), (Counter::ReadFault, 1)],
    ),
];

#[test]
fn what_is_not_where_it_should_be_is_counted() {
    let _alone = alone();
    let Some(mut watch) = Watch::load(Options::default()) else { return };
    let (server, facts) = selected(&mut watch, usual_go(), End::FinishRequest, ALWAYS_ON);
    watch.attach(&server.binary, server.pid(), &facts.sites[..2]);
    let requests = 5;
    for (slot, (what, change, counters)) in (2..).zip(ASTRAY) {
        let mut layout = facts.layout;
        change(&mut layout);
        watch.add_layout(BINARY, &layout);
        let process = Process { binary: BINARY, layout: BINARY, sampler: ALWAYS_ON, ..Process::default() };
        watch.select_as(slot, server.pid(), process);
        send(server.address, 1, requests, |number| get("body", number));
        let expected: Vec<_> =
            counters.iter().map(|(counter, each)| (*counter, each * requests as u64)).collect();
        assert_eq!(watch.counters(), expected, "{what}");
        assert_eq!(watch.open_spans(), 0, "{what}");
        // What cannot be read is tried once more, where programs may wait for pages.
        let faults = if what.contains("in memory") { watch.counter(Counter::ReadFault) } else { 0 };
        assert_eq!(watch.counter(Counter::PageWaits), faults, "{what}");
    }
    drop(server.stop());
}

/// A function that calls itself a hundred times, with a probe on the branch that its stack check ends with.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_stack_check_that_fails_is_counted_beside_the_calls() {
    let _alone = alone();
    let Some(mut watch) = Watch::load(Options::default()) else { return };
    let (server, _) = selected(&mut watch, usual_go(), End::FinishRequest, ALWAYS_ON);
    // What is no growth is counted as a hit of an unknown kind.
    let cookie = Cookie(u64::from(BINARY) << 32 | 0xff).if_not_taken();
    watch.attach(&server.binary, server.pid(), &[stack_check(&server.binary, "main.deeper", cookie)]);
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let before = watch.runs().0;
    let mut client = Client::tcp(server.address);
    let _ = client.exchange(b"GET /late-panic/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(server.stop());
    let (calls, growths) = (watch.counter(Counter::UnknownSite), watch.counter(Counter::StackChecksFailed));
    assert_eq!(calls, 101);
    // Each doubles the stack, which has 2 KiB at least and takes 101 frames of 4 KiB and more.
    assert!((1..=9).contains(&growths), "{growths}");
    assert_eq!(watch.runs().0 - before, calls + growths);
}

#[test]
fn a_site_of_a_kind_that_nobody_knows_is_counted() {
    let _alone = alone();
    let Some(mut watch) = Watch::load(Options::default()) else { return };
    let (server, facts) = selected(&mut watch, usual_go(), End::FinishRequest, ALWAYS_ON);
    let unknown = PlacedSite { cookie: Cookie(u64::from(BINARY) << 32 | 0xff), ..facts.sites[0] };
    watch.attach(&server.binary, server.pid(), &[unknown]);
    send(server.address, 1, 5, |number| get("body", number));
    assert_eq!(watch.counters(), [(Counter::UnknownSite, 5)]);
    drop(server.stop());
}
