//! A program that is started and killed again and again, as in a crash loop, each time under load.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::{Agent, Client, Folder, Target, text, wait_for};
use rustix::process::Signal;

use crate::balance::Truth;
use crate::causes::plain;
use crate::cost;
use crate::load::Load;
use crate::scene::printed;

/// The numbers of the requests that never end begin here.
const HELD: u64 = 1 << 41;

#[test]
fn a_crash_loop_loses_nothing_in_silence_and_leaves_nothing_behind() {
    let Some(folder) = Folder::for_test("a crash loop") else { return };
    let path = folder.server().unwrap();
    let agent = Agent::start(["--exe", text(&path), "--log-level", "debug"], &[]).unwrap();
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    // And what it has served is printed: the printer is no part of this.
    let is_left = || {
        let counts = agent.counts().ok()?;
        let is_printed = counts.get("spans_printed") == counts.get("spans_pushed");
        (is_printed && agent.messages().ends_with("watches 0 processes now\n")).then_some(())
    };
    let (mut truth, mut taken) = (Truth::default(), Vec::new());
    for round in 0..Extent::of_environment().pick(50, 500) {
        let target = Target::start(&path).unwrap();
        agent.watches(target.pid()).unwrap();
        // It has begun, and is open when the server dies.
        let mut held = Client::tcp(target.address().unwrap());
        assert_eq!(held.begin("/wait").unwrap(), 200);
        truth.certain.insert(HELD + round);
        let load = Load::start(target.address().unwrap(), round << 20, 1 << 16, plain);
        thread::sleep(Duration::from_millis(20));
        target.signal(Signal::KILL);
        let sent = load.join();
        truth.certain.extend(sent.answered);
        truth.possible.extend(sent.unanswered);
        drop(target);
        wait_for("it to be left", is_left).unwrap();
        // For a moment it may have a file of a process open that it looks at.
        let first = taken.first().map_or(usize::MAX, |(files, _)| *files);
        let files =
            wait_for("no more files than at first", || Some(descriptors()).filter(|now| *now <= first));
        taken.push((files.unwrap(), run_by_analyses(agent.pid())));
    }
    // The first one brought an analysis and probes, which serve the others: a second analysis would take as long again.
    let analysed = taken[0].1;
    assert!(taken.iter().all(|(_, run)| *run < analysed / 2 * 3), "{taken:?}");
    let entries = || cost::entries(agent.pid()).unwrap();
    wait_for("the maps to be empty", || entries().is_empty().then_some(())).unwrap();
    let outcome = agent.stop().unwrap();
    truth.assert_balanced("a crash loop", &printed(&outcome.spans), &outcome, &["spans_open_at_end"]);
}

/// The nanoseconds that the thread has run that analyses programs.
fn run_by_analyses(agent: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{agent}/task")).unwrap().map(|entry| entry.unwrap().path());
    let is_it =
        |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == "analyse");
    let stat = fs::read_to_string(threads.into_iter().find(is_it).unwrap().join("schedstat")).unwrap();
    stat.split_once(' ').unwrap().0.parse().unwrap()
}
