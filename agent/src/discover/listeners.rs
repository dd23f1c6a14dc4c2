//! The ports on which a process accepts connections.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Proc;

/// At most so many bytes of a socket table are read: some 100,000 sockets.
const MAX_TABLE: u64 = 16 << 20;
/// At most so many descriptors of a process are looked at.
const MAX_DESCRIPTORS: usize = 65_536;
/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Who listens where, at one moment: the table of a network namespace is read once for all of its processes.
#[derive(Debug)]
pub struct Listeners<'a> {
    proc: &'a Proc,
    wanted: HashSet<u16>,
    /// By the inode of the network namespace: port and inode of the sockets that listen on a wanted port.
    tables: HashMap<u64, Vec<(u16, u64)>>,
}

impl<'a> Listeners<'a> {
    /// Those on the `wanted` TCP ports.
    pub fn new(proc: &'a Proc, wanted: HashSet<u16>) -> Self {
        Self { proc, wanted, tables: HashMap::new() }
    }

    /// The wanted ports, in its own network namespace, on which the process listens.
    pub fn ports(&mut self, pid: u32) -> HashSet<u16> {
        if self.wanted.is_empty() {
            return HashSet::new();
        }
        let folder = self.proc.folder(pid);
        let Ok(namespace) = fs::metadata(folder.join("ns/net")) else { return HashSet::new() };
        if !self.tables.contains_key(&namespace.ino()) {
            // A process that has gone must not speak for the others.
            let Ok(table) = read_bounded(&folder.join("net/tcp")) else { return HashSet::new() };
            // Absent where the kernel has no IPv6.
            let table6 = read_bounded(&folder.join("net/tcp6")).unwrap_or_default();
            let mut listening = listening_sockets(&table);
            listening.extend(listening_sockets(&table6));
            listening.retain(|(port, _)| self.wanted.contains(port));
            self.tables.insert(namespace.ino(), listening);
        }
        let Some(table) = self.tables.get(&namespace.ino()) else { return HashSet::new() };
        if table.is_empty() {
            return HashSet::new();
        }
        let own = own_sockets(&folder.join("fd"));
        table.iter().filter(|(_, inode)| own.contains(inode)).map(|(port, _)| *port).collect()
    }
}

/// Port and inode of each listening socket in a table as in proc_pid_net(5).
fn listening_sockets(table: &str) -> Vec<(u16, u64)> {
    let lines = table.lines().skip(1);
    let socket = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, port) = local.rsplit_once(':')?;
        (*state == LISTEN).then_some((u16::from_str_radix(port, 16).ok()?, inode.parse().ok()?))
    };
    lines.filter_map(socket).collect()
}

fn own_sockets(descriptors: &Path) -> HashSet<u64> {
    let Ok(entries) = fs::read_dir(descriptors) else { return HashSet::new() };
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.take(MAX_DESCRIPTORS).filter_map(|entry| inode(entry.ok()?)).collect()
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // Cut in the midst of a line, the line is no socket; what was read before stays.
    fs::File::open(path)?.take(MAX_TABLE).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 x\n\
            \x20  1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 x\n\
            \x20  2: cut";
        assert_eq!(listening_sockets(table), [(8080, 4242)]);
        assert_eq!(listening_sockets(""), []);
    }

    #[test]
    fn our_own_listener_is_found_by_its_port() {
        let [listener, other] = [0, 0].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
        let port = listener.local_addr().unwrap().port();
        let proc = Proc::default();
        let ports = |wanted: &[u16]| {
            Listeners::new(&proc, wanted.iter().copied().collect()).ports(std::process::id())
        };
        assert_eq!(ports(&[port, 1]), [port].into());
        assert!(ports(&[]).is_empty(), "nothing is looked for");
        let mut twice = Listeners::new(&proc, [port].into());
        assert_eq!(twice.ports(std::process::id()), twice.ports(std::process::id()));
        drop((listener, other));
        assert!(ports(&[port]).is_empty());
    }
}
