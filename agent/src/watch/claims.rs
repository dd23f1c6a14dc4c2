//! Whoever watches a process claims it, so that no two agents do: during an upgrade the old and the new one run side by
//! side, and each of them would record every request, and have the program pay for it.
//!
//! A claim is a read lock on one byte of `/proc/self/ns/pid`, at the process' number. That file is the same one for
//! everybody in a PID namespace, whatever folders and networks they see; the kernel says who has a lock, and releases it
//! when that one ends, however it does. Read locks exclude nobody, so each looks before and after it takes one: of two that
//! come at once, both stand back, and try again after different times.
//!
//! Anyone may lock there. A claim counts only if who has it may load BPF programs, which is what an agent does.

use std::ffi::c_short;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tracing::debug;

use super::{WatchError, Watcher};
use crate::capabilities;
use crate::discover::{Listeners, ProcessKey};

/// Types of locks (include/uapi/asm-generic/fcntl.h), which have another type of number for each C library.
const READ: c_short = 0;
const WRITE: c_short = 1;
const NONE: c_short = 2;
/// That places are counted from the beginning (`SEEK_SET`).
const START: c_short = 0;

/// How often is looked at what others watch. An agent that has them all needs no time for that.
const POLL: Duration = Duration::from_millis(200);
/// By how much that differs from one time to the next, at most, in milliseconds.
const SPREAD: u64 = 100;

/// The claims of this process. Closing any descriptor of that file would release them all: nothing else opens it.
///
/// `None` if it cannot be opened: then nobody is asked, and nobody told.
pub(super) struct Claims(Option<File>);

impl Claims {
    pub(super) fn new() -> Self {
        let namespace = File::open("/proc/self/ns/pid").inspect_err(untold);
        Self(namespace.ok())
    }

    /// Claims a process, unless another agent has.
    pub(super) fn take(&self, pid: u32) -> Result<(), WatchError> {
        self.check(pid)?;
        self.lock(pid, READ);
        // Somebody may have done the same since then.
        self.check(pid).inspect_err(|_| self.give_back(pid))
    }

    /// Releases what was claimed, or was not.
    pub(super) fn give_back(&self, pid: u32) {
        self.lock(pid, NONE);
    }

    /// Fails if another agent has claimed it.
    pub(super) fn check(&self, pid: u32) -> Result<(), WatchError> {
        let Some(namespace) = &self.0 else { return Ok(()) };
        let mut lock = byte(pid, WRITE);
        if let Err(error) = fcntl(namespace, FcntlArg::F_GETLK(&mut lock)) {
            debug!(%error, "whether another agent watches a process is not known");
            return Ok(());
        }
        // Numbers of processes that are not in this namespace are zero.
        let agent = u32::try_from(lock.l_pid).unwrap_or(0);
        let is_claimed = lock.l_type == READ && agent != 0 && capabilities::may_load_programs(agent);
        if is_claimed { Err(WatchError::Claimed { agent }) } else { Ok(()) }
    }

    fn lock(&self, pid: u32, kind: c_short) {
        let Some(namespace) = &self.0 else { return };
        let locked = fcntl(namespace, FcntlArg::F_SETLK(&byte(pid, kind)));
        let _ = locked.map_err(io::Error::from).inspect_err(untold);
    }
}

fn untold(error: &io::Error) {
    debug!(%error, "other agents are not told what is watched");
}

impl Watcher {
    /// Watches what no other agent watches any more.
    pub(super) fn take_over(&mut self) {
        if self.claimed.is_empty() || Instant::now() < self.claimed_due {
            return;
        }
        let is_free = |key: &&ProcessKey| self.claims.check(key.pid).is_ok();
        let free: Vec<_> = self.claimed.iter().filter(is_free).copied().collect();
        let proc = self.proc.clone();
        let mut listeners = Listeners::new(&proc, &self.selection);
        for key in free {
            self.claimed.remove(&key);
            if self.proc.process(key.pid) == Some(key) {
                self.consider(key, &listeners.of(key.pid));
            }
        }
        self.claimed_due = Instant::now() + POLL + Duration::from_millis(fastrand::u64(..SPREAD));
    }
}

/// The lock of a process.
fn byte(pid: u32, kind: c_short) -> libc::flock {
    libc::flock { l_type: kind, l_whence: START, l_start: pid.into(), l_len: 1, l_pid: 0 }
}
