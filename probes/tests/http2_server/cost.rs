//! What a request costs: traps and reads of user memory.

use aya::sys::{Stats, enable_stats};
use lightfoot_probes_abi::Counter;
use lightfoot_tests::go::Mode;
use lightfoot_tests::live::assert_settles;
use lightfoot_tests::live::http2::Request;

use crate::watch::Options;
use crate::{ALWAYS_ON, Scene, VERSIONS, alone, traceparent};

/// The fixed request of the measurements: 8 headers and a `traceparent`, as for HTTP/1.
fn fixed(number: usize) -> Request {
    Request::get(&format!("/plain/{number}?size=10"))
        .with("User-Agent", "a-usual-client/1.0 (linux)")
        .with("Accept", "text/html,application/json")
        .with("Accept-Language", "en")
        .with("Cookie", "session=0123456789")
        .with("X-Request-Id", &number.to_string())
        .with("X-One", "1")
        .with("X-Two", "2")
        .with("traceparent", &traceparent(number))
}

/// Two traps a request, no matter how many a connection serves, one when it closes, and one for the preface that
/// `h2c.NewHandler` is called with. A third where a request passes two starts: with `http2.ConfigureServer`, and since Go 1.27
/// in programs that serve connections with golang.org/x/net, which leaves that to net/http, all but these.
#[test]
fn two_traps_a_request() {
    let _alone = alone();
    for minor in [21, 26, 27] {
        let Some(mut scene) = Scene::usual(minor) else { return };
        let _statistics = enable_stats(Stats::RunTime).unwrap();
        let requests: u64 = 1000;
        let servers: Vec<_> = scene.servers().collect();
        for server in servers {
            let (before, _) = scene.watch.runs();
            let records = scene.send(server, 50, (0..1000).map(fixed).collect());
            assert_eq!(records.len() as u64, requests);
            let expected = match server {
                "h2c" => 2 * requests + 2,
                "bundled" | "unencrypted" if scene.facts.has_x_net => 2 * requests + 1,
                _ => 3 * requests + 1,
            };
            println!("Go 1.{minor}, {server}");
            // A server notices the end of a connection a moment later.
            assert_settles(&expected, || scene.watch.runs().0 - before);
        }
    }
}

/// Each read has its price, and on large machines a high one. These are three more than for HTTP/1: the type of the
/// `ResponseWriter` (not for golang.org/x/net), method and target apart, what is behind `rws`, and whether there is a panic;
/// but not the peer at the end. A bucket of a classic map overflows now and then.
#[test]
fn reads_of_user_memory() {
    let _alone = alone();
    for version in VERSIONS {
        let options = Options { count_reads: true, ..Options::default() };
        let Some(mut scene) = Scene::set(options, version.minor, Mode::Plain, ALWAYS_ON) else { return };
        for server in ["bundled", "h2c"] {
            let requests = 200;
            let before = scene.watch.counter(Counter::UserReads);
            let records = scene.send(server, 1, (0..requests).map(fixed).collect());
            assert_eq!(records.len(), requests);
            let reads = scene.watch.counter(Counter::UserReads) - before;
            let expected = match (server, version.minor) {
                ("bundled", 21) => 20,
                ("bundled", 22) => 23,
                ("bundled", 23) => 22,
                ("bundled", 27) => 26, // two starts, and whether the request is still there
                ("bundled", _) => 24,
                (_, 21) => 19,
                (_, 22) => 22,
                (_, 23 | 27) => 21,
                _ => 23,
            } * requests as u64;
            assert!((expected..expected + 40).contains(&reads), "{version}, {server}: {reads} reads");
        }
    }
}
