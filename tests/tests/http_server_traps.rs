//! What a request costs in traps, by the kernel's own statistics. A test program of its own: nothing else may send
//! requests to the watched server meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "http_server/scene.rs"]
mod scene;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use lightfoot_tests::go::Mode;
use lightfoot_tests::live::{Agent, wait_for};

use scene::Scene;

const CLIENTS: u64 = 8;
const EACH: u64 = 100;

/// Two for each request, one for each connection that ends, and not one more.
#[test]
fn a_request_takes_two_traps() {
    for (minor, mode) in [
        (21, Mode::Plain),
        (24, Mode::Plain),
        (26, Mode::Plain),
        (27, Mode::Plain),
        (26, Mode::ProfileGuided),
    ] {
        let Some(scene) = Scene::set(minor, mode) else { return };
        let runs = runs_of(&scene, |scene| {
            thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    let mut client = scene.client();
                    scope.spawn(move || {
                        for number in 0..EACH {
                            client.get(&format!("/plain/{number}?size=10"), "").unwrap().unwrap();
                        }
                        assert_eq!(client.connections, 1);
                    });
                }
            });
        });
        assert_eq!(runs, 2 * CLIENTS * EACH + CLIENTS, "{}", scene.build);
        let (truth, outcome) = scene.end();
        assert_eq!((truth.len() as u64, outcome.spans.len() as u64), (CLIENTS * EACH, CLIENTS * EACH));
    }
}

/// Where the end of the connection is the end of the request.
#[test]
fn a_request_that_ends_with_its_connection_takes_two_traps() {
    for target in ["/panic/1", "/abort/1", "/exit/1", "/hijack/1"] {
        let Some(scene) = Scene::set(26, Mode::Plain) else { return };
        let runs = runs_of(&scene, |scene| {
            for _ in 0..EACH {
                let _ = scene.client().get(target, "").unwrap();
            }
        });
        assert_eq!(runs, 2 * EACH, "{target}");
        assert_eq!(scene.end().1.spans.len() as u64, EACH);
    }
}

/// net/http ends what it never handed to a handler: an end without a start.
#[test]
fn a_request_refused_for_its_expectation_takes_one_trap_and_its_connection_one() {
    let Some(scene) = Scene::set(26, Mode::Plain) else { return };
    let runs = runs_of(&scene, |scene| {
        assert_eq!(scene.client().status("/plain/1", "Expect: miracles\r\n").unwrap(), 417);
    });
    assert_eq!(runs, 2);
    let (truth, outcome) = scene.end();
    assert_eq!((truth.len(), outcome.spans.len()), (0, 0));
    assert_eq!(outcome.count("end_without_start"), 1, "{}", outcome.messages);
}

/// How often the agent's program ran for what `work` does.
fn runs_of(scene: &Scene, work: impl FnOnce(&Scene)) -> u64 {
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let before = settled(&scene.agent);
    work(scene);
    settled(&scene.agent) - before
}

/// The agent's run count once it does not change any more: a server notices a moment later that a connection has ended.
fn settled(agent: &Agent) -> u64 {
    let mut last = (run_count(agent), Instant::now());
    wait_for("its last run", || {
        let now = run_count(agent);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(300)).then_some(now)
    })
    .unwrap()
}

/// The run count of the one program that this agent has loaded; others may run on this machine.
fn run_count(agent: &Agent) -> u64 {
    let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", agent.pid())).unwrap();
    let mut ids: Vec<u32> = descriptors
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok()))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mine = |program: &aya::programs::ProgramInfo| {
        ids.contains(&program.id()) && program.name_as_str().is_some_and(|name| name.starts_with("on_site"))
    };
    let counts: Vec<_> =
        loaded_programs().filter_map(Result::ok).filter(mine).map(|info| info.run_count()).collect();
    assert_eq!(counts.len(), 1, "programs {ids:?}");
    counts.iter().sum()
}
