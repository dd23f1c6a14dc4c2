//! Every kind of request, over every server, in every supported Go, against the program's own truth.

use lightfoot_probes_abi::{Counter, SiteKind, Text};
use lightfoot_tests::go::Mode;
use lightfoot_tests::live::http2::{Request, Truth};
use lightfoot_tests::probes::HttpSpan;

use crate::compare::assert_equal;
use crate::watch::Options;
use crate::{ALWAYS_ON, Scene, VERSIONS, alone, traceparent};

const KINDS: usize = 22;

#[test]
fn every_kind_of_request_in_every_go() {
    let _alone = alone();
    for version in VERSIONS {
        every_kind_of_request(Options::default(), version.minor, Mode::Plain);
    }
}

/// Types have other addresses in the process than in its file.
#[test]
fn position_independent_programs() {
    let _alone = alone();
    for minor in [21, 26, 27] {
        every_kind_of_request(Options::default(), minor, Mode::Pie);
    }
}

#[test]
fn older_ways_to_attach() {
    let _alone = alone();
    for program in ["on_site", "on_site_by_address"] {
        every_kind_of_request(Options { program, ..Options::default() }, 26, Mode::Plain);
    }
}

/// Where HTTP/1 requests end with the return of `ServeHTTP`, which HTTP/2 requests pass as well.
#[test]
fn an_end_of_http1_is_none_of_http2() {
    let _alone = alone();
    let Some(mut scene) = Scene::without(26, SiteKind::HttpServerEnd) else { return };
    scene.watch.attach(&scene.binary, scene.program.pid(), &[scene.facts.returns]);
    for server in ["bundled", "configured"] {
        let requests = (0..20).map(|number| Request::get(&format!("/plain/{server}/{number}?size=5")));
        assert_eq!(scene.send(server, 5, requests.collect()).len(), 20);
    }
    let truth = scene.program.stop().unwrap();
    assert_eq!(truth.len(), 40);
    assert_eq!(scene.watch.counters(), [(Counter::Started, 40), (Counter::Ended, 40)]);
}

/// Since Go 1.27 nothing keeps a request that its handler makes no more use of, and its memory may be another's before it ends.
#[test]
fn a_request_whose_memory_is_used_again() {
    let _alone = alone();
    let requests = 50;
    for minor in [26, 27] {
        let Some(mut scene) = Scene::set(Options::default(), minor, Mode::Plain, ALWAYS_ON) else { return };
        let records = scene.send(
            "bundled",
            5,
            (0..requests).map(|number| Request::get(&format!("/dropped/{number}"))).collect(),
        );
        let routes: Vec<_> =
            records.iter().map(|record| HttpSpan::parse(record).text(Text::Route).to_owned()).collect();
        let right = routes.iter().filter(|route| *route == "/dropped/").count();
        let none = routes.iter().filter(|route| route.is_empty()).count();
        assert_eq!(right + none, requests, "{routes:?}");
        assert_eq!(none != 0, minor == 27, "{none} have none");
        assert_eq!(scene.watch.counter(Counter::RequestGone), none as u64);
        assert_eq!(scene.watch.counter(Counter::WithoutRoute), none as u64);
    }
}

/// A hundred streams at a time, of all kinds, over one connection to each of the servers.
fn every_kind_of_request(options: Options, minor: u32, mode: Mode) {
    let Some(mut scene) = Scene::set(options, minor, mode, ALWAYS_ON) else { return };
    let mut records = Vec::new();
    let each = 15 * KINDS;
    let servers: Vec<_> = scene.servers().collect();
    for (place, server) in servers.iter().enumerate() {
        records.extend(scene.send(server, 100, (place * each..(place + 1) * each).map(mixed).collect()));
    }
    let Scene { watch, program, facts, .. } = scene;
    let truth = program.stop().unwrap();
    assert_eq!(truth.len(), servers.len() * each);
    for of_server in truth.chunks(each) {
        let peer = &of_server[0].peer;
        assert!(of_server.iter().all(|truth| truth.peer == *peer), "one connection");
    }
    // Where net/http makes the request on behalf of golang.org/x/net, it is not known which.
    let is_known = |truth: &Truth| minor >= 22 && (facts.has_x_net || truth.server != "h2c");
    let gone = assert_equal(&records, &truth, is_known);
    // As in `a_request_whose_memory_is_used_again`, if the garbage was collected at that moment.
    assert_eq!(watch.counter(Counter::RequestGone), gone.len() as u64);
    assert!(gone.is_empty() || minor == 27, "{gone:?}");
    let without = truth.iter().filter(|truth| truth.copied || !is_known(truth)).chain(gone);
    let without = without.filter(|truth| truth.status < 400).count();
    assert_eq!(watch.counter(Counter::WithoutRoute), if minor >= 22 { without as u64 } else { 0 });
    assert_eq!(watch.open_spans(), 0);
    let expected = [(Counter::Started, truth.len() as u64), (Counter::Ended, truth.len() as u64)];
    let mut counters = watch.counters();
    counters.retain(|(counter, _)| !matches!(counter, Counter::WithoutRoute | Counter::RequestGone));
    if options.program != "on_site_multi" {
        // It may not wait for pages, and a new map's last slots may lie on one that was never touched.
        counters.retain(|(counter, _)| *counter != Counter::ReadFault);
    }
    assert_eq!(counters, expected, "Go 1.{minor}: no loss, no fault, no surprise");
}

/// One request of each kind in turn.
fn mixed(number: usize) -> Request {
    const TARGETS: [&str; KINDS] = [
        "/plain/N?size=100",
        "/status/N?status=404",
        "/overwritten/N?size=3",
        "/plain/N",
        "/hints/N",
        "/flush/N?size=7",
        "/users/N",
        "/copied/N?size=1",
        "/panic/N",
        "/panic-late/N",
        "/panic-recovered/N",
        "/abort/N",
        "/exit/N",
        "/left/N?size=5",
        "/unknown/N",
        "/status/N?status=204",
        "/status/N?status=503",
        "/events/N",
        "/trailers/N?size=2",
        "/silent/N",
        "/plain/a%20path%2fN?size=1&a=%zz;b",
        "host-N.test:81",
    ];
    let kind = number % KINDS;
    let mut request = Request::get(&TARGETS[kind].replace('N', &number.to_string()));
    if !number.is_multiple_of(3) {
        request = request.with("traceparent", &traceparent(number));
    }
    if number % 3 == 2 {
        request = request.with("TraceState", &format!("a={number}")).with("Tracestate", "b=2,c=3");
    }
    if !number.is_multiple_of(4) {
        request = request.with("user-agent", &format!("agent/{number}"));
    }
    // From one group or bucket to several.
    for header in 0..number % 41 {
        let name = "h".repeat(1 + header % 12);
        request = request.with(&format!("X-{name}"), "x").with(&format!("Y-Head-{header}"), "y");
    }
    request.host = format!("host-{number}.test");
    if kind == KINDS - 1 {
        "CONNECT".clone_into(&mut request.method);
        request.host.clone_from(&request.target);
    } else if !request.target.starts_with("/users") {
        ["GET", "GET", "POST", "PUT", "BREW", "HEAD"][number % 6].clone_into(&mut request.method);
    }
    request.leave = request.target.starts_with("/left/");
    request
}
