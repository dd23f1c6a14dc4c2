//! The ports on which a process accepts connections.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Proc, Selection};

/// At most so many bytes of a socket table are read: some 100,000 sockets.
const MAX_TABLE: u64 = 16 << 20;
/// At most so many descriptors of a process are looked at.
const MAX_DESCRIPTORS: usize = 65_536;
/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Where a process listens, as far as it decides anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// On which of the ports that rules and flags name, in its own network namespace.
    pub ports: HashSet<u16>,
    /// Whether it accepts what is sent to the endpoint for spans.
    pub is_endpoint: bool,
}

/// Who listens where, at one moment: the table of a network namespace is read once for all of its processes.
#[derive(Debug)]
pub struct Listeners<'a> {
    proc: &'a Proc,
    wanted: HashSet<u16>,
    endpoint: Vec<SocketAddr>,
    /// The inode of our own network namespace.
    own: Option<u64>,
    /// By the inode of the network namespace: the sockets that listen on a port that matters.
    tables: HashMap<u64, Vec<Socket>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: SocketAddr,
    inode: u64,
}

impl<'a> Listeners<'a> {
    /// Those that decide anything for this selection.
    pub fn new(proc: &'a Proc, selection: &Selection) -> Self {
        let own = fs::metadata("/proc/self/ns/net").ok().map(|namespace| namespace.ino());
        let (wanted, endpoint) = (selection.relevant_ports(), selection.endpoint.clone());
        Self { proc, wanted, endpoint, own, tables: HashMap::new() }
    }

    /// Where a process listens.
    pub fn of(&mut self, pid: u32) -> Listening {
        if self.wanted.is_empty() && self.endpoint.is_empty() {
            return Listening::default();
        }
        let folder = self.proc.folder(pid);
        let Ok(namespace) = fs::metadata(folder.join("ns/net")) else { return Listening::default() };
        if !self.tables.contains_key(&namespace.ino()) {
            // A process that has gone must not speak for the others.
            let Ok(table) = read_bounded(&folder.join("net/tcp")) else { return Listening::default() };
            // Absent where the kernel has no IPv6.
            let table6 = read_bounded(&folder.join("net/tcp6")).unwrap_or_default();
            let mut listening = listening_sockets(&table);
            listening.extend(listening_sockets(&table6));
            listening.retain(|socket| self.matters(socket.address.port()));
            self.tables.insert(namespace.ino(), listening);
        }
        let Some(table) = self.tables.get(&namespace.ino()) else { return Listening::default() };
        if table.is_empty() {
            return Listening::default();
        }
        let descriptors = own_sockets(&folder.join("fd"));
        let sockets = || table.iter().filter(|socket| descriptors.contains(&socket.inode));
        let is_here = self.own == Some(namespace.ino());
        Listening {
            ports: sockets()
                .map(|socket| socket.address.port())
                .filter(|port| self.wanted.contains(port))
                .collect(),
            is_endpoint: sockets().any(|socket| receives(&self.endpoint, socket.address, is_here)),
        }
    }

    fn matters(&self, port: u16) -> bool {
        self.wanted.contains(&port) || self.endpoint.iter().any(|endpoint| endpoint.port() == port)
    }
}

/// Whether a socket that listens at this address gets what is sent to the endpoint. Addresses can be compared in our own network
/// namespace only: a port that is forwarded to another one reaches any address there.
fn receives(endpoint: &[SocketAddr], listens: SocketAddr, is_here: bool) -> bool {
    let ip = listens.ip().to_canonical();
    endpoint.iter().any(|endpoint| {
        listens.port() == endpoint.port()
            && (!is_here
                || ip.is_unspecified()
                || ip == endpoint.ip().to_canonical()
                // What is sent to no address in particular goes to this machine (`ip_route_output_key_hash_rcu` in net/ipv4/route.c).
                || endpoint.ip().is_unspecified() && ip.is_loopback())
    })
}

/// The listening sockets of a table as in proc_pid_net(5).
fn listening_sockets(table: &str) -> Vec<Socket> {
    let lines = table.lines().skip(1);
    let socket = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (address, port) = local.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let is_listening = *state == LISTEN;
        let address = SocketAddr::new(ip(address)?, port);
        is_listening.then_some(Socket { address, inode: inode.parse().ok()? })
    };
    lines.filter_map(socket).collect()
}

