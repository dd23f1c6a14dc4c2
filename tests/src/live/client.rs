//! Requests, byte by byte.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Sends requests over one connection after the other: the next is opened when the server has closed the last.
pub struct Client {
    server: Address,
    connection: Option<BufReader<Box<dyn Stream>>>,
    /// How many connections were opened.
    pub connections: u64,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The final status.
    pub status: u16,
    /// The informational ones before it.
    pub informational: Vec<u16>,
    /// The bytes of the body, transfer coding removed.
    pub body: u64,
}

enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

trait Stream: Read + Write + Send {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

impl Client {
    /// A client of a TCP server.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { server: Address::Tcp(address), connection: None, connections: 0 }
    }

    /// A client of a server on a unix socket.
    pub fn unix(path: PathBuf) -> Self {
        Self { server: Address::Unix(path), connection: None, connections: 0 }
    }

    /// A plain GET; each of the headers ends with CR LF.
    pub fn get(&mut self, target: &str, headers: &str) -> io::Result<Option<Response>> {
        self.exchange(format!("GET {target} HTTP/1.1\r\nHost: host.test\r\n{headers}\r\n").as_bytes())
    }

    /// Sends a request and reads its response; `None` if the connection ends without one.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Option<Response>> {
        self.send(request)?;
        self.receive(request.starts_with(b"HEAD "))
    }

    /// Sends bytes: part of a request, or several.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                self.connections += 1;
                none.insert(BufReader::new(self.server.connect()?))
            }
        };
        connection.get_mut().write_all(bytes)
    }

    /// Reads the next response; one to HEAD has no body.
    pub fn receive(&mut self, to_head: bool) -> io::Result<Option<Response>> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let (response, is_over) = read_response(connection, to_head)?;
        if is_over {
            self.connection = None;
        }
        Ok(response)
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        self.connection = None;
    }
}

impl Address {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        // A server that does not answer fails a test instead of stopping it.
        let timeout = Some(Duration::from_secs(60));
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(timeout)?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(timeout)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// The response, and whether the connection is of no more use.
fn read_response(input: &mut impl io::BufRead, to_head: bool) -> io::Result<(Option<Response>, bool)> {
    let mut informational = Vec::new();
    loop {
        let first = line(input)?;
        let Some(status) = first.split(' ').nth(1).and_then(|text| text.parse().ok()) else {
            return Ok((None, true));
        };
        let (mut length, mut is_chunked, mut is_over) = (None, false, false);
        loop {
            let header = line(input)?.to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok(),
                Some(("transfer-encoding", value)) => is_chunked = value == "chunked",
                Some(("connection", value)) => is_over = value == "close",
                Some(_) => {}
                None => break,
            }
        }
        if (100..200).contains(&status) && status != 101 {
            informational.push(status);
            continue;
        }
        let body = match length {
            _ if to_head && status != 101 || matches!(status, 204 | 304) => 0,
            _ if is_chunked => chunks(input)?,
            Some(length) => io::copy(&mut input.take(length), &mut io::sink())?,
            None => {
                is_over = true;
                io::copy(input, &mut io::sink())?
            }
        };
        return Ok((Some(Response { status, informational, body }), is_over));
    }
}

fn chunks(input: &mut impl io::BufRead) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let size = u64::from_str_radix(&line(input)?, 16).map_err(io::Error::other)?;
        total += io::copy(&mut input.take(size), &mut io::sink())?;
        line(input)?;
        if size == 0 {
            return Ok(total);
        }
    }
}

/// A line without its end; empty at the end of the stream.
fn line(input: &mut impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    match input.read_line(&mut line) {
        // A server that closes with bytes unread resets the connection.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(String::new()),
        read => read.map(|_| line.trim_end().to_owned()),
    }
}
