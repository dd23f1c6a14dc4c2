//! Two agents that choose the same process: one watches it, and the other one takes over when that one ends.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Folder, Outcome, Target, lightfoot, wait_for, watching};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::process::Signal;

/// A second, with slack.
const GAP: Duration = Duration::from_secs(5);

/// Requests without a pause until `is_over`: when each began, by its path.
fn ask(target: &Target, is_over: &AtomicBool) -> BTreeMap<String, Instant> {
    let mut asked = BTreeMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let path = format!("/{:06}", asked.len());
        let began = Instant::now();
        assert_eq!(target.get(&path).unwrap(), 200);
        asked.insert(path, began);
        thread::sleep(Duration::from_millis(5));
    }
    asked
}

/// How long no agent watched between these two, of which the first was killed or not; fails if both ever did.
fn gap(asked: &BTreeMap<String, Instant>, first: &Outcome, second: &Outcome) -> Duration {
    let (first, second) = (first.paths(), second.paths());
    let (last, next) = (*first.last().unwrap(), *second.first().unwrap());
    assert!(last < next, "{next} was before {last}");
    asked.get(next).unwrap().duration_since(*asked.get(last).unwrap())
}

#[test]
fn the_other_agent_takes_over_within_a_second() {
    let Some(folder) = Folder::for_test("two agents") else { return };
    for method in ["uprobe-multi", "perf-event"] {
        let target = Target::start(&folder.copy_of(Program::Lifecycle, method).unwrap()).unwrap();
        let pid = target.pid().to_string();
        let start = || Agent::start(["--pid", &pid, "--attach-method", method], &[]).unwrap();
        let waits = |agent: &Agent, other: u32| {
            agent.says(&format!("Lightfoot watches it already, as process {other};")).unwrap();
        };
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&target, &is_over));
            let first = start();
            first.watches(target.pid()).unwrap();
            let second = start();
            waits(&second, first.pid());
            thread::sleep(Duration::from_millis(500));
            let first = first.stop().unwrap();
            second.watches(target.pid()).unwrap();
            let third = start();
            waits(&third, second.pid());
            second.wait_for_spans(1, |_| true).unwrap();
            // It has no time to say anything, nor to write what it has.
            second.signal(Signal::KILL);
            third.watches(target.pid()).unwrap();
            third.wait_for_spans(10, |_| true).unwrap();
            is_over.store(true, Ordering::Relaxed);
            let asked = asking.join().unwrap();
            let (second, third) = (second.wait().unwrap(), third.stop().unwrap());
            let gaps = [gap(&asked, &first, &second), gap(&asked, &second, &third)];
            println!("{method}: nobody watched for {gaps:?}");
            assert!(gaps.iter().all(|gap| *gap < GAP), "{gaps:?}");
            assert_eq!(third.messages.matches("not watching").count(), 1, "{}", third.messages);
        });
    }
}

#[test]
fn of_agents_that_start_at_once_one_watches() {
    let Some(folder) = Folder::for_test("agents that start at once") else { return };
    let target = Target::start(&folder.copy_of(Program::Lifecycle, "server").unwrap()).unwrap();
    let pid = target.pid().to_string();
    let agents = [(); 4].map(|()| Agent::start(["--pid", &pid], &[]).unwrap());
    for agent in &agents {
        agent.says(&format!("pid={pid} ")).unwrap();
    }
    let watches = |agent: &&Agent| agent.messages().contains(&watching(target.pid()));
    // Those that stood back for each other try again. It tells the kernel before it answers.
    wait_for("one that watches", || agents.iter().find(watches)).unwrap().counts().unwrap();
    // Another one that would watch it, too, has had its time.
    thread::sleep(Duration::from_millis(1000));
    assert_eq!(target.get("/once").unwrap(), 200);
    let outcomes = agents.map(|agent| agent.stop().unwrap());
    let spans: Vec<_> = outcomes.iter().map(|outcome| outcome.spans.len()).collect();
    assert_eq!(spans.iter().sum::<usize>(), 1, "{spans:?}");
}

#[test]
fn the_dry_run_says_who_watches() {
    let Some(folder) = Folder::for_test("a dry run beside an agent") else { return };
    let target = Target::start(&folder.copy_of(Program::Lifecycle, "server").unwrap()).unwrap();
    let pid = target.pid().to_string();
    let agent = Agent::start(["--pid", &pid], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    let output = Command::new(lightfoot()).args(["targets", "--pid", &pid]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("as process {}", agent.pid())), "{text}");
    agent.stop().unwrap();
}

/// Anyone may lock the file by which agents tell each other: that keeps none from its work.
#[test]
fn whoever_may_not_watch_claims_nothing() {
    let Some(folder) = Folder::for_test("a claim without the right to watch") else { return };
    let target = Target::start(&folder.copy_of(Program::Lifecycle, "server").unwrap()).unwrap();
    let pid = target.pid().to_string();
    let own = folder.copy(&env::current_exe().unwrap(), "claims").unwrap();
    let mut claiming = Command::new(own);
    claiming.args(["--exact", "claims_if_told", "--nocapture"]).env(CLAIM, &pid);
    let claiming = Target::spawn(claiming.uid(NOBODY).gid(NOBODY).stdin(Stdio::null())).unwrap();
    claiming.said("claimed").unwrap();
    let agent = Agent::start(["--pid", &pid], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/all-the-same").unwrap(), 200);
    agent.span("/all-the-same").unwrap();
    let outcome = agent.stop().unwrap();
    assert!(!outcome.messages.contains("already"), "{}", outcome.messages);
}

/// What [`whoever_may_not_watch_claims_nothing`] executes as another user.
#[test]
fn claims_if_told() {
    let Ok(pid) = env::var(CLAIM) else { return };
    let namespace = File::open("/proc/self/ns/pid").unwrap();
    let (l_start, l_len, l_pid) = (pid.parse().unwrap(), 1, 0);
    // A read lock, whose place is counted from the beginning.
    let lock = libc::flock { l_type: 0, l_whence: 0, l_start, l_len, l_pid };
    fcntl(&namespace, FcntlArg::F_SETLK(&lock)).unwrap();
    println!("\nclaimed {pid}");
    thread::sleep(Duration::from_secs(60));
}

/// The variable that has the test above claim that process.
const CLAIM: &str = "LIGHTFOOT_TEST_CLAIM";
/// A user without rights.
const NOBODY: u32 = 65_534;
