//! HTTP/2 that begins as HTTP/1.

use lightfoot_probes_abi::Counter;
use lightfoot_tests::live::http2::{Batch, Request};
use lightfoot_tests::probes::HttpSpan;

use crate::compare::assert_equal;
use crate::{Scene, VERSIONS, alone, traceparent};

/// The first request comes over HTTP/1.1 and is answered over HTTP/2: one span, which has what both know.
#[test]
fn an_upgraded_request_has_one_span() {
    let _alone = alone();
    for version in VERSIONS {
        let Some(mut scene) = Scene::usual(version.minor) else { return };
        let request = |number: usize| {
            let request = Request::get(&format!("/plain/{number}?size=5")).with("user-agent", "x");
            if number.is_multiple_of(2) { request.with("traceparent", &traceparent(number)) } else { request }
        };
        let mut records = Vec::new();
        for connection in 0..4 {
            let requests = (3 * connection..3 * connection + 3).map(request).collect();
            let batch = Batch { server: "h2c", upgrade: true, at_once: 1, requests };
            records.extend(scene.send_batch(3, &batch));
        }
        let truth = scene.program.stop().unwrap();
        assert_eq!(truth.len(), 12);
        let is_known = |_: &_| version.minor >= 22 && scene.facts.has_x_net;
        assert!(assert_equal(&records, &truth, is_known).is_empty());
        let expected = [(Counter::Started, 12), (Counter::Ended, 12)];
        let mut counters = scene.watch.counters();
        counters.retain(|(counter, _)| *counter != Counter::WithoutRoute);
        assert_eq!(counters, expected, "{version}");
        assert_eq!(scene.watch.open_spans(), 0);
    }
}

/// HTTP/1 takes the preface of HTTP/2 for a request, and where HTTP/2 is not served it is answered like one.
#[test]
fn the_preface_is_no_request() {
    let _alone = alone();
    for minor in [21, 26, 27] {
        let Some(mut scene) = Scene::usual(minor) else { return };
        let records = scene.send("h2c", 1, vec![Request::get("/plain/1")]);
        let targets: Vec<_> =
            records.iter().map(|record| HttpSpan::parse(record).target().to_owned()).collect();
        assert_eq!(targets, ["/plain/1"]);
        let batch =
            Batch { server: "http1", upgrade: false, at_once: 1, requests: vec![Request::get("/plain/2")] };
        assert!(scene.send_batch(0, &batch).is_empty());
        let mut counters = scene.watch.counters();
        counters.retain(|(counter, _)| *counter != Counter::WithoutRoute);
        let expected = [(Counter::Started, 1), (Counter::Ended, 1), (Counter::EndWithoutStart, 1)];
        assert_eq!(counters, expected);
        let truth = scene.program.stop().unwrap();
        let methods: Vec<_> = truth.iter().map(|truth| truth.method.as_str()).collect();
        assert_eq!(methods, ["GET", "PRI"]);
    }
}
