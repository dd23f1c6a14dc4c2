//! What the kernel asks of whoever watches.

use std::fs;

use anyhow::bail;

use crate::cli::report::say;

/// Bits of a capability set (include/uapi/linux/capability.h).
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Fails if nothing could be watched, and warns if not everything could.
pub(super) fn check() -> anyhow::Result<()> {
    // Where it cannot be read, the kernel will say what it does not like.
    let Some(effective) = fs::read_to_string("/proc/self/status").ok().and_then(|status| effective(&status))
    else {
        return Ok(());
    };
    let missing = missing(effective);
    if missing.contains(&"CAP_BPF") || missing.contains(&"CAP_PERFMON") {
        bail!(
            "cannot watch anything without {}: run it as root (sudo lightfoot run), or with CAP_BPF, CAP_PERFMON, \
             CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            missing.join(", ")
        );
    }
    if !missing.is_empty() {
        say(
            "warning",
            &format!("without {} the processes of other users cannot be watched", missing.join(", ")),
        );
    }
    Ok(())
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective & 1 << bit != 0;
    let needed = [
        ("CAP_BPF", has(BPF) || has(SYS_ADMIN)),
        ("CAP_PERFMON", has(PERFMON) || has(SYS_ADMIN)),
        ("CAP_SYS_PTRACE", has(SYS_PTRACE)),
        // Their memory and environment are files that only their user may read.
        ("CAP_DAC_READ_SEARCH", has(DAC_READ_SEARCH) || has(DAC_OVERRIDE)),
    ];
    needed.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
}

/// The effective set as in proc_pid_status(5).
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_sys_admin_stands_for_the_newer_ones() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\nCapBnd:\t1\n";
        assert_eq!(effective(status).map(missing), Some(vec![]));
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(missing(1 << SYS_ADMIN | 1 << DAC_OVERRIDE), ["CAP_SYS_PTRACE"]);
        assert_eq!(missing(1 << BPF | 1 << PERFMON | 1 << SYS_PTRACE | 1 << DAC_READ_SEARCH), [""; 0]);
        assert_eq!(effective("CapEff: x"), None);
    }
}
