//! What tells a site where the kernel has no cookies: the process and the address there.

use std::collections::HashMap as StdHashMap;

use aya::maps::{HashMap, MapData};
use lightfoot_probes_abi::{Cookie, Site};

use super::{AttachError, MAX_SITES, map_error};

/// The sites of all watched processes.
pub(super) struct Addresses {
    map: HashMap<MapData, Site, u64>,
    by_process: StdHashMap<u32, Vec<u64>>,
}

impl Addresses {
    pub(super) fn new(map: HashMap<MapData, Site, u64>) -> Self {
        Self { map, by_process: StdHashMap::new() }
    }

    /// Says what a process's sites mean.
    pub(super) fn insert(
        &mut self,
        pid: u32,
        sites: impl Iterator<Item = (u64, Cookie)>,
    ) -> Result<(), AttachError> {
        let mut used: usize = self.by_process.values().map(Vec::len).sum();
        let own = self.by_process.entry(pid).or_default();
        for (address, cookie) in sites {
            if !own.contains(&address) {
                if used >= MAX_SITES {
                    return Err(AttachError::TooManySites);
                }
                own.push(address);
                used += 1;
            }
            self.map.insert(&site(pid, address), &cookie.0, 0).map_err(map_error("SITES"))?;
        }
        Ok(())
    }

    /// Forgets a process.
    pub(super) fn remove(&mut self, pid: u32) {
        for address in self.by_process.remove(&pid).unwrap_or_default() {
            // It can only fail if it is not there.
            let _ = self.map.remove(&site(pid, address));
        }
    }
}

fn site(tgid: u32, address: u64) -> Site {
    Site { tgid, reserved: 0, address }
}
