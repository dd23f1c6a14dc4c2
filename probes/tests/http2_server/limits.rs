//! What happens at the documented bounds.

use lightfoot_probes_abi::{Counter, Text, limits};
use lightfoot_tests::live::http2::Request;
use lightfoot_tests::probes::HttpSpan;

use crate::{Scene, alone, traceparent};

#[test]
fn long_strings_are_cut_and_flagged() {
    let _alone = alone();
    for server in ["bundled", "h2c"] {
        let Some(mut scene) = Scene::usual(26) else { return };
        let target = format!("/plain/{}", "p".repeat(8192));
        let fitting = format!("/plain/{}", "f".repeat(limits::REQUEST_LINE - "GET /plain/".len()));
        let with_method = |length: usize, target: &str| {
            let method = "M".repeat(length);
            Request { method, ..Request::get(target) }
        };
        let state = format!("a={}", "s".repeat(limits::TRACESTATE - 2));
        // All at once fit into one record.
        let mut all = Request::get(&fitting)
            .with("User-Agent", &"u".repeat(limits::USER_AGENT))
            .with("traceparent", &traceparent(1))
            .with("tracestate", &state);
        all.host = "h".repeat(limits::HOST);
        let requests = vec![
            Request::get(&target),
            with_method(limits::METHOD, "/plain/kept"),
            with_method(limits::METHOD + 1, "/plain/dropped"),
            Request::get(&fitting),
            Request { host: "h".repeat(limits::HOST + 1), ..Request::get("/plain/host") },
            all,
        ];
        let records = scene.send(server, 1, requests);
        let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
        let [long, kept, dropped, fits, host, all] = &spans[..] else { panic!("{}", spans.len()) };
        let line = 1 << Text::RequestLine as u16;
        assert_eq!(long.text(Text::RequestLine), &format!("GET {target}")[..limits::REQUEST_LINE]);
        assert_eq!((long.method(), long.fixed.header.cut), ("GET", line));
        assert_eq!((kept.method().len(), kept.target(), kept.fixed.header.cut), (256, "/plain/kept", 0));
        assert_eq!((dropped.method(), dropped.target()), (kept.method(), ""));
        assert_eq!(dropped.fixed.header.cut, line);
        assert_eq!((fits.target(), fits.fixed.header.cut), (fitting.as_str(), 0));
        assert_eq!(host.fixed.header.cut, 1 << Text::Host as u16);
        assert_eq!((all.target(), all.text(Text::Tracestate)), (fitting.as_str(), state.as_str()));
        assert_eq!((all.text(Text::Route), all.fixed.header.cut), ("/plain/", 0));
        assert!(spans.iter().all(|span| span.text(Text::Peer).starts_with("127.0.0.1:")));
        assert_eq!(scene.watch.counter(Counter::CutString), 3);
        drop(scene.program.stop().unwrap());
    }
}

#[test]
fn two_hundred_headers() {
    let _alone = alone();
    for minor in [21, 26] {
        let Some(mut scene) = Scene::usual(minor) else { return };
        for server in ["bundled", "h2c"] {
            let requests = (0..20).map(|number| {
                let request = Request::get(&format!("/plain/{server}{number}"));
                let request = request.with("traceparent", &traceparent(number));
                (0..200)
                    .fold(request, |request, header| request.with(&format!("X-Some-Header-{header}"), "x"))
            });
            let records = scene.send(server, 5, requests.collect());
            assert_eq!(records.len(), 20);
            let found =
                records.iter().filter(|record| HttpSpan::parse(record).fixed.header.parent_span_id != 0);
            let (found, bounds) = (found.count() as u64, scene.watch.counter(Counter::HeaderBound));
            // The order in a map is random: the header may lie beyond the bound, and then that is counted.
            println!("Go 1.{minor}, {server}: {found} of 20 found, {bounds} bounds");
            assert!(found + bounds >= 20);
        }
        drop(scene.program.stop().unwrap());
    }
}
