//! Processes that there is no room for at first: they are told of once, and watched when there is room.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lightfoot::attach::{MAX_BINARIES, RESERVED_FILES};
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{
    Agent, Folder, Target, is_privileged, lightfoot, slowness, wait_for, wait_within, watching,
};

/// Each in a file of its own.
fn servers(folder: &Folder, count: usize) -> Vec<Target> {
    let start =
        |number| Target::start(&folder.copy_of(Program::Lifecycle, &format!("server-{number}")).unwrap());
    (0..count).map(|number| start(number).unwrap()).collect()
}

/// An agent that may open so many files, and as many more as `most` says if it asks for them.
fn with_files(files: usize, most: usize, arguments: &[&str]) -> Agent {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--nofile={files}:{most}"))
        .arg(lightfoot())
        .args(["run", "--format", "otlp-json"])
        .args(arguments);
    Agent::spawn(command, &[]).unwrap()
}

fn is_watched(agent: &Agent, target: &Target) -> bool {
    agent.messages().contains(&watching(target.pid()))
}

#[test]
fn a_process_beyond_the_limit_is_watched_when_another_ends() {
    for method in ["uprobe-multi", "perf-event-by-address"] {
        let Some(folder) = Folder::for_test("a process beyond the limit") else { return };
        let pattern = format!("{}/*", folder.path().display());
        let arguments = ["--exe", &pattern, "--max-processes", "2", "--attach-method", method];
        let agent = Agent::start(arguments, &[]).unwrap();
        let mut targets = servers(&folder, 3);
        agent.says("2 processes are watched already").unwrap();
        // Further sweeps have nothing new to say.
        thread::sleep(Duration::from_millis(2500));
        assert_eq!(agent.messages().matches("not watching").count(), 1, "{}", agent.messages());
        let (watched, waiting): (Vec<_>, Vec<_>) =
            targets.drain(..).partition(|target| is_watched(&agent, target));
        assert_eq!((watched.len(), waiting.len()), (2, 1));
        assert_eq!(waiting[0].get("/too-early").unwrap(), 200);
        drop(watched);
        agent.watches(waiting[0].pid()).unwrap();
        assert_eq!(waiting[0].get("/in-time").unwrap(), 200);
        agent.span("/in-time").unwrap();
        let outcome = agent.stop().unwrap();
        assert_eq!(outcome.paths(), ["/in-time"]);
        assert_eq!(outcome.messages.matches("not watching").count(), 1, "{}", outcome.messages);
    }
}

/// As the test above, of programs: each is a file of its own.
#[test]
fn a_program_beyond_the_limit_is_watched_when_another_ends() {
    let Some(folder) = Folder::for_test("a program beyond the limit") else { return };
    let pattern = format!("{}/*", folder.path().display());
    let mut targets = servers(&folder, MAX_BINARIES as usize + 1);
    let agent = Agent::start(["--exe", &pattern], &[]).unwrap();
    let within = Duration::from_mins(2) * slowness();
    let is_told = || agent.messages().contains("256 binaries are watched already").then_some(());
    wait_within(within, "one to be refused", is_told).unwrap();
    let waiting = targets.iter().position(|target| !is_watched(&agent, target)).unwrap();
    let waiting = targets.remove(waiting);
    assert!(targets.iter().all(|target| is_watched(&agent, target)), "{}", agent.messages());
    assert_eq!(waiting.get("/too-early").unwrap(), 200);
    drop(targets.pop());
    agent.watches(waiting.pid()).unwrap();
    for target in [&waiting, &targets[0], targets.last().unwrap()] {
        assert_eq!(target.get(&format!("/{}", target.pid())).unwrap(), 200);
        agent.span(&format!("/{}", target.pid())).unwrap();
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.spans.len(), 3);
    assert_eq!(outcome.messages.matches("not watching").count(), 1, "{}", outcome.messages);
}

#[test]
fn the_limit_of_open_files_is_raised_and_where_that_is_not_allowed_it_is_told_which_it_is() {
    let Some(folder) = Folder::for_test("the limit of open files") else { return };
    let pattern = format!("{}/*", folder.path().display());
    let arguments = ["--exe", &pattern, "--attach-method", "perf-event"];
    let mut targets = servers(&folder, 8);
    // What it has open while it watches one; each more takes three or four files.
    let first = targets[0].pid();
    let one = Agent::start(["--pid", &first.to_string(), "--attach-method", "perf-event"], &[]).unwrap();
    one.watches(first).unwrap();
    let files = fs::read_dir(format!("/proc/{}/fd", one.pid())).unwrap().count();
    let files = files + usize::try_from(RESERVED_FILES).unwrap() + 6;
    one.stop().unwrap();

    let agent = with_files(files, 1024, &arguments);
    for target in &targets {
        agent.watches(target.pid()).unwrap();
    }
    agent.stop().unwrap();

    let agent = with_files(files, files, &arguments);
    agent.says(&format!("Lightfoot may open no more than {files} files")).unwrap();
    let watched = || targets.iter().position(|target| is_watched(&agent, target));
    drop(targets.remove(wait_for("some to be watched", watched).unwrap()));
    // It goes on with those that it has, and the others follow as these end.
    while !targets.is_empty() {
        let number = wait_for("the others to be watched", || {
            targets.iter().position(|target| is_watched(&agent, target))
        });
        let target = targets.remove(number.unwrap());
        let path = format!("/{}", target.pid());
        agent.counts().unwrap();
        assert_eq!(target.get(&path).unwrap(), 200);
        agent.span(&path).unwrap();
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.spans.len(), 7);
    assert_eq!(outcome.count("processes_unidentified"), 0, "{}", outcome.messages);
}

#[test]
fn a_command_keeps_its_own_limit_of_open_files() {
    if !is_privileged("a command's limit") {
        return;
    }
    let agent = with_files(321, 1024, &["--", "sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    wait_for("the limits", || (agent.other_output() == "321\n1024\n").then_some(())).unwrap();
}
