//! The bytes of a target's code, where probes stand.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lightfoot::catalog::{Role, http2, net_http};
use lightfoot::inspect::Program as Facts;
use lightfoot::plan::Plan;

/// What a probe puts in place of a byte of code: on x86-64 the whole instruction (arch/x86/include/asm/uprobes.h), on
/// arm64 the first byte of `brk #5` (arch/arm64/include/asm/brk-imm.h).
pub const BREAKPOINT: u8 = if cfg!(target_arch = "x86_64") { 0xcc } else { 0xa0 };

/// Where the agent places probes in a binary that serves HTTP, but for the optional ones and those of clients: offsets in
/// the file, in bytes, that of the start of a request first.
pub fn probes(binary: &Path) -> io::Result<Vec<u64>> {
    let facts = Facts::inspect(binary).map_err(io::Error::other)?;
    let plan = Plan::new(&facts);
    let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
    let servers = [net_http::SERVER_1.title, http2::SERVER.title];
    let points =
        operations.filter(|plan| servers.contains(&plan.operation.title)).flat_map(|plan| &plan.points);
    let placed = points.filter(|point| point.role != Role::Route);
    let sites = placed.filter_map(|point| point.chosen.as_ref()).flat_map(|(_, sites)| sites);
    let mut offsets: Vec<_> = sites.map(|planned| planned.offset.0).collect();
    // Requests of both protocols start at the same site.
    let mut seen = BTreeSet::new();
    offsets.retain(|offset| seen.insert(*offset));
    Ok(offsets)
}

/// Where the byte at an offset of its executable lies in a process that has printed something: before, it may not be
/// mapped.
pub fn address_in(pid: u32, offset: u64) -> io::Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let address = maps.lines().filter(|line| line.contains(" r-xp ")).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, from) = (hex(start)?, hex(end)?, hex(fields.nth(1)?)?);
        (from..from + (end - start)).contains(&offset).then_some(start + (offset - from))
    });
    address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the code is not mapped"))
}

/// The bytes of a process's code at offsets of its executable, as they are now.
pub fn code_at(pid: u32, offsets: &[u64]) -> io::Result<Vec<u8>> {
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut bytes = vec![0; offsets.len()];
    for (byte, offset) in bytes.iter_mut().zip(offsets) {
        memory.read_exact_at(std::slice::from_mut(byte), address_in(pid, *offset)?)?;
    }
    Ok(bytes)
}
