//! The time that is watched ends under load: the agent is told to end, or the server is.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, SystemTime};

use lightfoot_tests::live::{Truth as Request, boot_time, is_privileged, slowness, wait_for, wall_offset};
use rustix::process::Signal;

use crate::balance::Truth;
use crate::endpoint::Endpoint;
use crate::load::{CLIENTS, Group, Load, client_of, numbers};
use crate::scene::{Output, Scene, printed};

/// Requests that are open when the time ends, by intention.
const HELD: u64 = 5;
/// By how much the times of a span and of a handler may be off, in nanoseconds, besides what a comparison of the clocks
/// says of itself: `http_server/load.rs`.
const CLOCK: u64 = 10_000;
/// How often each is tried: what is under way at the end is never the same.
const TIMES: usize = 5;

/// All of a group but one, that have begun; and then load.
fn busy(scene: &Scene) -> (Group, Load) {
    let held = Group::hold(scene.server.address, 0, HELD + 1);
    wait_for("the held ones", || (*scene.agent.counts().ok()?.get("started")? >= HELD).then_some(()))
        .unwrap();
    let load = Load::start(scene.server.address, 0, 1 << 32, |number| format!("/plain/{number}?wait=1"));
    thread::sleep(Duration::from_millis(300));
    (held, load)
}

#[test]
fn the_agent_ends_under_load() {
    if !is_privileged("the agent ends under load") {
        return;
    }
    for arguments in [&[][..], &["--attach-method", "perf-event"]] {
        for _ in 0..TIMES {
            let scene = Scene::set(Output::Printed, arguments, &[]);
            let (held, load) = busy(&scene);
            let told = boot_time();
            scene.agent.signal(Signal::TERM);
            let outcome = scene.agent.wait().unwrap();
            let (offset, uncertainty) = wall_offset();
            thread::sleep(Duration::from_millis(20));
            load.stop();
            let after = held.numbers()[0];
            held.release();
            let mut requests = scene.server.stop().unwrap();
            requests.retain(|request| request.number != after);
            // It watched until it was told at least, and until the last span began. What began later may be open, or may
            // not have been seen.
            let last = outcome.spans.iter().map(|span| span.start).max().unwrap() - offset;
            let watched = told.max(last - CLOCK - uncertainty);
            let delivered = printed(&outcome.spans);
            let truth = begun_by(watched, &requests, &delivered);
            truth.assert_balanced("the agent ends", &delivered, &outcome, &["spans_open_at_end"]);
            assert!(outcome.count("spans_open_at_end") <= HELD + CLIENTS, "{}", outcome.messages);
            // A client asks again when it has its answer, and it has that when the span has ended.
            let went_on = |number: &&u64| truth.certain.contains(&(*number + CLIENTS));
            let astray: Vec<_> =
                truth.certain.iter().filter(went_on).filter(|n| !delivered.contains(n)).collect();
            assert!(astray.is_empty(), "they had ended: {astray:?}");
        }
    }
}

/// A flush of one second, with fivefold slack.
const FLUSHED: Duration = Duration::from_secs(5);
/// The same with taking probes away, for which a busy machine may take ten seconds and more.
const ENDED: Duration = Duration::from_secs(40);

#[test]
fn the_agent_ends_under_load_in_time_though_its_endpoint_says_nothing() {
    if !is_privileged("the agent ends in time") {
        return;
    }
    for _ in 0..TIMES {
        let variables = [("OTEL_BSP_MAX_QUEUE_SIZE", "64"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")];
        let output = Output::Sent(Endpoint::start(|_| None::<&str>), |_| true);
        let scene = Scene::set(output, &["--flush-timeout", "1", "--log-level", "debug"], &variables);
        let (held, load) = busy(&scene);
        scene.agent.counts_to("spans_lost_queue_full", 1).unwrap();
        let told = boot_time();
        scene.agent.signal(Signal::TERM);
        let outcome = scene.agent.wait().unwrap();
        let (ended, now) = (boot_time(), SystemTime::now());
        load.stop();
        let after = held.numbers()[0];
        held.release();
        assert!(outcome.status.success(), "{}", outcome.messages);
        // How long the kernel takes to take probes away from a busy machine is not the agent's to say.
        let left = outcome.messages.lines().find(|line| line.contains(" no longer watching")).unwrap();
        let left = humantime::parse_rfc3339(left.split_once(' ').unwrap().0).unwrap();
        let took = now.duration_since(left).unwrap();
        assert!(took < FLUSHED * slowness(), "{took:?}: {}", outcome.messages);
        let in_all = Duration::from_nanos(ended - told);
        assert!(in_all < ENDED * slowness(), "{in_all:?}: {}", outcome.messages);
        let requests = scene.server.stop().unwrap();
        let begun_between = |from: u64, to: u64| {
            let begun = requests.iter().filter(|request| request.number != after);
            begun
                .filter(|request| (from..to).contains(&request.start))
                .map(|request| request.number)
                .collect()
        };
        let truth = Truth { certain: begun_between(0, told), possible: begun_between(told, ended) };
        let causes = ["spans_open_at_end", "spans_lost_queue_full", "spans_lost_unfinished"];
        truth.assert_balanced("the agent ends in time", &[], &outcome, &causes);
    }
}

/// Those that had begun at that time or have a span; of each client the next may have begun.
fn begun_by(time: u64, requests: &[Request], delivered: &[u64]) -> Truth {
    let mut truth = Truth::default();
    let all = numbers(requests);
    truth.certain.extend(delivered.iter().filter(|number| all.contains(number)));
    truth
        .certain
        .extend(requests.iter().filter(|request| request.start <= time).map(|request| request.number));
    let mut next = BTreeMap::new();
    for number in all.difference(&truth.certain) {
        next.entry(client_of(*number)).or_insert(*number);
    }
    truth.possible.extend(next.into_values());
    truth
}

#[test]
fn the_server_ends_under_load() {
    if !is_privileged("the server ends under load") {
        return;
    }
    for _ in 0..TIMES {
        let scene = Scene::set(Output::Printed, &[], &[]);
        let (held, load) = busy(&scene);
        let requests = scene.server.stop().unwrap();
        let sent = load.join();
        scene.agent.counts_to("spans_open_at_end", HELD).unwrap();
        let outcome = scene.agent.stop().unwrap();
        let delivered = printed(&outcome.spans);
        // Whose handlers had returned, who is known to have begun, and who had the answer.
        let mut certain = numbers(&requests);
        certain.extend(held.numbers().into_iter().skip(1));
        assert!(sent.answered.iter().all(|number| delivered.contains(number)), "an answer without a span");
        let possible = sent.unanswered.difference(&certain).copied().collect();
        let truth = Truth { certain, possible };
        truth.assert_balanced("the server ends", &delivered, &outcome, &["spans_open_at_end"]);
    }
}
