//! Programs that nobody here wrote do their normal work under Lightfoot: their answers are those that they give without it,
//! their health stays good, and each request that an observer saw has its span.
//!
//! `docs/foreign.md` says what they do, and which parts of their answers differ anyway. Needs root and a kernel that attaches
//! probes; elsewhere each test says why it does nothing, and fails where `CI` is `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod caddy;
mod driver;
mod etcd;
mod jaeger;
mod judge;
mod masks;
mod otelcol;
mod prometheus;
mod rclone;
mod run;
mod s3;
mod seaweedfs;
mod service;

use std::fs;
use std::sync::{Mutex, PoisonError};

use lightfoot_tests::extent::{Extent, VARIABLE};
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Folder, Observation, Observer, Server, is_privileged};

use masks::Masks;
use run::Run;
use service::{Behind, Place, Service};

static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn the_collector() {
    works_as_ever(&otelcol::OTELCOL, Extent::Usual);
}

#[test]
fn jaeger() {
    works_as_ever(&jaeger::JAEGER, Extent::Usual);
}

#[test]
fn etcd() {
    works_as_ever(&etcd::ETCD, Extent::All);
}

#[test]
fn a_reverse_proxy() {
    works_as_ever(&caddy::CADDY, Extent::All);
}

#[test]
fn a_metrics_server() {
    works_as_ever(&prometheus::PROMETHEUS, Extent::All);
}

#[test]
fn an_object_store() {
    works_as_ever(&seaweedfs::SEAWEEDFS, Extent::All);
}

#[test]
fn a_folder_as_object_store() {
    works_as_ever(&rclone::RCLONE, Extent::All);
}

/// Runs a service without Lightfoot, with it, and without it again.
fn works_as_ever(service: &Service, from: Extent) {
    if !is_privileged(&format!("watching {}", service.name)) {
        return;
    }
    if from == Extent::All && Extent::of_environment() != Extent::All {
        println!("skipped: {} is built and watched where {VARIABLE} is 1", service.name);
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::set(service.behind);
    let place = Place::of(service, stage.observer.as_ref().map(|observer| observer.address));
    let runs = [false, true, false].map(|is_watched| Run::of(service, &place, is_watched));
    let behind = stage.strike();

    let watch = runs[1].watch.as_ref().unwrap();
    judge::judge(service, &place, watch, &runs[1].observations, &behind);

    let mut masks = Masks::of(service.name);
    let [alone, watched, again] = runs.each_ref().map(|run| masks.apply(&run.answers));
    // What differs between the runs without Lightfoot lacks a mask.
    assert_same("without Lightfoot, twice", &alone, &again);
    assert_same("without and with Lightfoot", &alone, &watched);
    masks.assert_used();
    for run in &runs {
        assert_eq!(run.status, runs[0].status, "how it ended");
        assert_same("what it wrote", &runs[0].output, &run.output);
        if service.behind == Behind::Forwarded {
            assert_same("what it called", &called(&runs[0], &behind), &called(run, &behind));
        }
    }
}

/// What a service called during a run, sorted.
fn called(run: &Run, behind: &[Observation]) -> Vec<String> {
    let of_run = behind.iter().filter(|call| run.time.contains(&call.start));
    let show =
        |call: &Observation| format!("{} {} {} {}", call.method, call.target, call.status, call.length);
    let mut calls: Vec<_> = of_run.map(show).collect();
    calls.sort();
    assert!(!calls.is_empty(), "it called nobody");
    calls
}

/// Shows every difference, not only the first: each may need a mask.
fn assert_same(what: &str, some: &[String], others: &[String]) {
    let mut differences = Vec::new();
    for (one, other) in some.iter().zip(others).filter(|(one, other)| one != other) {
        let question = one.lines().next().unwrap_or_default();
        let at = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
        let near = |text: &str| text.chars().skip(at.saturating_sub(40)).take(120).collect::<String>();
        differences.push(format!("{question}: {:?} and {:?}", near(one), near(other)));
    }
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
    assert_eq!(some.len(), others.len(), "{what}");
}

/// Who is behind a service, and the observer before that.
#[derive(Default)]
struct Stage {
    observer: Option<Observer>,
    server: Option<Server>,
    _folder: Option<Folder>,
}

impl Stage {
    fn set(behind: Behind) -> Self {
        match behind {
            Behind::Nobody => Self::default(),
            Behind::Forwarded => {
                let version = GoVersion::of_minor(26).unwrap();
                let server =
                    Server::start(&Build::here(Program::Truth, version, Mode::Plain).path().unwrap());
                let server = server.unwrap();
                let observer = Observer::of(&format!("http://{}", server.address)).unwrap();
                Self { observer: Some(observer), server: Some(server), _folder: None }
            }
            Behind::Files(files) => {
                let folder = Folder::new().unwrap();
                for (name, content) in files {
                    fs::write(folder.path().join(name), content).unwrap();
                }
                let observer = Observer::of_files(folder.path()).unwrap();
                Self { observer: Some(observer), server: None, _folder: Some(folder) }
            }
        }
    }

    /// Ends it: what the service asked.
    fn strike(self) -> Vec<Observation> {
        let observations = self.observer.map(|observer| observer.stop().unwrap());
        // It wrote down the truth about what the observer saw.
        let _ = self.server.map(|server| server.stop().unwrap());
        observations.unwrap_or_default()
    }
}
