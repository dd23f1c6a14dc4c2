//! A running agent, the Go programs that it watches, and their clients.
//!
//! Modules, in reading order:
//! - [`folder`]: copies of programs that nothing else runs.
//! - [`process`]: a program that a test starts, and the lines that it says.
//! - [`target`]: a Go server; [`code`]: the bytes of its code, where probes stand; [`hits`]: probes wherever they ever may.
//! - [`server`]: the Go server that writes down the truth about each request; [`http2`]: the same for HTTP/2.
//! - [`driven`]: Go programs that obey commands and write down the truth about each call; [`rpc`]: about those by gRPC.
//! - [`agent`]: `lightfoot run`, what it prints, says and counts; [`span`]: the spans that it prints;
//!   [`losses`]: its counters of those that nobody will see; [`maps`]: what it shares with its
//!   programs.
//! - [`observer`]: what passes between a client and a server, written down by neither.
//! - [`scene`]: a server and the agent that watches it; [`watched`]: the same for a driven program.
//! - [`overlays`]: a program that each process sees by a mount of its own.
//! - [`client`]: requests, byte by byte.
//! - [`cgroup`]: a limit of memory; [`pod_cgroup`]: a process that looks like one of a pod.
//! - [`crowd`]: ten processes of three programs; [`mod@resident`]: what a process holds in memory; [`processor`]: what it has
//!   run; [`sink`]: an endpoint for spans that nobody looks at; [`addresses`]: where nobody listens.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::cache::FileError;
use crate::go::BuildError;

pub mod addresses;
pub mod agent;
pub mod cgroup;
pub mod client;
pub mod code;
pub mod crowd;
pub mod driven;
pub mod folder;
pub mod hits;
pub mod http2;
pub mod lockdown;
pub mod losses;
pub mod maps;
pub mod nobody;
pub mod observer;
pub mod overlays;
pub mod pod_cgroup;
pub mod process;
pub mod processor;
pub mod resident;
pub mod rpc;
pub mod scene;
pub mod server;
pub mod sink;
pub mod span;
pub mod target;
pub mod watched;

pub use addresses::unused_addresses;
pub use agent::{Agent, Outcome, Said, lightfoot, watching, with_tracefs};
pub use cgroup::Cgroup;
pub use client::{Client, Response, get};
pub use crowd::Crowd;
pub use driven::{Call, Driven, Facts, Served};
pub use folder::{Folder, binary, text};
pub use lockdown::{lockdown, with_securityfs};
pub use losses::loss_counters;
pub use maps::{fill, hash_map, map_bytes};
pub use nobody::{DOCUMENTED, as_nobody};
pub use observer::{Observation, Observer};
pub use overlays::Overlays;
pub use pod_cgroup::PodCgroup;
pub use processor::{first_thread_time, processor_time};
pub use resident::resident;
pub use rpc::{Called, Handled};
pub use scene::Scene;
pub use server::{Server, Truth};
pub use sink::Sink;
pub use span::Span;
pub use target::Target;
pub use watched::Watched;

/// How long anything may take on a busy machine before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The environment variable that says how many times slower than usual this machine is, if it is not 1.
pub const SLOWNESS: &str = "LIGHTFOOT_TEST_SLOWNESS";

/// What everything that has a deadline is given times more of: what [`SLOWNESS`] says.
pub fn slowness() -> u32 {
    env::var(SLOWNESS).ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// Whether this process may load BPF programs. If not, says what is skipped; panics instead if the environment variable
/// `CI` is `true`.
///
/// # Panics
/// See above.
pub fn is_privileged(test: &str) -> bool {
    // CAP_PERFMON and CAP_BPF (include/uapi/linux/capability.h).
    const NEEDED: u64 = 1 << 38 | 1 << 39;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let reason = match lightfoot_probes::OBJECT {
        _ if set & NEEDED != NEEDED => "it needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE".to_owned(),
        Err(absent) => absent.to_string(),
        Ok(_) => return true,
    };
    skip(test, &reason);
    false
}

/// Says that a test is not run where it cannot be.
///
/// # Panics
/// If the environment variable `CI` is `true`: there, everything is to be had.
pub fn skip(test: &str, reason: &str) {
    assert!(env::var_os("CI").is_none_or(|value| value != "true"), "{test} cannot be skipped: {reason}");
    println!("skipped: {test}: {reason}");
}

/// Waits until `look` finds something; an error that names `what` if that takes longer than [`PATIENCE`].
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> Result<T, LiveError> {
    wait_within(PATIENCE, what, look)
}

/// Waits until `look` finds something; an error that names `what` if that takes longer than `within`,
/// or [`SLOWNESS`] times that.
pub fn wait_within<T>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, LiveError> {
    let within = within * slowness();
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(LiveError::Late { what: what.to_owned(), within, said: String::new() });
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What `look` finds becomes that, and stays so for a moment in which more would show: for what a server does a moment after its
/// client has what it wants.
///
/// # Panics
/// If it does not within [`PATIENCE`], or does not stay.
#[track_caller]
pub fn assert_settles<T: PartialEq + fmt::Debug>(expected: &T, mut look: impl FnMut() -> T) {
    drop(wait_for("what is expected", || (look() == *expected).then_some(())));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(look(), *expected);
}

/// Nanoseconds of `CLOCK_BOOTTIME`, the clock of the kernel's probes.
pub fn boot_time() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime))
}

/// What to add to a time of `CLOCK_BOOTTIME` for that of `CLOCK_REALTIME`, and by how much that may be wrong, both in
/// nanoseconds.
pub fn wall_offset() -> (u64, u64) {
    let reading = |_| {
        let (before, wall, after) = (boot_time(), nanoseconds(clock_gettime(ClockId::Realtime)), boot_time());
        (after - before, wall - before.midpoint(after))
    };
    let (width, offset) = (0..100).map(reading).min().unwrap_or_default();
    (offset, width / 2 + 1)
}

fn nanoseconds(time: Timespec) -> u64 {
    // Neither clock is ever negative.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Why something live could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The operating system refused.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A program could not be built.
    #[error("building a program")]
    Build(#[from] BuildError),
    /// A program could not be copied.
    #[error("copying a program")]
    Copy(#[from] FileError),
    /// Something took too long.
    #[error("waited {within:?} for {what}{said}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// What the program has said so far.
        said: String,
    },
    /// A line is not what it should be.
    #[error("reading {line}: {why}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong.
        why: String,
    },
}

impl LiveError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    fn line(line: &str, why: &dyn ToString) -> Self {
        Self::Line { line: line.to_owned(), why: why.to_string() }
    }

    /// The same, with what the program has said of late.
    fn with(self, messages: &str) -> Self {
        let start = messages.floor_char_boundary(messages.len().saturating_sub(4_000));
        let messages = messages.get(start..).unwrap_or_default();
        match self {
            Self::Late { what, within, said } => {
                Self::Late { what, within, said: format!("{said}; it says: {messages}") }
            }
            other => other,
        }
    }
}
