//! The agent, and what happens to the processes that it watches.
//!
//! - [`target`]: a Go server in a copy of its binary that nothing else runs: probes act on every process of a file.
//! - [`mod@agent`]: `lightfoot run`, what it prints, says and counts.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

pub mod agent;
pub mod target;

pub use agent::{Agent, Outcome, Span, agent};
pub use target::{Target, binary, copy_of, get};

/// How long anything may take on a busy machine before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

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
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{test} cannot be skipped: {reason}");
    println!("skipped: {test}: {reason}");
    false
}

/// Waits until `look` finds something; an error that names `what` if that takes longer than [`PATIENCE`].
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> io::Result<T> {
    wait_within(PATIENCE, what, look)
}

/// Waits until `look` finds something; an error that names `what` if that takes longer than `within`.
pub fn wait_within<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> io::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("waited {within:?} for {what}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
