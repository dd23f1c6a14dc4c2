//! A server, the agent that watches it, clients, and what each of them says.
//!
//! Modules, in reading order:
//! - [`server`]: the Go program that writes down the truth about each request.
//! - [`agent`]: `lightfoot run`.
//! - [`span`]: the spans that it prints.
//! - [`client`]: requests, byte by byte.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

pub mod agent;
pub mod client;
pub mod server;
pub mod span;

pub use agent::Agent;
pub use client::{Client, Response};
pub use server::{Server, Truth};
pub use span::Span;

/// What `look` finds, as soon as it finds something; `None` if it has not within that time.
pub fn eventually<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(10));
    }
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
    /// Something took too long.
    #[error("{what} did not happen in time; {said}")]
    Late {
        /// What was waited for.
        what: &'static str,
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
}
