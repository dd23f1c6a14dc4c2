//! What a request costs in traps, by the kernel's own statistics. A test program of its own: nothing else may send
//! requests to the watched server meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "common/runs.rs"]
mod runs;

use std::thread;
use std::time::Duration;

use lightfoot::watch::ROUTE_TRIAL;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Mode, matrix};
use lightfoot_tests::live::Scene;

const CLIENTS: u64 = 8;
const EACH: u64 = 100;

/// Two for each request, one for each connection that ends, and not one more.
#[test]
fn a_request_takes_two_traps() {
    for &(minor, mode) in Extent::of_environment().some_of(&matrix::SERVERS) {
        let Some(scene) = Scene::set(minor, mode).unwrap() else { return };
        // What has no route because it is an error is no reason for a third.
        for path in ["/plain/", "/nested/leaf/", "/nowhere/"] {
            assert_takes(&scene, path, 2 * CLIENTS * EACH + CLIENTS, 0);
        }
        let (_, outcome) = scene.end().unwrap();
        assert_eq!(outcome.spans.len() as u64, 3 * CLIENTS * EACH);
        assert_eq!(outcome.counts.get("route_site"), None, "{}", outcome.messages);
    }
}

#[test]
fn every_way_to_place_probes_takes_the_same_traps() {
    for method in ["uprobe-multi", "perf-event", "perf-event-by-address", "tracefs", "tracefs-by-address"] {
        let Some(scene) = Scene::set_with(26, Mode::Plain, &["--attach-method", method]).unwrap() else {
            return;
        };
        let runs = runs_of(&scene, |scene| send(scene, "/plain/"));
        assert_eq!(runs, 2 * CLIENTS * EACH + CLIENTS, "{method}");
        assert_eq!(scene.end().unwrap().1.spans.len() as u64, CLIENTS * EACH, "{method}");
    }
}

/// Where the routes of copied requests are found, each `ServeMux` that a request passes takes one trap more.
#[test]
fn a_program_that_copies_requests_takes_one_trap_more_for_each_mux_passed() {
    let builds = [(22, Mode::Plain), (26, Mode::Plain), (27, Mode::Plain), (26, Mode::ProfileGuided)];
    for &(minor, mode) in Extent::of_environment().some_of(&builds) {
        let Some(scene) = Scene::set(minor, mode).unwrap() else { return };
        scene.learn_copied_routes().unwrap();
        for (path, muxes) in [("/copied/", 1), ("/plain/", 1), ("/prefix/leaf/", 2)] {
            assert_takes(&scene, path, 2 * CLIENTS * EACH + CLIENTS, muxes * CLIENTS * EACH);
        }
        let (_, outcome) = scene.end().unwrap();
        assert!(outcome.messages.contains("watching routes of copied requests"), "{}", outcome.messages);
        assert!(outcome.counts["route_of_copy"] > CLIENTS * EACH, "{}", outcome.messages);
    }
}

#[test]
fn the_third_trap_can_be_switched_off() {
    let Some(scene) = Scene::set_with(26, Mode::Plain, &["--no-copied-routes"]).unwrap() else { return };
    send(&scene, "/copied/");
    // In this time the probe would be placed.
    thread::sleep(Duration::from_secs(3));
    let runs = runs_of(&scene, |scene| send(scene, "/copied/"));
    assert_eq!(runs, 2 * CLIENTS * EACH + CLIENTS);
    let (_, outcome) = scene.end().unwrap();
    assert_eq!(outcome.spans.len() as u64, 2 * CLIENTS * EACH);
    assert!(outcome.spans.iter().all(|span| !span.attributes.contains_key("http.route")));
    assert_eq!(outcome.counts.get("without_route"), Some(&(2 * CLIENTS * EACH)));
}

