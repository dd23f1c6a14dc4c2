//! What the kernel asks of whoever watches: the capabilities that this process has, and keeps.

use std::io;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use serde::Serialize;

/// Bits of a capability set (include/uapi/linux/capability.h).
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const KILL: u32 = 5;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// What is lost without those that all else builds on.
const NOTHING: &str = "nothing can be watched";
/// What is lost without those that only other users' processes take.
const OTHERS: &str = "the processes of other users cannot be watched";

/// A capability that watching takes, and whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name, as in capabilities(7).
    pub name: &'static str,
    /// Whether it is in the effective set, or another one that stands for it.
    pub is_there: bool,
    /// Whether nothing at all can be watched without it.
    pub is_needed: bool,
    /// What is lost without it.
    pub lost: &'static str,
}

/// What a capability is of use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Purpose {
    /// Its name, as in capabilities(7).
    pub name: &'static str,
    /// Its number in a set.
    #[serde(skip)]
    bit: u32,
    /// The set of what stands for it.
    #[serde(skip)]
    instead: u64,
    /// What it is used for.
    pub why: &'static str,
    /// What is lost without it.
    pub lost: &'static str,
}

impl Purpose {
    /// Whether a set has it.
    pub fn is_in(self, set: u64) -> bool {
        set & 1 << self.bit != 0
    }
}

/// All that are of any use; the first four are enough where there is `uprobe_multi`.
pub const PURPOSES: [Purpose; 7] = [
    Purpose {
        name: "CAP_BPF",
        bit: BPF,
        instead: 1 << SYS_ADMIN,
        why: "to load BPF programs and maps",
        lost: NOTHING,
    },
    Purpose {
        name: "CAP_PERFMON",
        bit: PERFMON,
        instead: 1 << SYS_ADMIN,
        why: "to place probes",
        lost: NOTHING,
    },
    Purpose {
        name: "CAP_SYS_PTRACE",
        bit: SYS_PTRACE,
        instead: 0,
        why: "to read the memory and environment of processes, and the files that they run",
        lost: OTHERS,
    },
    // Their memory and environment are files that only their user may read.
    Purpose {
        name: "CAP_DAC_READ_SEARCH",
        bit: DAC_READ_SEARCH,
        instead: 1 << DAC_OVERRIDE,
        why: "to open the files of other users' processes",
        lost: OTHERS,
    },
    Purpose {
        name: "CAP_SYS_ADMIN",
        bit: SYS_ADMIN,
        instead: 0,
        why: "to open uprobes as perf events on some kernels, and for `--propagate`",
        lost: "these two do not work, where there is no `uprobe_multi` on many kernels nothing does",
    },
    Purpose {
        name: "CAP_DAC_OVERRIDE",
        bit: DAC_OVERRIDE,
        instead: 0,
        why: "to write the files of tracefs as another user than root, and a mark in another user's folder",
        lost: "these are not written",
    },
    Purpose {
        name: "CAP_KILL",
        bit: KILL,
        instead: 0,
        why: "to pass signals on to a command that was started as the user who called sudo",
        lost: "such a command gets none",
    },
];

/// Those that watching takes in any case.
fn usual() -> [Purpose; 4] {
    let [bpf, perfmon, ptrace, search, ..] = PURPOSES;
    [bpf, perfmon, ptrace, search]
}

/// This thread's effective set; `None` if the kernel does not tell.
pub fn effective() -> Option<u64> {
    Some(capabilities(None).ok()?.effective.bits())
}

/// Whether a process may load BPF programs.
pub fn may_load_programs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let sets = pid.and_then(|pid| capabilities(Some(pid)).ok());
    sets.is_some_and(|sets| sets.effective.bits() & (1 << BPF | 1 << SYS_ADMIN) != 0)
}

/// What watching takes, of a set.
pub fn of(effective: u64) -> [Capability; 4] {
    usual().map(|Purpose { name, bit, instead, lost, .. }| {
        let is_there = effective & (1 << bit | instead) != 0;
        Capability { name, is_there, is_needed: lost == NOTHING, lost }
    })
}

