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

    /// How many more there may be.
    pub(super) fn room(&self) -> usize {
        MAX_SITES.saturating_sub(self.by_process.values().map(Vec::len).sum())
    }

    /// Says what a process's sites mean.
    pub(super) fn insert(
        &mut self,
        pid: u32,
        sites: impl Iterator<Item = (u64, Cookie)>,
    ) -> Result<(), AttachError> {
        let mut room = self.room();
        let own = self.by_process.entry(pid).or_default();
        for (address, cookie) in sites {
            if !own.contains(&address) {
                room = room.checked_sub(1).ok_or(AttachError::TooManySites)?;
                own.push(address);
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

#[cfg(test)]
mod tests {
    use lightfoot_probes_abi::{Cookie, SiteKind};

    use super::MAX_SITES;
    use crate::attach::{AttachError, Kernel, Method, Sizes};

    #[test]
    fn sites_beyond_the_limit_are_refused_and_those_of_a_process_that_is_left_make_room() {
        let sizes = Sizes {
            ring_bytes: 4096,
            open_spans: 1,
            contexts: 1,
            callers: 1,
            processes: 1,
            connected: 1,
            counted_streams: 1,
            counts_reads: false,
        };
        let loaded = lightfoot_probes::OBJECT.map_err(|absent| absent.to_string()).and_then(|object| {
            Kernel::load(object, &[Method::PerfEventByAddress], sizes).map_err(|error| error.to_string())
        });
        let (mut kernel, _ring) = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                assert!(!rustix::process::geteuid().is_root() || lightfoot_probes::OBJECT.is_err(), "{why}");
                println!("skipped: {why}");
                return;
            }
        };
        let addresses = kernel.addresses.as_mut().unwrap();
        let cookie = Cookie::new(1, SiteKind::HttpServerStart);
        let sites = |count| (0..count as u64).map(move |address| (address, cookie));
        addresses.insert(1, sites(MAX_SITES - 1)).unwrap();
        addresses.insert(1, sites(MAX_SITES - 1)).unwrap();
        addresses.insert(2, sites(1)).unwrap();
        assert!(matches!(addresses.insert(3, sites(1)), Err(AttachError::TooManySites)));
        addresses.remove(3);
        addresses.remove(2);
        addresses.insert(3, sites(1)).unwrap();
        assert_eq!(addresses.map.keys().count(), MAX_SITES);
    }
}
