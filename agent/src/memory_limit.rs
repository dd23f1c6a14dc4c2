//! The limit of the memory that our cgroup may use. BPF maps count against it, and on newer kernels what the verifier takes for a
//! moment: where that does not fit, the kernel kills us while we load, and nobody would know why.

use std::fs;
use std::path::{Path, PathBuf};

use lightfoot_probes_abi::{Connected, InFlight};
use thiserror::Error;

use crate::attach::Sizes;
use crate::quirks::{Release, VERIFIER_MEMORY};

const MIB: u64 = 1 << 20;
/// What the process itself takes until programs are loaded.
const OWN: u64 = 8 * MIB;
/// All maps but the ring buffer and the open spans.
const OTHER_MAPS: u64 = 8 * MIB;
/// A processor's share of the counts of processes.
const OF_A_PROCESSOR: u64 = 256 << 10;
/// What a map takes for an element, besides its value.
const OF_AN_ELEMENT: u64 = 64;
/// What the verifier takes at most, for the program of gRPC.
const VERIFIER: u64 = 72 * MIB;
/// What else there is for a moment: a program is read that is to be watched, and the kernel's copies of ours are made. That and
/// the verifier's are not there at once. On Linux 6.12 an agent has had 51 MiB at most, of which 37 stay.
const PASSING: u64 = 8 * MIB;
/// So much is enough for a busy agent with the settings that it has by itself.
pub const RECOMMENDED: u64 = 160 * MIB;

/// Our cgroup permits less than it takes to start, and to live through an endpoint that is down.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "this cgroup may use {} MiB of memory, and it takes {} MiB to load the BPF programs and to hold a full queue: permit {} MiB \
     (resources.limits.memory, MemoryMax=)",
    .permitted / MIB, .needed.div_ceil(MIB), RECOMMENDED.max(*.needed).div_ceil(MIB)
)]
pub struct TooLittle {
    permitted: u64,
    needed: u64,
}

/// Fails if our cgroup's limit is known and too low for these maps, and a queue of so many bytes. Returns the limit.
pub fn check(sizes: Sizes, queue_bytes: usize) -> Result<Option<u64>, TooLittle> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let permitted = permitted(&read("/proc/self/cgroup"), &read("/proc/self/mounts"));
    judge(permitted, needed(sizes, queue_bytes, Release::running()))
}

fn judge(permitted: Option<u64>, needed: u64) -> Result<Option<u64>, TooLittle> {
    match permitted {
        Some(permitted) if permitted < needed => Err(TooLittle { permitted, needed }),
        permitted => Ok(permitted),
    }
}

/// What loading takes, or a full queue after that, in bytes.
fn needed(sizes: Sizes, queue_bytes: usize, release: Option<Release>) -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let open_spans = u64::from(sizes.open_spans) * (size_of::<InFlight>() as u64 + OF_AN_ELEMENT);
    let passing = if VERIFIER_MEMORY.holds_on(release) { VERIFIER } else { PASSING };
    OWN + OTHER_MAPS
        + OF_A_PROCESSOR * processors
        + u64::from(sizes.ring_bytes)
        + open_spans
        + u64::from(sizes.connected) * (size_of::<Connected>() as u64 + OF_AN_ELEMENT)
        + passing.max(queue_bytes as u64)
}

/// The lowest limit of our cgroup and of those around it, as far as they can be seen. `cgroups` is as in cgroups(7), `mounts` as in
/// proc_pid_mounts(5).
fn permitted(cgroups: &str, mounts: &str) -> Option<u64> {
    cgroups.lines().filter_map(|line| of_hierarchy(line, mounts)).min()
}

/// That of one hierarchy: a line such as `4:memory:/shop` of version 1, or `0::/shop` of version 2.
fn of_hierarchy(line: &str, mounts: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let has_memory = |list: &str| list.split(',').any(|name| name == "memory");
    let (kind, file) = match controllers {
        "" => ("cgroup2", "memory.max"),
        list if has_memory(list) => ("cgroup", "memory.limit_in_bytes"),
        _ => return None,
    };
    let mount = mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let [_, folder, found, options, ..] = fields[..] else { return None };
        (found == kind && (kind == "cgroup2" || has_memory(options))).then(|| PathBuf::from(folder))
    })?;
    // In a container the mount may show our own cgroup as its root, and the path what the host calls it.
    let around = Path::new(path.trim_start_matches('/')).ancestors();
    around.filter_map(|path| fs::read_to_string(mount.join(path).join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::SIZES;

    #[test]
    fn the_lowest_limit_of_all_cgroups_around_us_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mounts = format!(
            "cgroup {0}/v1 cgroup rw,relatime,memory 0 0\ncgroup {0}/cpu cgroup rw,cpu 0 0\ncgroup2 {0}/v2 cgroup2 rw 0 0\n",
            root.display()
        );
        for (path, text) in [
            ("v1/memory.limit_in_bytes", "9223372036854771712\n"),
            ("v1/a/memory.limit_in_bytes", "7000\n"),
            ("v1/a/b/memory.limit_in_bytes", "8000\n"),
            ("v2/memory.max", "6000\n"),
            ("v2/c/memory.max", "max\n"),
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        let permitted = |cgroups| permitted(cgroups, &mounts);
        assert_eq!(permitted("5:cpu:/a\n4:memory:/a/b\n"), Some(7000));
        assert_eq!(permitted("4:memory,hugetlb:/\n"), Some(9_223_372_036_854_771_712));
        assert_eq!(permitted("0::/c\n"), Some(6000));
        assert_eq!(permitted("4:memory:/a\n0::/c\n"), Some(6000));
        // What the host calls it is not to be found here; the root is ours.
        assert_eq!(permitted("0::/kubepods/pod7/x\n"), Some(6000));
        assert_eq!((permitted(""), permitted("nonsense\n1:cpu:/\n")), (None, None));
    }

    #[test]
    fn less_than_loading_takes_is_refused_in_one_sentence() {
        let needed = |sizes, queue_mib: usize, minor| needed(sizes, queue_mib << 20, Some(Release(6, minor)));
        let small = needed(SIZES, 0, 1);
        assert_eq!(needed(SIZES, 0, 18) - small, VERIFIER - PASSING);
        assert_eq!(needed(Sizes { ring_bytes: SIZES.ring_bytes + 4096, ..SIZES }, 0, 1), small + 4096);
        // What loading takes is free again when the queue fills.
        assert_eq!(needed(SIZES, 8, 1), small);
        assert_eq!(needed(SIZES, 16, 1) - small, 8 * MIB);
        assert_eq!(needed(SIZES, 72, 18), needed(SIZES, 0, 18));
        assert_eq!(needed(SIZES, 73, 18), needed(SIZES, 0, 18) + MIB);
        assert_eq!((judge(None, 5), judge(Some(5), 5)), (Ok(None), Ok(Some(5))));
        let refused = judge(Some(64 * MIB), 92 * MIB).unwrap_err().to_string();
        assert!(
            refused.contains("64 MiB") && refused.contains("92 MiB") && refused.contains("160 MiB"),
            "{refused}"
        );
        assert!(judge(Some(0), 1000 * MIB).unwrap_err().to_string().contains("permit 1000 MiB"));
    }
}
