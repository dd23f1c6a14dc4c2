//! One run of a service: alone, or watched by Lightfoot.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::process::Process;
use lightfoot_tests::live::{
    Agent, Client, Observation, Observer, Outcome, boot_time, text, wait_within, wall_offset,
};
use rustix::process::Signal;

use crate::driver::{Answer, Driver};
use crate::service::{Place, Service};

/// How many clients there are in a crowd.
const CROWD: usize = 8;
/// How often the health of a service is asked for.
const PULSE: Duration = Duration::from_millis(50);
/// How long a service may take to start or end: some do much at that time.
const START: Duration = Duration::from_secs(90);

/// What became of it.
pub(crate) struct Run {
    /// Of the driver, and then of the crowd, each question once.
    pub(crate) answers: Vec<Answer>,
    /// The lines of the files that it wrote, sorted.
    pub(crate) output: Vec<String>,
    pub(crate) status: ExitStatus,
    /// What passed in front of it.
    pub(crate) observations: Vec<Observation>,
    pub(crate) watch: Option<Watch>,
    /// When it began and ended, in nanoseconds of CLOCK_BOOTTIME.
    pub(crate) time: Range<u64>,
}

/// What Lightfoot made of it.
pub(crate) struct Watch {
    pub(crate) outcome: Outcome,
    /// Since when everything was watched and until when, in nanoseconds of CLOCK_BOOTTIME.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// What to add to such a time for the time of day, and by how much that may be wrong.
    pub(crate) clocks: (u64, u64),
}

impl Run {
    /// Has the service do its work.
    pub(crate) fn of(service: &Service, place: &Place, is_watched: bool) -> Self {
        let began = boot_time();
        let mut process = Process::spawn(&mut place.prepare(service)).unwrap();
        let url = |(port, scheme)| format!("{scheme}://{}", place.address(port));
        let observers: Vec<_> = service
            .fronts
            .iter()
            .enumerate()
            .map(|(port, scheme)| Observer::of(&url((port, scheme))).unwrap())
            .collect();
        let fronts: Vec<_> = observers.iter().map(|observer| observer.address).collect();
        let (front, health) = service.health;
        let is_well = || {
            Client::tcp(fronts[front])
                .status(health, "Connection: close\r\n")
                .is_ok_and(|status| status == 200)
        };
        wait_within(START, "its health", || is_well().then_some(()))
            .unwrap_or_else(|error| panic!("{}: {error}: {}", service.name, place.log()));

        let (is_over, beats) = (AtomicBool::new(false), AtomicU64::new(0));
        let end = SetAtEnd(&is_over);
        let (answers, watch) = thread::scope(|scope| {
            let end = end;
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(is_well(), "{} is not well after {beats:?} times", service.name);
                    beats.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PULSE);
                }
            });
            let agent = is_watched.then(|| {
                let state = text(&place.path("state")).to_owned();
                // Most of them have instrumentation of their own.
                let pid = process.pid().to_string();
                let agent =
                    Agent::start(["--pid", &pid, "--sdk", "both", "--state-dir", &state], &[]).unwrap();
                agent.watches(process.pid()).unwrap();
                agent
            });
            let start = boot_time();
            let mut driver = Driver::new(place, &fronts);
            (service.drive)(&mut driver);
            let mut answers = driver.answers;
            let crowd = crowd(service, place, &fronts, Extent::of_environment().pick(10, 50));
            let watch = agent.map(|agent| {
                let told = boot_time();
                Watch { outcome: agent.stop().unwrap(), start, end: told, clocks: wall_offset() }
            });
            // What comes after Lightfoot has gone must be as before.
            let after = self::crowd(service, place, &fronts, 2);
            answers.extend(crowd);
            answers.extend(after);
            // The work may be done before there was time for more.
            wait_within(START, "its health", || (beats.load(Ordering::Relaxed) > 3).then_some(())).unwrap();
            drop(end);
            (answers, watch)
        });
        let observations = observers.into_iter().flat_map(|observer| observer.stop().unwrap()).collect();
        process.signal(Signal::TERM);
        let status = process.wait().unwrap_or_else(|error| panic!("{error}: {}", place.log()));
        let log = place.log();
        for crash in ["panic: ", "fatal error: ", "SIGSEGV", "SIGTRAP", "SIGILL"] {
            assert!(!log.contains(crash), "{} says {crash}: {log}", service.name);
        }
        let time = began..boot_time();
        Self { answers, output: output(service, place), status, observations, watch, time }
    }
}

/// Also after a failure: who waits for it would wait for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Many clients ask the same at once, so many times: each question's answer once, for all were equal.
fn crowd(service: &Service, place: &Place, fronts: &[SocketAddr], times: usize) -> Vec<Answer> {
    let ask_all = || {
        let mut driver = Driver::new(place, fronts);
        for _ in 0..times {
            for (front, target) in service.crowd {
                driver.get(*front, target);
            }
        }
        driver.answers
    };
    let answers: Vec<Vec<Answer>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CROWD).map(|_| scope.spawn(ask_all)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let questions = service.crowd.len();
    for answer in answers.iter().flat_map(|answers| answers.iter().enumerate()) {
        let (index, answer) = answer;
        let first = &answers[0][index % questions];
        assert_eq!((&answer.to, answer.status, &answer.body), (&first.to, first.status, &first.body));
    }
    answers[0].iter().take(questions).cloned().collect()
}

fn output(service: &Service, place: &Place) -> Vec<String> {
    let read =
        |name: &&str| fs::read_to_string(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let text: String = service.output.iter().map(read).collect();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
