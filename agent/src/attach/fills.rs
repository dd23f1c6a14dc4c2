//! How full the maps are that can run full.

use aya::Pod;
use aya::maps::HashMap;

use super::{Kernel, MAX_BINARIES, MAX_HOLDERS, MAX_SITES};

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// What is in it.
    pub name: &'static str,
    /// Its elements.
    pub entries: usize,
    /// How many there is room for.
    pub limit: usize,
}

impl Kernel {
    /// How full each is. Those that the programs fill are walked, each at most once around: programs go on meanwhile, so what comes or
    /// goes just then may be counted or not. Of those that drop their oldest nothing is told, for they never refuse anything.
    pub fn fills(&self) -> Vec<MapFill> {
        let wide = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let open_spans = wide(self.sizes.open_spans);
        let kept = wide(self.sizes.kept());
        let callers = wide(self.sizes.callers);
        let processes = wide(self.counter_slots.limit());
        let fill = |name, entries, limit| MapFill { name, entries, limit };
        let mut fills = vec![
            fill("open_spans", walk(&self.in_flight, open_spans), open_spans),
            fill("connections", walk(&self.kept, kept), kept),
            fill("callers", walk(&self.callers, callers), callers),
            fill("context_types", walk(&self.holders, MAX_HOLDERS), MAX_HOLDERS),
            fill("processes", processes.saturating_sub(self.counter_slots.free()), processes),
            fill("binaries", wide(MAX_BINARIES).saturating_sub(self.layout_slots.free()), wide(MAX_BINARIES)),
        ];
        if let Some(addresses) = &self.addresses {
            fills.push(fill("sites", MAX_SITES.saturating_sub(addresses.room()), MAX_SITES));
        }
        fills
    }
}

/// How many elements a map has. A walk begins again where an element is removed under it, and ends at the limit.
fn walk<K: Pod, V: Pod>(map: &HashMap<aya::maps::MapData, K, V>, limit: usize) -> usize {
    map.keys().map_while(Result::ok).take(limit).count()
}
