//! What the maps take of the kernel's memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Kernel;

impl Kernel {
    /// The bytes that all maps take. They are allocated as they are made, and are the same for as long as they live.
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }
}

/// The bytes of the maps that this process has open, as the kernel tells (`bpf_map_show_fdinfo`, kernel/bpf/syscall.c): before Linux
/// 6.4 what keys and values take, from then on all.
pub(super) fn of_open_maps() -> u64 {
    sum(Path::new("/proc/self/fdinfo"))
}

/// Each map counts once, however many descriptors it has.
fn sum(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let maps: BTreeMap<_, _> = texts.filter_map(|text| map(&text)).collect();
    maps.into_values().fold(0, u64::saturating_add)
}

/// The number of a map and its bytes.
fn map(told: &str) -> Option<(u64, u64)> {
    let value = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((value("map_id:")?, value("memlock:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_map_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let told =
            |id, bytes| format!("pos:\t0\nmap_type:\t27\nmemlock:\t{bytes}\nmap_id:\t{id}\nfrozen:\t0\n");
        for (file, text) in [
            ("3", told(7, 4096)),
            ("4", told(8, 512)),
            ("5", told(7, 4096)),
            ("6", "pos:\t0\nflags:\t02\n".to_owned()),
            ("7", "prog_type:\t2\nmemlock:\t8192\nprog_id:\t9\n".to_owned()),
            ("8", "map_id:\tx\nmemlock:\t1\n".to_owned()),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        assert_eq!(sum(folder.path()), 4608);
        assert_eq!(sum(&folder.path().join("none")), 0);
    }
}
