//! Every kind of request, in every supported Go, against the server's own truth.

use lightfoot_probes_abi::Counter;
use lightfoot_tests::go::{GoVersion, VERSIONS};

use crate::compare::{Routes, assert_equal};
use crate::layout::End;
use crate::target::truth;
use crate::watch::{Options, Watch};
use crate::{ALWAYS_ON, alone, selected, send, traceparent, usual_go, watched};

#[test]
fn every_kind_of_request_in_every_go() {
    let _alone = alone();
    for version in VERSIONS {
        every_kind_of_request(Options::default(), version, End::FinishRequest, false);
    }
}

/// Where profile-guided optimisation inlines `finishRequest`.
#[test]
fn the_other_ends_of_a_request() {
    let _alone = alone();
    for end in [End::CallOfHijacked, End::ReturnOfServeHttp] {
        every_kind_of_request(Options::default(), usual_go(), end, false);
    }
}

#[test]
fn the_optional_site_knows_the_routes_of_copied_requests() {
    let _alone = alone();
    for version in VERSIONS.into_iter().filter(|version| version.minor >= 22) {
        every_kind_of_request(Options::default(), version, End::FinishRequest, true);
    }
}

#[test]
fn memory_that_is_read_by_copies_alone() {
    let _alone = alone();
    let options = Options { copy_only: true, ..Options::default() };
    every_kind_of_request(options, usual_go(), End::FinishRequest, false);
}

#[test]
fn older_ways_to_attach() {
    let _alone = alone();
    for program in ["on_site", "on_site_by_address"] {
        let options = Options { program, ..Options::default() };
        every_kind_of_request(options, usual_go(), End::FinishRequest, false);
    }
}

#[test]
fn process_ids_of_a_pid_namespace() {
    let _alone = alone();
    let options = Options { in_pid_namespace: true, ..Options::default() };
    every_kind_of_request(options, usual_go(), End::FinishRequest, false);
}

#[test]
fn encrypted_connections_and_http2() {
    let _alone = alone();
    let Some((mut watch, mut server)) = watched(Options::default(), ALWAYS_ON) else { return };
    let (records, ()) = watch.collect(3, || assert_eq!(server.ask("http1 3"), "done"));
    assert_eq!(server.ask("http2 5"), "done");
    let truth = truth(server);
    assert_equal(&records, &truth[..3], Routes::Originals);
    let expected = [(Counter::Started, 3), (Counter::Ended, 3), (Counter::UnknownProtocol, 5)];
    assert_eq!(watch.counters(), expected);
    assert_eq!(watch.open_spans(), 0);
}

/// Watches all kinds of requests at once and compares all that is sent with the server's truth.
fn every_kind_of_request(options: Options, version: GoVersion, end: End, with_route_site: bool) {
    let Some(mut watch) = Watch::load(options) else { return };
    let (server, facts) = selected(&mut watch, version, end, ALWAYS_ON);
    let mut sites = facts.sites;
    if with_route_site {
        sites.push(facts.route.expect("a site for routes"));
    }
    watch.attach(&server.binary, server.pid(), &sites);
    let (clients, each) = (16, 170);
    let (records, _) = watch.collect(clients * each, || send(server.address, clients, each, mixed));
    let truth = truth(server);
    assert_eq!(truth.len(), clients * each);
    let routes = match version.minor {
        ..22 => Routes::None,
        _ if with_route_site => Routes::All,
        _ => Routes::Originals,
    };
    assert_equal(&records, &truth, routes);
    assert_eq!(watch.open_spans(), 0);
    let mut expected = vec![(Counter::Started, truth.len() as u64), (Counter::Ended, truth.len() as u64)];
    let copied = truth.iter().filter(|truth| truth.copied).count() as u64;
    match routes {
        Routes::None => {}
        Routes::Originals => expected.push((Counter::WithoutRoute, copied)),
        Routes::All => {
            expected.extend([(Counter::RouteSite, truth.len() as u64), (Counter::RouteOfCopy, copied)]);
        }
    }
    let mut counters = watch.counters();
    if options.program != "on_site_multi" {
        // It may not wait for pages, and a new map's last slots may lie on one that was never touched.
        counters.retain(|(counter, _)| *counter != Counter::ReadFault);
    }
    assert_eq!(counters, expected, "{version}: no loss, no fault, no surprise");
}

/// One request of each kind in turn.
fn mixed(number: usize) -> Vec<u8> {
    const PATHS: [&str; 17] = [
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
    ];
    let path = PATHS[number % PATHS.len()].replace('N', &number.to_string());
    let mut headers = String::new();
    if !number.is_multiple_of(3) {
        headers += &format!("traceparent: {}\r\n", traceparent(number));
    }
    if number % 3 == 2 {
        headers += &format!("TraceState: a={number}\r\nTracestate: b=2,c=3\r\n");
    }
    if !number.is_multiple_of(4) {
        headers += &format!("user-agent: agent/{number}\r\n");
    }
    // From one group or bucket to several.
    for header in 0..number % 41 {
        headers += &format!("X-{}: {header}\r\nY-Head-{header}: {header}\r\n", "h".repeat(1 + header % 12));
    }
    let method = ["GET", "GET", "POST", "PUT", "BREW", "HEAD"][number % 6];
    let method = if path.starts_with("/users") { "GET" } else { method };
    format!("{method} {path} HTTP/1.1\r\nHost: host-{number}.test\r\nContent-Length: 0\r\n{headers}\r\n")
        .into_bytes()
}
