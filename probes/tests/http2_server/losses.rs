//! What is not recorded, and every loss, is counted.

use lightfoot_probes_abi::layout::Http2;
use lightfoot_probes_abi::{Counter, Layout, Process, Sampler, SiteKind, Text};
use lightfoot_tests::go::Mode;
use lightfoot_tests::live::assert_settles;
use lightfoot_tests::live::http2::{Batch, Request};
use lightfoot_tests::probes::HttpSpan;

use crate::watch::Options;
use crate::{ALWAYS_ON, BINARY, Scene, alone, traceparent};

fn plain(requests: usize) -> Vec<Request> {
    (0..requests).map(|number| Request::get(&format!("/plain/{number}?size=5"))).collect()
}

/// Twenty requests of which nobody expects a record: what comes all the same shows in the counters.
fn send_in_vain(scene: &mut Scene, server: &'static str) -> Vec<Vec<u8>> {
    scene.send_batch(0, &Batch { server, upgrade: false, at_once: 10, requests: plain(20) })
}

#[test]
fn what_the_sampler_decides_against() {
    let _alone = alone();
    let Some(mut scene) = Scene::set(Options::default(), 26, Mode::Plain, Sampler::default()) else { return };
    for server in ["bundled", "configured", "h2c"] {
        assert!(send_in_vain(&mut scene, server).is_empty());
    }
    let batch = Batch { server: "h2c", upgrade: true, at_once: 1, requests: plain(2) };
    assert!(scene.send_batch(0, &batch).is_empty());
    assert_settles(&vec![(Counter::Started, 62), (Counter::Unsampled, 62)], || scene.watch.counters());
    assert_eq!(scene.watch.open_spans(), 0);
}

/// The parent's decision holds for a request that goes on over HTTP/2, too.
#[test]
fn an_upgraded_request_of_an_unsampled_parent() {
    let _alone = alone();
    let Some(mut scene) = Scene::usual(26) else { return };
    let parent = traceparent(1).replace("-01", "-00");
    let requests = vec![Request::get("/plain/1").with("traceparent", &parent)];
    let batch = Batch { server: "h2c", upgrade: true, at_once: 1, requests };
    assert!(scene.send_batch(0, &batch).is_empty());
    assert_settles(&vec![(Counter::Started, 1), (Counter::Unsampled, 1)], || scene.watch.counters());
}

/// Without the end of HTTP/2 requests none is opened.
#[test]
fn a_server_whose_end_is_not_known() {
    let _alone = alone();
    let Some(mut scene) = Scene::usual(26) else { return };
    let known = scene.facts.layout;
    scene.watch.add_layout(BINARY + 1, &Layout { http2: Http2::UNKNOWN, ..known });
    let process = Process { binary: BINARY, layout: BINARY + 1, sampler: ALWAYS_ON, ..Process::default() };
    scene.watch.select(scene.program.pid(), process);
    assert!(send_in_vain(&mut scene, "bundled").is_empty());
    assert_settles(&vec![(Counter::EndWithoutStart, 20), (Counter::UnknownProtocol, 20)], || {
        scene.watch.counters()
    });
    assert_eq!(scene.watch.open_spans(), 0);
}

/// The server of golang.org/x/net answers it with a handler of its own.
#[test]
fn a_request_with_larger_headers_than_are_allowed() {
    let _alone = alone();
    let Some(mut scene) = Scene::usual(26) else { return };
    let large = (0..11).fold(Request::get("/plain/2"), |request, number| {
        request.with(&format!("X-{number}"), &"x".repeat(100_000))
    });
    let requests = vec![Request::get("/plain/1"), large];
    let records = scene.send_batch(2, &Batch { server: "h2c", upgrade: true, at_once: 1, requests });
    let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
    assert_eq!(spans.iter().map(|span| span.fixed.status).collect::<Vec<_>>(), [0, 431]);
    assert_eq!((spans[1].target(), spans[1].text(Text::Route)), ("/plain/2", ""));
    assert_eq!(scene.program.stop().unwrap().len(), 1, "no handler of the program got it");
}

/// A goroutine that serves HTTP/2 serves one request, so what is missed at its end stays, and its goroutine's id never
/// comes again.
#[test]
fn ends_that_are_missed() {
    let _alone = alone();
    let Some(mut scene) = Scene::without(26, SiteKind::Http2ServerEnd) else { return };
    assert!(send_in_vain(&mut scene, "bundled").is_empty());
    assert_settles(&vec![(Counter::Started, 20)], || scene.watch.counters());
    assert_eq!(scene.watch.open_spans(), 20);
}
