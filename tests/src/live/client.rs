//! Requests, byte by byte.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::{PATIENCE, slowness};

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
    /// The headers, names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
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
        let timeout = Some(PATIENCE * slowness());
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
    headers: Vec<(String, String)>,
    length: Option<u64>,
    is_chunked: bool,
    is_last: bool,
}

fn read_head(input: &mut impl io::BufRead) -> io::Result<Option<Head>> {
    let first = line(input)?;
    let Some(status) = first.split(' ').nth(1).and_then(|text| text.parse().ok()) else { return Ok(None) };
    let mut head = Head { status, headers: Vec::new(), length: None, is_chunked: false, is_last: false };
    loop {
        let header = line(input)?;
        let Some((name, value)) = header.split_once(": ") else { return Ok(Some(head)) };
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "content-length" => head.length = value.parse().ok(),
            "transfer-encoding" => head.is_chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => head.is_last = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
        head.headers.push((name, value.to_owned()));
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
            _ if to_head && status != 101 || matches!(status, 204 | 304) => Vec::new(),
            _ if head.is_chunked => chunks(input)?,
            Some(length) => exactly(input, length)?,
            None => {
                is_last = true;
                let mut body = Vec::new();
                input.read_to_end(&mut body)?;
                body
            }
        };
        return Ok((Some(Response { status, informational, headers: head.headers, body }), is_last));
    }
}

fn chunks(input: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = u64::from_str_radix(&line(input)?, 16).map_err(io::Error::other)?;
        body.extend(exactly(input, size)?);
        line(input)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// So many bytes, or an error: a body that ends early is no body.
fn exactly(input: &mut impl io::BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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
