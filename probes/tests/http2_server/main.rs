//! Served HTTP/2 requests, from a real Go server through the kernel to records. Needs root and uprobe_multi (Linux 6.6).
//!
//! Modules, in reading order:
//! - [`layout`]: what is known of the server's binary; [`watch`]: the loaded programs; [`compare`]: records against the
//!   server's own truth.
//! - [`requests`], [`upgrade`], [`limits`], [`losses`], [`cost`]: the tests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, too"
)]

mod compare;
mod layout;
#[path = "../http_server/watch.rs"]
mod watch;

mod cost;
mod limits;
mod losses;
mod requests;
mod upgrade;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lightfoot_probes_abi::{Process, Sampler, SamplerKind, SiteKind};
use lightfoot_tests::go::{self, Build, GoVersion, Mode, VERSIONS};
use lightfoot_tests::live::Folder;
use lightfoot_tests::live::http2::{Batch, Program, Request};

use layout::{Facts, inspect};
use watch::{Options, Watch};

const ALWAYS_ON: Sampler = Sampler { kind: SamplerKind::AlwaysOn as u32, parent_based: 1, threshold: 0 };
const BINARY: u32 = 7;

/// Each test loads programs of its own, but their probes would all fire at once.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A watched program in a folder of its own.
struct Scene {
    watch: Watch,
    program: Program,
    facts: Facts,
    build: Build,
    binary: PathBuf,
    _folder: Folder,
}

impl Scene {
    /// Starts the program and watches it with all sites. `None` with a message where that is not possible.
    fn set(options: Options, minor: u32, mode: Mode, sampler: Sampler) -> Option<Self> {
        Self::set_with(options, minor, mode, sampler, |_| true)
    }

    /// The same without the sites of one kind.
    fn without(minor: u32, kind: SiteKind) -> Option<Self> {
        Self::set_with(Options::default(), minor, Mode::Plain, ALWAYS_ON, |of| of != kind)
    }

    fn set_with(
        options: Options,
        minor: u32,
        mode: Mode,
        sampler: Sampler,
        is_wanted: impl Fn(SiteKind) -> bool,
    ) -> Option<Self> {
        let mut watch = Watch::load(options)?;
        let build = Build::here(go::Program::Http2Batch, GoVersion::of_minor(minor).unwrap(), mode);
        let folder = Folder::new().unwrap();
        let binary = folder.copy(&build.path().unwrap(), "http2").unwrap();
        let facts = inspect(&binary, BINARY);
        let program = Program::start(&binary).unwrap();
        watch.add_layout(BINARY, &facts.layout);
        let bias = facts.bias(program.pid(), &binary);
        let process = Process { binary: BINARY, layout: BINARY, sampler, bias, ..Process::default() };
        watch.select(program.pid(), process);
        let sites = facts.sites.iter().filter(|site| site.cookie.kind().is_some_and(&is_wanted));
        watch.attach(&binary, program.pid(), &sites.copied().collect::<Vec<_>>());
        Some(Self { watch, program, facts, build, binary, _folder: folder })
    }

    /// The same with what most tests want.
    fn usual(minor: u32) -> Option<Self> {
        Self::set(Options::default(), minor, Mode::Plain, ALWAYS_ON)
    }

    /// Sends requests to a server and collects as many records, or what comes of them within a while.
    fn send(&mut self, server: &'static str, at_once: usize, requests: Vec<Request>) -> Vec<Vec<u8>> {
        let wanted = requests.len();
        self.send_batch(wanted, &Batch { server, upgrade: false, at_once, requests })
    }

    fn send_batch(&mut self, wanted: usize, batch: &Batch) -> Vec<Vec<u8>> {
        let (watch, program) = (&mut self.watch, &mut self.program);
        watch.collect(wanted, || program.send(batch).unwrap()).0
    }

    /// The servers that this build has, in the names of the program.
    fn servers(&self) -> impl Iterator<Item = &'static str> {
        let has_unencrypted = self.build.version.minor >= 24;
        ["bundled", "configured", "h2c"].into_iter().chain(has_unencrypted.then_some("unencrypted"))
    }
}

/// A valid `traceparent` that no other number has.
fn traceparent(number: usize) -> String {
    format!("00-{:032x}-{:016x}-01", number as u128 * 0x1_0000_0001_0000_0001 + 1, number + 1)
}
