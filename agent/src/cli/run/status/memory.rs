//! What the agent takes of memory.

use std::fs;

use crate::status::Memory;

/// What it takes now, given what its maps do.
pub(super) fn memory(map_bytes: Option<u64>) -> Memory {
    let told = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Memory { resident_bytes: resident(&told), map_bytes }
}

/// The line `VmRSS` of proc_pid_status(5), which is in KiB.
fn resident(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_read_from_what_the_kernel_tells() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   19456 kB\nRssAnon:\t 1 kB\n"), Some(19_922_944));
        for told in ["", "VmRSS:\n", "VmRSS:\tx kB\n", "VmRSS:\t7 MB\n", "VmRSS: 18446744073709551615 kB\n"] {
            assert_eq!(resident(told), None, "{told}");
        }
        assert!(memory(Some(7)).resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
    }
}
