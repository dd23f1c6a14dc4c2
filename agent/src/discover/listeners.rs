//! The ports on which a process accepts connections.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::Proc;

/// At most so many bytes of a socket table are read: some 100,000 sockets.
const MAX_TABLE: u64 = 16 << 20;
/// At most so many descriptors of a process are looked at.
const MAX_DESCRIPTORS: usize = 65_536;
/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: &str = "0A";

impl Proc {
    /// The TCP ports, in its own network namespace, on which the process listens.
    pub fn listening_ports(&self, pid: u32) -> HashSet<u16> {
        let folder = self.folder(pid);
        let listening: Vec<_> = ["net/tcp", "net/tcp6"]
            .iter()
            .flat_map(|table| listening_sockets(&read_bounded(&folder.join(table))))
            .collect();
        if listening.is_empty() {
            return HashSet::new();
        }
        let own = own_sockets(&folder.join("fd"));
        listening.into_iter().filter(|(_, inode)| own.contains(inode)).map(|(port, _)| port).collect()
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

fn read_bounded(path: &Path) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        // Cut in the midst of a line, the line is no socket; what was read before stays.
        let _ = file.take(MAX_TABLE).read_to_string(&mut text);
    }
    text
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
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(Proc::default().listening_ports(std::process::id()).contains(&port));
        drop(listener);
        assert!(!Proc::default().listening_ports(std::process::id()).contains(&port));
    }
}