/// Each 32 bits of it are written as a number of this machine (`get_tcp4_sock` in net/ipv4/tcp_ipv4.c, `get_tcp6_sock` in
/// net/ipv6/tcp_ipv6.c).
fn ip(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at * 8..at * 8 + 8)?, 16).ok();
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *part = word(at)?.to_ne_bytes();
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
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
    fs::File::open(path)?.take(MAX_TABLE).read_to_string(&mut text)?;
    // A line that is cut could name another socket; those before it stay.
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 x\n\
            \x20  1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 x\n\
            \x20  2: 0000000000000000FFFF00000200007F:1F92 00000000000000000000000000000000:0000 0A \
            00000000:00000000 00:00000000 00000000     0        0 4244 1 x\n\
            \x20  3: 0100é7F:1F93 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4245 1 x\n\
            \x20  4: cut";
        let socket = |address: &str, inode| Socket { address: address.parse().unwrap(), inode };
        let expected = [socket("127.0.0.1:8080", 4242), socket("[::ffff:127.0.0.2]:8082", 4244)];
        assert_eq!(listening_sockets(table), expected);
        assert_eq!(listening_sockets(""), []);
    }

    #[test]
    fn who_listens_on_the_port_of_the_endpoint_at_another_address_here_does_not_receive_from_us() {
        let endpoint: [SocketAddr; 2] = ["127.0.0.1:4317", "[::1]:4317"].map(|text| text.parse().unwrap());
        let of = |address: &str, is_here| receives(&endpoint, address.parse().unwrap(), is_here);
        for address in
            ["127.0.0.1:4317", "[::1]:4317", "0.0.0.0:4317", "[::]:4317", "[::ffff:127.0.0.1]:4317"]
        {
            assert!(of(address, true), "{address}");
        }
        for address in ["127.0.0.2:4317", "[::2]:4317", "[::ffff:127.0.0.2]:4317"] {
            assert!(!of(address, true), "{address}");
            assert!(of(address, false), "{address}: a port may be forwarded to it");
        }
        assert!(!of("127.0.0.1:4318", true) && !of("127.0.0.1:4318", false));
        let anywhere: [SocketAddr; 2] = ["0.0.0.0:4317", "[::]:4317"].map(|text| text.parse().unwrap());
        let of = |address: &str| receives(&anywhere, address.parse().unwrap(), true);
        assert!(of("127.0.0.1:4317") && of("[::1]:4317") && of("0.0.0.0:4317") && !of("192.0.2.1:4317"));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_table_is_read_up_to_its_bound_and_no_line_that_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tcp");
        let line = "   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4242\n";
        let room = usize::try_from(MAX_TABLE).unwrap() - line.len();
        for beyond in [0, 1, 2] {
            let others = format!("{}\n", "x".repeat(room - 1 + beyond));
            fs::write(&path, [&others, line, line].concat()).unwrap();
            let found = listening_sockets(&read_bounded(&path).unwrap());
            let found: Vec<_> = found.iter().map(|socket| socket.inode).collect();
            assert_eq!(found, [4242][..usize::from(beyond == 0)], "{beyond}");
        }
    }

    #[test]
    fn so_many_files_of_a_process_are_looked_at_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let open = |number: usize| {
            let socket = format!("socket:[{number}]");
            std::os::unix::fs::symlink(socket, folder.path().join(number.to_string())).unwrap();
        };
        (0..MAX_DESCRIPTORS).for_each(open);
        assert_eq!(own_sockets(folder.path()).len(), MAX_DESCRIPTORS);
        open(MAX_DESCRIPTORS);
        assert_eq!(own_sockets(folder.path()).len(), MAX_DESCRIPTORS);
    }

    #[test]
    fn our_own_listener_is_found_by_its_port() {
        let [listener, other] = [0, 0].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
        let address = listener.local_addr().unwrap();
        let (port, proc) = (address.port(), Proc::default());
        let of = |ports: &[u16], endpoint: &[SocketAddr]| {
            let selection = Selection {
                ports: ports.iter().copied().collect(),
                endpoint: endpoint.to_vec(),
                ..Selection::default()
            };
            let mut listeners = Listeners::new(&proc, &selection);
            let found = listeners.of(std::process::id());
            assert_eq!(listeners.of(std::process::id()), found, "the second time");
            found
        };
        assert_eq!(of(&[port, 1], &[]), Listening { ports: [port].into(), is_endpoint: false });
        assert_eq!(of(&[], &[address]), Listening { ports: [].into(), is_endpoint: true });
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
        assert_eq!(of(&[port], &[elsewhere]), Listening { ports: [port].into(), is_endpoint: false });
        assert_eq!(of(&[], &[]), Listening::default(), "nothing is looked for");
        drop((listener, other));
        assert_eq!(of(&[port], &[address]), Listening::default());
    }
}
