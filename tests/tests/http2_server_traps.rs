//! What an HTTP/2 request costs in traps, by the kernel's own statistics. A test program of its own: nothing else may send
//! requests to the watched server meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "common/runs.rs"]
mod runs;
#[path = "http2_server/scene.rs"]
#[expect(dead_code, reason = "the tests of what spans say use the rest")]
mod scene;

use lightfoot_tests::go::Mode;

use scene::{DOORS, Scene};

const REQUESTS: u64 = 400;
const CONNECTIONS: u64 = 4;

/// Two for each request, three where it passes the starts of both libraries; at most one for each connection that ends,
/// and one for each preface that a handler gets.
#[test]
fn a_request_takes_two_traps() {
    for (program, door, first) in DOORS {
        for minor in [21, 24, 26, 27].into_iter().filter(|minor| *minor >= first) {
            let scene = Scene::set(program, door, minor, Mode::Plain, &["--no-copied-routes"]);
            let Some(mut scene) = scene else { return };
            let build = scene.watched.build;
            let command = format!("load {} {REQUESTS} 5 {CONNECTIONS}", scene.url);
            let Scene { watched, client, .. } = &mut scene;
            let runs = runs::runs_of(&watched.agent, || {
                client.ask(&command).unwrap();
            });
            let least = if door == "configured" { 3 } else { 2 } * REQUESTS;
            let of_connections = if door == "h2c" { 2 * CONNECTIONS } else { CONNECTIONS };
            assert!((least..=least + of_connections).contains(&runs), "{build}, {door}: {runs}");
            let (facts, outcome) = scene.end();
            assert_eq!((facts.requests.len(), outcome.spans.len()), (400, 400), "{}", outcome.messages);
        }
    }
}