/// A request that is answered before any `ServeMux` has no route, and no probe would find one.
#[test]
fn a_third_trap_that_brings_no_route_goes_again_and_does_not_come_back_soon() {
    let Some(scene) = Scene::set(26, Mode::Plain).unwrap() else { return };
    let mut client = scene.client();
    let mut options = || {
        let answer = client.exchange(b"OPTIONS * HTTP/1.1\r\nHost: host.test\r\n\r\n").unwrap().unwrap();
        assert_eq!(answer.status, 200);
    };
    let traps = |scene: &Scene| (runs_of(scene, |scene| send(scene, "/plain/")) - CLIENTS) / (CLIENTS * EACH);
    assert_eq!(traps(&scene), 2);
    options();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(traps(&scene), 3);
    send(&scene, "/plain/");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(traps(&scene), 2);
    options();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(traps(&scene), 2);
    let (_, outcome) = scene.end().unwrap();
    let hits = outcome.counts["route_site"];
    // It goes at the first look after a whole trial: behind these requests, or in their midst.
    assert!((ROUTE_TRIAL..=2 * CLIENTS * EACH).contains(&hits), "{hits}: {}", outcome.messages);
    assert_eq!(outcome.counts.get("route_of_copy"), None);
    assert!(!outcome.messages.contains("watching routes of copied requests"), "{}", outcome.messages);
}

/// Where the end of the connection is the end of the request.
#[test]
fn a_request_that_ends_with_its_connection_takes_two_traps() {
    for target in ["/panic/1", "/abort/1", "/exit/1", "/hijack/1"] {
        let Some(scene) = Scene::set(26, Mode::Plain).unwrap() else { return };
        let runs = runs_of(&scene, |scene| {
            for _ in 0..EACH {
                let _ = scene.client().get(target, "").unwrap();
            }
        });
        assert_eq!(runs, 2 * EACH, "{target}");
        assert_eq!(scene.end().unwrap().1.spans.len() as u64, EACH);
    }
}

/// net/http ends what it never handed to a handler: an end without a start.
#[test]
fn a_request_refused_for_its_expectation_takes_one_trap_and_its_connection_one() {
    let Some(scene) = Scene::set(26, Mode::Plain).unwrap() else { return };
    let runs = runs_of(&scene, |scene| {
        assert_eq!(scene.client().status("/plain/1", "Expect: miracles\r\n").unwrap(), 417);
    });
    assert_eq!(runs, 2);
    let (truth, outcome) = scene.end().unwrap();
    assert_eq!((truth.len(), outcome.spans.len()), (0, 0));
    assert_eq!(outcome.count("end_without_start"), 1, "{}", outcome.messages);
}

/// Sends to a path, and fails unless that takes so many traps, and so many more for routes. On arm64 routes are read before an
/// instruction that Go may run twice.
fn assert_takes(scene: &Scene, path: &str, wanted: u64, routes: u64) {
    let count = || scene.agent.counts().unwrap().get("route_site").copied().unwrap_or(0);
    let before = count();
    let runs = runs_of(scene, |scene| send(scene, path));
    let read = count() - before;
    println!("{path} {}: {read} routes were read", scene.build);
    assert_eq!(runs, wanted + read, "{path} {}", scene.build);
    if cfg!(target_arch = "aarch64") {
        // Where one is preempted in that moment. A site that always ran twice would be another thing.
        assert!((routes..=routes + routes / 20).contains(&read), "{read} {path} {}", scene.build);
    } else {
        assert_eq!(read, routes, "{path} {}", scene.build);
    }
}

/// So many requests by each of the clients, over one connection each.
fn send(scene: &Scene, path: &str) {
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut client = scene.client();
            scope.spawn(move || {
                for number in 0..EACH {
                    client.get(&format!("{path}{number}?size=10"), "").unwrap().unwrap();
                }
                assert_eq!(client.connections, 1);
            });
        }
    });
}

/// How often the agent's program ran for what `work` does.
fn runs_of(scene: &Scene, work: impl FnOnce(&Scene)) -> u64 {
    runs::runs_of(&scene.agent, || work(scene))
}
