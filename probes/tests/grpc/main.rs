//! Calls of gRPC, from real Go programs through the kernel to records. Needs root and uprobe_multi (Linux 6.6).
//!
//! What spans say of calls is tested end to end (`tests/tests/grpc/`); here is what they cost.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, too"
)]

mod cost;
mod layout;
#[path = "../http_server/watch.rs"]
mod watch;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lightfoot_probes_abi::process::process_flags::{CHILDREN, INFER_PARENTS};
use lightfoot_probes_abi::{HolderKey, Process, Sampler, SamplerKind};
use lightfoot_tests::go::Build;
use lightfoot_tests::live::Driven;
use lightfoot_tests::probes::PlacedSite;

use layout::{Facts, inspect};
use watch::{Options, Watch};

const ALWAYS_ON: Sampler = Sampler { kind: SamplerKind::AlwaysOn as u32, parent_based: 1, threshold: 0 };
const BINARY: u32 = 7;

/// Each test loads programs of its own.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that is selected, and another that is not.
struct Watched {
    watch: Watch,
    target: Driven,
    other: Driven,
    process: Process,
    facts: Facts,
}

impl Watched {
    /// Starts both; nothing is attached yet. `None` with a message where that is not possible.
    fn new(build: Build, options: Options) -> Option<Self> {
        let options = Options { program: "on_site_grpc_multi", ..options };
        let mut watch = Watch::load(options)?;
        let binary = build.path().unwrap();
        let facts = inspect(&binary, BINARY);
        let (target, other) = (Driven::start(&binary).unwrap(), Driven::start(&binary).unwrap());
        watch.add_layout(BINARY, &facts.layout);
        for (descriptor, holder) in &facts.holders {
            let key = HolderKey { binary: BINARY, reserved: 0, descriptor: *descriptor };
            watch.hash("HOLDERS").insert(&key, holder, 0).unwrap();
        }
        let process = Process {
            binary: BINARY,
            layout: BINARY,
            instance: 11,
            sampler: ALWAYS_ON,
            flags: CHILDREN | INFER_PARENTS,
            ..Process::default()
        };
        watch.select(target.pid(), process);
        Some(Self { watch, target, other, process, facts })
    }

    /// Attaches to the target's own copy of the program.
    fn attach(&mut self, sites: impl Fn(&Facts) -> &Vec<PlacedSite>) {
        let program = PathBuf::from(format!("/proc/{}/exe", self.target.pid()));
        self.watch.attach(&program, self.target.pid(), sites(&self.facts));
    }

    /// The records of calls that the target serves.
    fn served(&mut self, count: usize, kind: &str) -> Vec<Vec<u8>> {
        let Self { watch, target, other, .. } = self;
        call(watch, other, target, count, kind)
    }

    /// The records of calls that the target makes.
    fn made(&mut self, count: usize, kind: &str) -> Vec<Vec<u8>> {
        let Self { watch, target, other, .. } = self;
        call(watch, target, other, count, kind)
    }

    /// Selects it with another sampler or other flags.
    fn select(&mut self, sampler: Sampler, flags: u64) {
        self.process = Process { sampler, flags, ..self.process };
        self.watch.select(self.target.pid(), self.process);
    }
}

fn call(watch: &mut Watch, from: &mut Driven, to: &Driven, count: usize, kind: &str) -> Vec<Vec<u8>> {
    let command = format!("call {} {count} {kind}", to.url("grpc").unwrap());
    let (records, ()) = watch.collect(count, || assert!(from.ask(&command).unwrap().is_empty()));
    records
}
