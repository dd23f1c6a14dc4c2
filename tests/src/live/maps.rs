//! The maps that an agent shares with its programs.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapInfo, loaded_maps};

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
