//! The maps that an agent shares with its programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::thread;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapInfo, loaded_maps};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The hash table of that name that the process holds.
pub fn hash_map<K: Pod, V: Pod>(pid: u32, name: &str) -> io::Result<HashMap<MapData, K, V>> {
    let mut held = BTreeSet::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // One that has been closed since has none.
        let text = fs::read_to_string(descriptor?.path()).unwrap_or_default();
        held.extend(text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse::<u32>().ok()));
    }
    let is_it = |map: &MapInfo| held.contains(&map.id()) && map.name_as_str() == Some(name);
    let info = loaded_maps().filter_map(Result::ok).find(is_it);
    let info = info.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no map {name}")))?;
    let map = Map::HashMap(MapData::from_id(info.id()).map_err(io::Error::other)?);
    map.try_into().map_err(io::Error::other)
}

/// Puts elements of these numbers into the hash table of that name as if the programs had: each processor a share of them, for what
/// others have put there last the kernel does not let one processor drop (kernel/bpf/bpf_lru_list.c).
pub fn fill<K: Pod, V: Pod>(
    pid: u32,
    name: &str,
    numbers: Range<u64>,
    element: impl Fn(u64) -> (K, V) + Sync,
) -> io::Result<()> {
    let processors = thread::available_parallelism()?.get();
    let put = |processor: usize| {
        let mut only = CpuSet::new();
        only.set(processor);
        sched_setaffinity(None, &only)?;
        let mut map = hash_map::<K, V>(pid, name)?;
        for number in numbers.clone().skip(processor).step_by(processors) {
            let (key, value) = element(number);
            // What was put there but once goes before what was looked at.
            for _ in 0..2 {
                map.insert(&key, &value, 0).map_err(io::Error::other)?;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let shares: Vec<_> = (0..processors).map(|processor| scope.spawn(move || put(processor))).collect();
        shares
            .into_iter()
            .try_for_each(|share| share.join().unwrap_or_else(|_| Err(io::Error::other("it panicked"))))
    })
}

/// The bytes that each map takes that the process has open, by number, as the kernel tells.
pub fn map_bytes(pid: u32) -> io::Result<BTreeMap<u32, u64>> {
    let mut bytes = BTreeMap::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // One that has been closed since has none.
        let text = fs::read_to_string(descriptor?.path()).unwrap_or_default();
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        if let (Some(id), Some(taken)) = (value("map_id:"), value("memlock:")) {
            bytes.insert(u32::try_from(id).map_err(io::Error::other)?, taken);
        }
    }
    Ok(bytes)
}
