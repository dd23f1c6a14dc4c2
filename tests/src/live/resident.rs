//! What a process holds in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::LiveError;

/// The KiB that are resident, by what is mapped: files by the last part of their names, `[heap]` and the like, and `memory` for all else.
/// Together they are what `VmRSS` of `/proc/PID/status` says. What is mapped twice counts twice.
pub fn resident(pid: u32) -> Result<BTreeMap<String, u64>, LiveError> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read_to_string(&path).map_err(LiveError::io("reading", Path::new(&path)))?;
    let (mut parts, mut mapped) = (BTreeMap::new(), "memory");
    for line in smaps.lines() {
        let Some((first, rest)) = line.split_once(' ') else { continue };
        if first == "Rss:" {
            let size = rest.trim().trim_end_matches(" kB").parse::<u64>();
            *parts.entry(mapped.to_owned()).or_insert(0) +=
                size.map_err(|why| LiveError::line(line, &why))?;
        } else if !first.ends_with(':') {
            // Address, rights, offset, device, inode, and what it is called, if that is anything.
            let name = rest.split_whitespace().nth(4).unwrap_or_default();
            mapped = name.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("memory");
        }
    }
    Ok(parts)
}
