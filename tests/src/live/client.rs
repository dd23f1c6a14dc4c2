//! Requests, byte by byte.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::PATIENCE;

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

/// A request over a connection of its own; the status.
pub fn get(address: SocketAddr, path: &str) -> io::Result<u16> {
    Client::tcp(address).status(path, "Connection: close\r\n")
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

    /// A plain GET, of which only the status matters.
    pub fn status(&mut self, target: &str, headers: &str) -> io::Result<u16> {
        let response = self.get(target, headers)?;
        Ok(response.ok_or(io::ErrorKind::UnexpectedEof)?.status)
    }

    /// A plain GET of which only the head of the response is read, the body being still to come: the status.
    pub fn begin(&mut self, target: &str) -> io::Result<u16> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: host.test\r\n\r\n").as_bytes())?;
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let head = read_head(connection)?;
        Ok(head.ok_or(io::ErrorKind::UnexpectedEof)?.status)
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
        let (response, is_last) = read_response(connection, to_head)?;
        if is_last {
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
        let timeout = Some(PATIENCE);
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

/// What stands before the body.
struct Head {
    status: u16,
    length: Option<u64>,
    is_chunked: bool,
    is_last: bool,
}

fn read_head(input: &mut impl io::BufRead) -> io::Result<Option<Head>> {
    let first = line(input)?;
    let Some(status) = first.split(' ').nth(1).and_then(|text| text.parse().ok()) else { return Ok(None) };
    let mut head = Head { status, length: None, is_chunked: false, is_last: false };
    loop {
        let header = line(input)?.to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => head.length = value.parse().ok(),
            Some(("transfer-encoding", value)) => head.is_chunked = value == "chunked",
            Some(("connection", value)) => head.is_last = value == "close",
            Some(_) => {}
            None => return Ok(Some(head)),
        }
    }
}

/// The response, and whether the connection is of no more use.
fn read_response(input: &mut impl io::BufRead, to_head: bool) -> io::Result<(Option<Response>, bool)> {
    let mut informational = Vec::new();
    loop {
        let Some(head) = read_head(input)? else { return Ok((None, true)) };
        let (status, mut is_last) = (head.status, head.is_last);
        if (100..200).contains(&status) && status != 101 {
            informational.push(status);
            continue;
        }
        let body = match head.length {
            _ if to_head && status != 101 || matches!(status, 204 | 304) => 0,
            _ if head.is_chunked => chunks(input)?,
            Some(length) => io::copy(&mut input.take(length), &mut io::sink())?,
            None => {
                is_last = true;
                io::copy(input, &mut io::sink())?
            }
        };
        return Ok((Some(Response { status, informational, body }), is_last));
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
