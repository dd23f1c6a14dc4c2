//! A client that sends exactly the bytes that it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A keep-alive connection.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    /// How many connections were opened.
    pub(crate) connections: u64,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, connections: 0 }
    }

    /// Sends a request and reads the response; `None` if the server closed the connection without one.
    pub(crate) fn send(&mut self, request: &[u8]) -> Option<u16> {
        let connection = self.connection.get_or_insert_with(|| {
            self.connections += 1;
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_nodelay(true).unwrap();
            BufReader::new(stream)
        });
        connection.get_mut().write_all(request).unwrap();
        let is_head = request.starts_with(b"HEAD ");
        let response = read_response(connection, is_head);
        if response.is_none_or(|(_, close)| close) {
            self.connection = None;
        }
        response.map(|(status, _)| status)
    }

    /// A plain GET with further header lines, each ended by CR LF.
    pub(crate) fn get(&mut self, target: &str, headers: &str) -> Option<u16> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: example.test\r\n{headers}\r\n").as_bytes())
    }
}

/// Reads one response; returns its status and whether the connection is of no more use.
fn read_response(connection: &mut BufReader<TcpStream>, is_head: bool) -> Option<(u16, bool)> {
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut chunked, mut close) = (0, false, false);
        loop {
            line.clear();
            connection.read_line(&mut line).unwrap();
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            chunked |= lower == "transfer-encoding: chunked";
            close |= lower == "connection: close";
        }
        if status < 200 {
            continue;
        }
        if !is_head && chunked {
            loop {
                line.clear();
                connection.read_line(&mut line).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).ok()?;
                connection.read_exact(&mut vec![0; size + 2]).ok()?;
                if size == 0 {
                    break;
                }
            }
        } else if !is_head {
            connection.read_exact(&mut vec![0; length]).ok()?;
        }
        return Some((status, close));
    }
}