/// Whether CAP_SYS_ADMIN is there, which perf events take on some kernels.
pub fn has_sys_admin(effective: u64) -> bool {
    effective & 1 << SYS_ADMIN != 0
}

/// What makes a running agent need more than what watching takes anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Perf events are opened, or programs loaded that write to other processes.
    pub sys_admin: bool,
    /// Files are written that may belong to another user: those of tracefs, or a mark.
    pub dac_override: bool,
    /// Signals go to a command that may be another user's.
    pub kill: bool,
}

/// What is kept of a set once everything is loaded: what is needed, and of what is missing what stands for it.
pub fn kept(permitted: u64, needs: Needs) -> u64 {
    let usual = usual().map(|one| if one.is_in(permitted) { 1 << one.bit } else { one.instead });
    let further = [(SYS_ADMIN, needs.sys_admin), (DAC_OVERRIDE, needs.dac_override), (KILL, needs.kill)];
    let further = further.into_iter().filter(|(_, is_needed)| *is_needed).map(|(bit, _)| 1 << bit);
    permitted & usual.into_iter().chain(further).fold(0, |set, of| set | of)
}

/// What a thread keeps that closes probes: it removes events of tracefs.
pub const OF_CLOSER: u64 = 1 << DAC_OVERRIDE;

/// What a thread of the runtime's pool keeps, where hosts are asked for by name and files are read.
pub const OF_POOL: u64 = 1 << DAC_READ_SEARCH;

/// What this thread may have.
pub fn permitted() -> io::Result<u64> {
    Ok(capabilities(None)?.permitted.bits())
}

/// Drops what is not in `kept` from all sets of this thread, and has no program that it executes get any. Threads that it starts
/// later are like it; those that run already are not.
///
/// The bounding set stays as it is without CAP_SETPCAP, and is of no use then: nothing is gained by executing anything.
pub fn drop_but(kept: u64) -> io::Result<()> {
    for bit in (0..u64::BITS).filter(|bit| kept & 1 << bit == 0) {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // It may not, or the kernel knows no more of them.
            Err(Errno::PERM | Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    clear_ambient_capability_set()?;
    let kept = CapabilitySet::from_bits_retain(kept & permitted()?);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    Ok(set_no_new_privs(true)?)
}

/// The same at the start of a thread of its own. Where it cannot, the thread that watches cannot either, and says so.
pub fn keep_in_thread(kept: u64) {
    let _ = drop_but(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(effective: u64) -> Vec<&'static str> {
        of(effective).iter().filter(|capability| !capability.is_there).map(|one| one.name).collect()
    }

    #[test]
    fn sys_admin_stands_for_the_newer_ones() {
        assert_eq!(missing(u64::MAX), [""; 0]);
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(missing(1 << SYS_ADMIN | 1 << DAC_OVERRIDE), ["CAP_SYS_PTRACE"]);
        assert_eq!(missing(1 << BPF | 1 << PERFMON | 1 << SYS_PTRACE | 1 << DAC_READ_SEARCH), [""; 0]);
        assert!(has_sys_admin(1 << SYS_ADMIN) && !has_sys_admin(!(1 << SYS_ADMIN)));
    }

    #[test]
    fn what_is_needed_is_kept_and_what_stands_for_the_missing() {
        let usual = 1 << BPF | 1 << PERFMON | 1 << SYS_PTRACE | 1 << DAC_READ_SEARCH;
        let none = Needs::default();
        assert_eq!(kept(u64::MAX, none), usual);
        assert_eq!(kept(usual, Needs { sys_admin: true, dac_override: true, kill: true }), usual);
        assert_eq!(kept(u64::MAX, Needs { sys_admin: true, ..none }), usual | 1 << SYS_ADMIN);
        assert_eq!(kept(u64::MAX, Needs { dac_override: true, ..none }), usual | 1 << DAC_OVERRIDE);
        assert_eq!(kept(u64::MAX, Needs { kill: true, ..none }), usual | 1 << KILL);
        let old = 1 << SYS_ADMIN | 1 << DAC_OVERRIDE | 1 << KILL;
        assert_eq!(kept(old, none), 1 << SYS_ADMIN | 1 << DAC_OVERRIDE);
    }
}
