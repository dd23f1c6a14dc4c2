//! Probes that come and go under load, and agents that are killed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::code::{BREAKPOINT, code_at};
use lightfoot_tests::live::hits::{Hits, bytes_of, sites};
use lightfoot_tests::live::{Agent, Client, Folder, Target, get, lightfoot, text, wait_within};
use rustix::process::Signal;

use crate::DETACHED;

const CLIENTS: usize = 4;
/// So many requests go over a connection before the next one is opened.
const A_CONNECTION: u64 = 50;

/// A server under a load of requests none of which may fail.
struct Loaded {
    target: Target,
    path: PathBuf,
    /// Where the planner places probes, and what the file has there.
    offsets: Vec<u64>,
    original: Vec<u8>,
    folder: Folder,
}

/// Sets what it holds when it is dropped, be it by a failed expectation: the load ends then, too.
struct AtItsEnd<'a>(&'a AtomicBool);

impl Drop for AtItsEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Loaded {
    fn start(test: &str) -> Option<Self> {
        let folder = Folder::for_test(test)?;
        let path = folder.server().unwrap();
        let target = Target::start(&path).unwrap();
        target.address().unwrap();
        let offsets: Vec<_> = sites(&path).unwrap().iter().map(|site| site.offset).collect();
        let original = bytes_of(&path, &offsets).unwrap();
        assert!(offsets.len() > 3);
        Some(Self { target, path, offsets, original, folder })
    }

    /// Sends requests as long as `work` takes; how many.
    fn during(&self, work: impl FnOnce(&AtomicU64)) -> u64 {
        let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        let address = self.target.address().unwrap();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = Client::tcp(address);
                    while !is_over.load(Ordering::Relaxed) {
                        for number in 0..A_CONNECTION {
                            assert_eq!(client.status(&format!("/{number}"), "").unwrap(), 200);
                            answered.fetch_add(1, Ordering::Relaxed);
                            // Others want a processor, too.
                            thread::sleep(Duration::from_millis(1));
                        }
                        assert_eq!(client.connections, 1, "the server has closed one");
                        client = Client::tcp(address);
                    }
                });
            }
            let _over = AtItsEnd(&is_over);
            work(&answered);
        });
        answered.into_inner()
    }

    fn code(&self) -> Vec<u8> {
        code_at(self.target.pid(), &self.offsets).unwrap()
    }

    /// Waits until no probe is left, neither in the process nor for the next one of the file.
    fn is_as_it_was(&self) {
        let original = || (self.code() == self.original).then_some(());
        wait_within(DETACHED, "the original code", original).unwrap();
        let fresh = Target::start(&self.path).unwrap();
        assert_eq!(get(fresh.address().unwrap(), "/fresh").unwrap(), 200);
        assert_eq!(code_at(fresh.pid(), &self.offsets).unwrap(), self.original);
    }
}

#[test]
fn no_request_fails_while_probes_come_and_go() {
    let Some(loaded) = Loaded::start("probes that come and go") else { return };
    let times = Extent::of_environment().pick(50, 1_000);
    let mut hits = Hits::load().unwrap();
    let mut seen = 0;
    let answered = loaded.during(|answered| {
        for time in 0..times {
            let probed = hits.place(&loaded.path, sites(&loaded.path).unwrap()).unwrap();
            let before = answered.load(Ordering::Relaxed);
            let some = || (answered.load(Ordering::Relaxed) > before + CLIENTS as u64).then_some(());
            wait_within(DETACHED, "some requests", some).unwrap();
            assert!(loaded.code().iter().all(|byte| *byte == BREAKPOINT), "time {time}");
            seen += hits.counts(&probed).unwrap().iter().sum::<u64>();
            drop(probed);
            // The link may have been handed to a child of another test's, until that executes its program.
            let original = || (loaded.code() == loaded.original).then_some(());
            wait_within(DETACHED, "the original code", original).unwrap();
        }
    });
    loaded.is_as_it_was();
    println!("{times} times, {answered} requests, {seen} hits");
    assert!(seen >= times, "each time some are hit");
}

#[test]
fn no_request_fails_when_agents_are_killed_at_any_moment() {
    let Some(loaded) = Loaded::start("agents that are killed") else { return };
    let times = Extent::of_environment().pick(10, 100);
    let seed = Extent::of_environment().pick(1, fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pid = loaded.target.pid();
    // Marks of kills are told of to whoever starts next.
    let state = loaded.folder.path().join("state");
    let arguments = ["--pid", &pid.to_string(), "--state-dir", text(&state)];
    let mut attached = 0;
    let answered = loaded.during(|_| {
        for time in 0..times {
            let mut command = Command::new(lightfoot());
            command.args(["run", "--format", "json"]).args(arguments);
            // Whoever is killed may leave half a line.
            let agent = Agent::spawn_into(Stdio::null(), command, &[]).unwrap();
            // Half of them while they load, inspect and attach, the others while they watch. One that is killed while it closes
            // links leaves breakpoints (ARCHITECTURE.md).
            let most = if time % 2 == 0 { 1_000 } else { 300 };
            if time % 2 == 1 {
                agent.watches(pid).unwrap();
                attached += u64::from(loaded.code().contains(&BREAKPOINT));
            }
            thread::sleep(Duration::from_millis(random.u64(0..most)));
            agent.signal(Signal::KILL);
            agent.wait().unwrap();
            let original = || (loaded.code() == loaded.original).then_some(());
            wait_within(DETACHED, "the original code", original).unwrap();
        }
    });
    loaded.is_as_it_was();
    println!("{times} kills, {attached} of them after all probes were in place, {answered} requests");
    assert!(attached >= times / 2, "{attached}");
}
