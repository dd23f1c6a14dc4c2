//! A program that dies soon after probes were placed in it may have died of them: then they are taken away, and it is left
//! alone for a while. That it dies without them as well, if it does, is its owner's proof that it was not us.
//!
//! Only deaths of a kind that probes could bring count: a signal of the processor, or the exit code that Go's runtime gives
//! a program that crashed (`exit(2)` of `dieFromSignal` and `fatalthrow`, runtime/panic.go). What stood for [`TRIAL`] has
//! passed, also for processes that start later; probes that are added put all processes of their program on trial anew.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Event, Watcher};
use crate::discover::{FileIdentity, ProcessKey};
use crate::sys;

/// So long after probes were placed a death is laid to them.
pub const TRIAL: Duration = Duration::from_secs(10);
/// So long a program is left alone after that.
pub const SUSPENSION: Duration = Duration::from_mins(10);
/// So long a process that ends may take until it has its wait status.
const MOMENT: Duration = Duration::from_millis(100);
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

/// How far a process is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It runs.
    Far,
    /// It will not run any more.
    Begun,
    /// It has this wait status.
    Over(i32),
}

impl Ending {
    /// Of what proc_pid_stat(5) has of it: behind the name the state is the first, flags of the kernel are the seventh, and the wait status is
    /// the last.
    fn of(stat: &str) -> Option<Self> {
        // include/linux/sched.h
        const PF_EXITING: u64 = 4;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(fields.first(), Some(&("Z" | "X"))) {
            return Some(Self::Over(fields.last()?.parse().ok()?));
        }
        let flags: u64 = fields.get(6)?.parse().ok()?;
        Some(if flags & PF_EXITING == 0 { Self::Far } else { Self::Begun })
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

    /// Puts a process on trial. One that is keeps its place, and with it what tells its exit status.
    fn put(on_trial: &mut Vec<Self>, key: ProcessKey, until: Instant) {
        if let Some(known) = on_trial.iter_mut().find(|one| one.key == key) {
            known.until = until;
        } else {
            let one = Self::beside(on_trial, key, until);
            on_trial.push(one);
        }
    }
}

impl Watcher {
    /// Notes a process that has begun to be watched, or in whose program more probes were placed.
    pub(super) fn try_with_probes(&mut self, key: ProcessKey, owner: FileIdentity) {
        // Who started a command sees for himself how it ends.
        if self.selection.ancestor.is_some() {
            return;
        }
        let placed = self.binaries.get(&owner).and_then(|binary| binary.placed);
        let until = placed.map(|placed| placed + TRIAL).filter(|until| Instant::now() < *until);
        let Some(until) = until else { return };
        OnTrial::put(&mut self.on_trial, key, until);
    }

    /// Notes that further probes were placed in a program. These are the processes that ran it just before: whoever had died by then did
    /// not die of them.
    pub(super) fn try_further_probes(&mut self, owner: FileIdentity, running: &[ProcessKey]) {
        let Some(binary) = self.binaries.get_mut(&owner) else { return };
        binary.placed = Some(Instant::now());
        for key in running {
            if self.watched.get(key) == Some(&owner) {
                self.try_with_probes(*key, owner);
            }
        }
    }

    /// How a process died, if that may be our doing.
    pub(super) fn suspicious_death(&mut self, key: ProcessKey) -> Option<Death> {
        let index = self.on_trial.iter().position(|one| one.key == key)?;
        let OnTrial { until, process, .. } = self.on_trial.swap_remove(index);
        if Instant::now() >= until {
            return None;
        }
        Death::of(self.status_of_dead(key, process.as_ref())?)
    }

    /// Of a process that has ended; what runs has none. The kernel tells of an end before the process is a zombie (`do_exit` in
    /// kernel/exit.c), which it is a moment later until its parent asks; from then on `process` tells.
    fn status_of_dead(&self, key: ProcessKey, process: Option<&OwnedFd>) -> Option<i32> {
        let file = self.proc.folder(key.pid).join("stat");
        let kept = || process.and_then(|process| sys::exit_status(process.as_fd()));
        let began = Instant::now();
        loop {
            match fs::read_to_string(&file).ok().as_deref().and_then(Ending::of) {
                Some(Ending::Over(status)) => return Some(status),
                Some(Ending::Begun) if began.elapsed() < MOMENT => sleep(MOMENT / 100),
                Some(Ending::Begun | Ending::Far) => return None,
                // Its parent has asked.
                None => return kept(),
            }
        }
    }

    /// Takes the probes of a program away, and leaves it alone for a while, by whatever mount its file is seen.
    pub(super) fn suspend(&mut self, owner: FileIdentity, key: ProcessKey, death: Death) {
        // Of several that died at once the first has brought it about, and the others are just being left.
        if self.is_suspended(owner) {
            return;
        }
        let Some(binary) = self.binaries.get_mut(&owner) else { return };
        binary.suspended = Some(Instant::now() + SUSPENSION);
        let executable = binary.path.clone();
        let others: Vec<_> =
            self.watched.keys().filter(|other| other.file.is_alike(&owner)).copied().collect();
        for other in others {
            self.leave(other);
        }
        let alike: Vec<_> = self.binaries.keys().filter(|file| file.is_alike(&owner)).copied().collect();
        for file in alike {
            self.detach_if_unused(file);
        }
        self.tell(Event::Suspended { key, executable, death });
    }

    /// Whether a file is left alone, or one that is alike: each container of an image sees the same file by a mount of its own.
    pub(super) fn is_suspended(&self, file: FileIdentity) -> bool {
        self.binaries.iter().any(|(other, binary)| binary.suspended.is_some() && other.is_alike(&file))
    }

    /// Forgets who has passed, and ends suspensions.
    pub(super) fn end_trials(&mut self) {
        let now = Instant::now();
        self.on_trial.retain(|one| now < one.until);
        for (file, binary) in &mut self.binaries {
            if binary.suspended.is_some_and(|until| until <= now) {
                binary.suspended = None;
                self.left.retain(|key| !key.file.is_alike(file));
                self.sweep_soon = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

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
    fn an_end_has_begun_before_it_has_a_status() {
        let stat = |state: &str, flags: u32, status: i32| {
            format!("7 (a ) b) {state} 1 7 7 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 55 0 0 {status}\n")
        };
        assert_eq!(Ending::of(&stat("S", 0x40_4000, 0)), Some(Ending::Far));
        assert_eq!(Ending::of(&stat("R", 0x40_4004, 0)), Some(Ending::Begun));
        assert_eq!(Ending::of(&stat("Z", 0x40_400c, 512)), Some(Ending::Over(512)));
        for cut in ["", "7 (a", "7 (a)", "7 (a) S 1", "7 (a) Z x"] {
            assert_eq!(Ending::of(cut), None, "{cut}");
        }
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

    #[test]
    fn a_process_is_on_trial_once_and_until_the_last_probes_have_passed() {
        let key = Proc::default().process(std::process::id()).unwrap();
        let (first, second) = (Instant::now(), Instant::now() + TRIAL);
        let mut on_trial = Vec::new();
        OnTrial::put(&mut on_trial, key, first);
        let status = |on_trial: &[OnTrial]| on_trial[0].process.as_ref().map(AsRawFd::as_raw_fd);
        let before = status(&on_trial);
        OnTrial::put(&mut on_trial, key, second);
        assert_eq!(on_trial.iter().map(|one| one.until).collect::<Vec<_>>(), [second]);
        assert!(before.is_some());
        assert_eq!(status(&on_trial), before);
    }
}
