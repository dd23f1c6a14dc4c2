//! HTTP clients and the parents of their spans, from a real Go program through the kernel to records. Needs root and
//! uprobe_multi (Linux 6.6).
//!
//! Modules, in reading order:
//! - [`target`]: the Go program; [`layout`], [`facts`]: what is known of its binary; [`watch`]: the loaded programs;
//! - [`attributes`], [`ends`], [`parents`], [`contexts`], [`cost`]: the tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, too"
)]

mod facts;
#[path = "../http_server/layout.rs"]
#[expect(dead_code, reason = "the tests of servers use the rest")]
mod layout;
mod target;
#[path = "../http_server/watch.rs"]
mod watch;

mod attributes;
mod contexts;
mod cost;
mod ends;
mod parents;

use std::sync::{Mutex, MutexGuard, PoisonError};

use lightfoot_probes_abi::process::process_flags;
use lightfoot_probes_abi::{Counter, Process, Sampler, SamplerKind, Site, SiteKind};
use lightfoot_tests::go::GoVersion;
use lightfoot_tests::probes::{HttpSpan, PlacedSite, Target};

use facts::{Facts, examine};
use target::{bias, build};
use watch::{Options, Watch};

const ALWAYS_ON: Sampler = Sampler { kind: SamplerKind::AlwaysOn as u32, parent_based: 1, threshold: 0 };
const BINARY: u32 = 7;
const INSTANCE: u32 = 11;

/// Each test loads programs of its own, but their probes would all fire at once.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The Go that most tests use.
fn usual_go() -> GoVersion {
    GoVersion::of_minor(26).unwrap()
}

/// A target that is selected.
struct Watched {
    watch: Watch,
    target: Target,
    facts: Facts,
    process: Process,
    /// The URL of the target's server.
    origin: String,
}

impl Watched {
    /// Starts a target and selects it; nothing is attached yet. `None` with a message where that is not possible.
    fn new(options: Options, version: GoVersion, position_independent: bool) -> Option<Self> {
        let mut watch = Watch::load(options)?;
        let binary = build(version, position_independent);
        let facts = examine(&binary, BINARY);
        let mut target = Target::start(binary);
        let process = Process {
            binary: BINARY,
            layout: BINARY,
            instance: INSTANCE,
            sampler: ALWAYS_ON,
            bias: if position_independent { bias(&target) } else { 0 },
            flags: process_flags::CHILDREN | process_flags::INFER_PARENTS | process_flags::CONNECTIONS,
            ..Process::default()
        };
        watch.add_layout(BINARY, &facts.layout);
        for (descriptor, holder) in &facts.holders {
            let key =
                lightfoot_probes_abi::HolderKey { binary: BINARY, reserved: 0, descriptor: *descriptor };
            watch.hash("HOLDERS").insert(&key, holder, 0).unwrap();
        }
        watch.select(target.pid(), process);
        let origin = target.ask("origin");
        Some(Self { watch, target, facts, process, origin })
    }

    /// The same with the sites of clients, which end at their own return.
    fn clients(options: Options) -> Option<Self> {
        let mut watched = Self::new(options, usual_go(), false)?;
        watched.attach_clients();
        Some(watched)
    }

    fn attach_clients(&mut self) {
        let sites: Vec<_> = [self.facts.start].into_iter().chain(self.facts.returns.clone()).collect();
        self.attach(&sites);
    }

    fn attach(&mut self, sites: &[PlacedSite]) {
        self.watch.attach(&self.target.binary, self.target.pid(), sites);
    }

    /// Selects it with other flags.
    fn set_flags(&mut self, flags: u64) {
        self.process.flags = flags;
        self.watch.select(self.target.pid(), self.process);
    }

    /// The addresses that calls of transports were seen to return to, as the file has them.
    fn callers(&mut self) -> Vec<u64> {
        let pid = self.target.pid();
        let callers: Vec<_> =
            self.watch.hash::<Site, u64>("CALLERS").iter().map(|entry| entry.unwrap()).collect();
        let end = SiteKind::HttpClientEnd as u64;
        assert!(callers.iter().all(|(site, value)| (site.tgid, site.reserved, *value) == (pid, 0, end)));
        callers.iter().map(|(site, _)| site.address.wrapping_sub(self.process.bias)).collect()
    }

    /// Attaches to all sites of the server, too.
    fn attach_server(&mut self) {
        let sites = self.facts.server.clone();
        self.attach(&sites);
    }

    /// Has the target do something and returns the `wanted` spans of it in the order of their ends.
    fn spans(&mut self, wanted: usize, commands: &[&str]) -> Vec<HttpSpan> {
        let Self { watch, target, .. } = self;
        let (records, ()) = watch.collect(wanted, || {
            for command in commands {
                assert_eq!(target.ask(command), "done", "{command}");
            }
        });
        let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
        assert_eq!(spans.len(), wanted, "{:?} {spans:#?}", watch.counters());
        spans
    }

    /// The only span of what the target does.
    fn span(&mut self, command: &str) -> HttpSpan {
        self.spans(1, &[command]).remove(0)
    }

    /// Nothing but these counts, and nothing left open.
    fn assert_counts(&self, expected: &[(Counter, u64)]) {
        assert_eq!(self.watch.counters(), expected);
        assert_eq!(self.watch.open_spans(), 0);
    }
}
