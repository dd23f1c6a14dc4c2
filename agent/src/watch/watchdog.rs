//! A program that dies soon after probes were placed in it may have died of them: then they are taken away, and it is left
//! alone for a while. That it dies without them as well, if it does, is its owner's proof that it was not us.
//!
//! Only deaths of a kind that probes could bring count: a signal of the processor, or the exit code that Go's runtime gives
//! a program that crashed (`exit(2)` of `dieFromSignal` and `fatalthrow`, runtime/panic.go). What stood for [`TRIAL`] has
//! passed, also for processes that start later.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Event, Watcher};
use crate::discover::{FileIdentity, ProcessKey};
use crate::sys;

/// So long after probes were placed a death is laid to them.
pub const TRIAL: Duration = Duration::from_secs(10);
/// So long a program is left alone after that.
pub const SUSPENSION: Duration = Duration::from_mins(10);
/// Of at most so many processes is the exit status kept beyond their parent's question for it.
const MAX_HELD: usize = 16;

/// How a process ended, if that may have been because of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// A signal that the processor brings about.
    Signal(i32),
    /// The exit code of a Go program that crashed, or of one that says so for a reason of its own.
    ExitCode(i32),
}

impl Death {
    /// Of a wait status (wait(2)).
    fn of(status: i32) -> Option<Self> {
        // Illegal instruction, trap, abort, bus error, arithmetic, segment, system call (asm-generic/signal.h).
        const CRASHES: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];
        match (status & 0x7f, status >> 8 & 0xff) {
            (0, code) => (code == 2).then_some(Self::ExitCode(code)),
            (signal, _) => CRASHES.contains(&signal).then_some(Self::Signal(signal)),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::ExitCode(code) => write!(f, "exit code {code}, as of a Go program that crashed"),
        }
    }
}

/// A process whose program's probes are new.
pub(super) struct OnTrial {
    key: ProcessKey,
    until: Instant,
    /// Tells the exit status also when its parent has asked for it, from Linux 6.15 on.
    process: Option<OwnedFd>,
}

impl OnTrial {
    fn beside(others: &[Self], key: ProcessKey, until: Instant) -> Self {
        let held = others.iter().filter(|one| one.process.is_some()).count();
        let pid = i32::try_from(key.pid).ok().and_then(Pid::from_raw).filter(|_| held < MAX_HELD);
        let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Self { key, until, process }
    }
}

impl Watcher {
    /// Notes a process that has begun to be watched.
    pub(super) fn try_with_probes(&mut self, key: ProcessKey, owner: FileIdentity) {
        // Who started a command sees for himself how it ends.
        if self.selection.ancestor.is_some() {
            return;
        }
        let placed = self.binaries.get(&owner).and_then(|binary| binary.placed);
        let until = placed.map(|placed| placed + TRIAL).filter(|until| Instant::now() < *until);
        let Some(until) = until else { return };
        let one = OnTrial::beside(&self.on_trial, key, until);
        self.on_trial.push(one);
    }

    /// How a process died, if that may be our doing.
    pub(super) fn suspicious_death(&mut self, key: ProcessKey) -> Option<Death> {
        let index = self.on_trial.iter().position(|one| one.key == key)?;
        let OnTrial { until, process, .. } = self.on_trial.swap_remove(index);
        if Instant::now() >= until {
            return None;
        }
        let kept = process.and_then(|process| sys::exit_status(process.as_fd()));
        Death::of(kept.or_else(|| self.status_of_dead(key))?)
    }

    /// Of a process whose parent has not asked yet; what runs has none.
    fn status_of_dead(&self, key: ProcessKey) -> Option<i32> {
        // Its last field, and the state, which is the first behind the name (proc_pid_stat(5)).
        let stat = fs::read_to_string(self.proc.folder(key.pid).join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        matches!(fields.next(), Some("Z" | "X")).then_some(())?;
        fields.next_back()?.parse().ok()
    }

    /// Takes the probes of a program away, and leaves it alone for a while.
    pub(super) fn suspend(&mut self, owner: FileIdentity, key: ProcessKey, death: Death) {
        let now = Instant::now();
        let Some(binary) = self.binaries.get_mut(&owner) else { return };
        binary.suspended = Some(now + SUSPENSION);
        let others: Vec<_> = binary.processes.iter().copied().collect();
        let executable = binary.path.clone();
        for other in others {
            self.leave(other);
        }
        self.detach_if_unused(owner);
        self.tell(Event::Suspended { key, executable, death });
    }

    /// Forgets who has passed, and ends suspensions.
    pub(super) fn end_trials(&mut self) {
        let now = Instant::now();
        self.on_trial.retain(|one| now < one.until);
        for (file, binary) in &mut self.binaries {
            if binary.suspended.is_some_and(|until| until <= now) {
                binary.suspended = None;
                self.left.retain(|key| key.file != *file);
                self.sweep_soon = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Proc;

    #[test]
    fn crashes_are_told_from_other_ends() {
        let by_signal = |signal| Death::of(signal);
        assert_eq!(by_signal(11), Some(Death::Signal(11)));
        // With a core.
        assert_eq!(by_signal(0x80 | 0xb), Some(Death::Signal(11)));
        // Asked to end, killed, its terminal closed.
        assert_eq!([15, 9, 1].map(by_signal), [None; 3]);
        let by_exit = |code: i32| Death::of(code << 8);
        assert_eq!(by_exit(2), Some(Death::ExitCode(2)));
        assert_eq!([0, 1, 3, 127].map(by_exit), [None; 4]);
    }

    #[test]
    fn of_so_many_on_trial_the_exit_status_is_kept_and_of_the_next_when_one_has_passed() {
        let key = Proc::default().process(std::process::id()).unwrap();
        let mut on_trial = Vec::new();
        for _ in 0..=MAX_HELD {
            on_trial.push(OnTrial::beside(&on_trial, key, Instant::now()));
        }
        let held: Vec<_> = on_trial.iter().map(|one| one.process.is_some()).collect();
        assert_eq!(held, [vec![true; MAX_HELD], vec![false]].concat());
        on_trial.remove(0);
        assert!(OnTrial::beside(&on_trial, key, Instant::now()).process.is_some());
    }
}
