//! What an agent takes that watches nothing at the moment.

use std::fs;
use std::io;

use lightfoot_probes_abi::{Connected, Holder, HolderKey, InFlight, InFlightKey, Process, Site};
use lightfoot_tests::live::{hash_map, resident};

/// Sizes in KiB.
#[derive(Debug)]
pub(crate) struct Cost {
    memory: u64,
    /// Open files that are no sockets.
    descriptors: usize,
    sockets: usize,
    threads: usize,
}

/// By how much memory may differ, in KiB: what the allocator keeps of one round or of another.
const SLACK: u64 = 2_048;

/// What is open from the first span on: what the thread that exports waits by.
const EXPORT: usize = 4;
/// Connections to the endpoint that the client keeps: as many as requests are under way at once (`MAX_AT_ONCE`, agent/src/deliver/export.rs).
const CONNECTIONS: usize = 8;
/// A thread that asks for names of hosts comes and goes.
const NAMES: usize = 1;

impl Cost {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let parts = resident(pid).map_err(io::Error::other)?;
        let open = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
        let is_socket =
            |file: fs::DirEntry| Some(fs::read_link(file.path()).ok()?.to_str()?.starts_with("socket:"));
        let (sockets, others): (Vec<_>, Vec<_>) =
            open.filter_map(is_socket).partition(|is_socket| *is_socket);
        let (sockets, descriptors) = (sockets.len(), others.len());
        let threads = fs::read_dir(format!("/proc/{pid}/task"))?.count();
        Ok(Self { memory: parts.values().sum(), descriptors, sockets, threads })
    }

    /// Whether there are no more files open and no more threads than at first.
    pub(crate) fn is_given_back(&self, first: &Self) -> bool {
        let has_files = self.descriptors <= first.descriptors + EXPORT && self.has_sockets_of(first);
        has_files && self.has_threads_of(first)
    }

    /// Whether there are no more sockets than at first and connections that are kept.
    pub(crate) fn has_sockets_of(&self, first: &Self) -> bool {
        self.sockets <= first.sockets + CONNECTIONS
    }

    /// Whether there are no more threads than at first.
    pub(crate) fn has_threads_of(&self, first: &Self) -> bool {
        self.threads <= first.threads + NAMES
    }
}

/// Fails if the last third took more memory than the second one.
pub(crate) fn assert_flat(costs: &[Cost]) {
    for cost in costs {
        println!("{cost:?}");
    }
    let third = costs.len() / 3;
    assert!(third >= 2, "there was time for {} rounds only", costs.len());
    let (before, after) = (&costs[third..2 * third], &costs[2 * third..]);
    let most = |costs: &[Cost]| costs.iter().map(|cost| cost.memory).max().unwrap();
    assert!(most(after) <= most(before) + SLACK, "it grew");
}

/// The words of an element of that table.
const CONNECTING: usize = size_of::<Connected>() / 8;

/// The tables that still have something of a process that has ended, and how much. Of the rest those that forget what is used least
/// may keep what nobody came for, such as the end of a stream; no process has them larger than they are.
pub(crate) fn entries(pid: u32) -> io::Result<Vec<(&'static str, usize)>> {
    let counts = [
        ("PROCESSES", hash_map::<u32, Process>(pid, "PROCESSES")?.keys().count()),
        ("SITES", hash_map::<Site, u64>(pid, "SITES")?.keys().count()),
        ("CALLERS", hash_map::<Site, u64>(pid, "CALLERS")?.keys().count()),
        ("IN_FLIGHT", hash_map::<InFlightKey, InFlight>(pid, "IN_FLIGHT")?.keys().count()),
        ("KEPT", hash_map::<InFlightKey, u32>(pid, "KEPT")?.keys().count()),
        ("HOLDERS", hash_map::<HolderKey, Holder>(pid, "HOLDERS")?.keys().count()),
        ("CONNECTING", hash_map::<u64, [u64; CONNECTING]>(pid, "CONNECTING")?.keys().count()),
    ];
    Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
}
