//! What the kernel asks of whoever watches: the capabilities that this process has.

use std::fs;

/// Bits of a capability set (include/uapi/linux/capability.h).
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

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

/// This process's effective set; `None` if /proc does not tell.
pub fn effective() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)
}

/// What watching takes, of a set.
pub fn of(effective: u64) -> [Capability; 4] {
    let has = |bit: u32| effective & 1 << bit != 0;
    let nothing = "nothing can be watched";
    let capability = |name, is_there, is_needed, lost| Capability { name, is_there, is_needed, lost };
    [
        capability("CAP_BPF", has(BPF) || has(SYS_ADMIN), true, nothing),
        capability("CAP_PERFMON", has(PERFMON) || has(SYS_ADMIN), true, nothing),
        capability("CAP_SYS_PTRACE", has(SYS_PTRACE), false, OTHERS),
        // Their memory and environment are files that only their user may read.
        capability("CAP_DAC_READ_SEARCH", has(DAC_READ_SEARCH) || has(DAC_OVERRIDE), false, OTHERS),
    ]
}

/// Whether CAP_SYS_ADMIN is there, which perf events take on some kernels.
pub fn has_sys_admin(effective: u64) -> bool {
    effective & 1 << SYS_ADMIN != 0
}

/// The effective set as in proc_pid_status(5).
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(effective: u64) -> Vec<&'static str> {
        of(effective).iter().filter(|capability| !capability.is_there).map(|one| one.name).collect()
    }

    #[test]
    fn sets_are_read_and_sys_admin_stands_for_the_newer_ones() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\nCapBnd:\t1\n";
        assert_eq!(parse(status).map(missing), Some(vec![]));
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(missing(1 << SYS_ADMIN | 1 << DAC_OVERRIDE), ["CAP_SYS_PTRACE"]);
        assert_eq!(missing(1 << BPF | 1 << PERFMON | 1 << SYS_PTRACE | 1 << DAC_READ_SEARCH), [""; 0]);
        assert_eq!(parse("CapEff: x"), None);
        assert!(has_sys_admin(1 << SYS_ADMIN) && !has_sys_admin(!(1 << SYS_ADMIN)));
    }
}
