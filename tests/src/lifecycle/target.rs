//! A Go server in a copy of its binary that nothing else runs: probes act on every process of a file.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lightfoot::catalog::{Role, net_http};
use lightfoot::inspect::Program as Facts;
use lightfoot::plan::Plan;
use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_for};
use crate::go::{Build, BuildError, GoVersion, Mode, Program};

/// The cached binary of a program, built by one of the newer Go versions.
pub fn binary(program: Program) -> Result<PathBuf, BuildError> {
    let version = GoVersion::of_minor(26).unwrap_or(crate::go::version::NEWEST);
    Build::here(program, version, Mode::Plain).path()
}

/// A copy of a binary in a folder of its own.
pub fn copy_of(program: Program, folder: &Path, name: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    fs::copy(binary(program).map_err(io::Error::other)?, &path)?;
    Ok(path)
}

/// A running server; it is killed in the end.
#[derive(Debug)]
pub struct Target {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Target {
    /// Starts a binary.
    pub fn start(binary: &Path) -> io::Result<Self> {
        Self::spawn(&mut Command::new(binary))
    }

    /// Starts any command that is or becomes a server.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        // Another test's thread may just have forked, with a fresh copy of the binary still open for writing.
        let mut child = wait_for("the binary to be closed", || match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
            result => Some(result),
        })??;
        let lines = Arc::new(Mutex::new(Vec::new()));
        if let Some(output) = child.stdout.take() {
            let filled = Arc::clone(&lines);
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    filled.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            });
        }
        Ok(Self { child, lines })
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it listens, once it has said so for the `time`th time.
    pub fn address_of(&self, time: usize) -> io::Result<SocketAddr> {
        wait_for("a server to listen", || {
            let lines = self.lines();
            let mut addresses = lines.iter().filter_map(|line| line.strip_prefix("listening "));
            addresses.nth(time)?.parse().ok()
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.address_of(0)
    }

    /// A request for a path; the status.
    pub fn get(&self, path: &str) -> io::Result<u16> {
        get(self.address()?, path)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            // If it has gone, the wait for its end says so.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        wait_for("a server to end", || self.child.try_wait().ok().flatten())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request over a connection of its own; the status.
pub fn get(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    request(&mut connection, path, "close")
}

/// A request over a connection that stays open; the status.
pub fn request(connection: &mut TcpStream, path: &str, keep: &str) -> io::Result<u16> {
    connection.set_read_timeout(Some(PATIENCE))?;
    // In one piece: a second one would wait for the first to be acknowledged.
    let text = format!("GET {path} HTTP/1.1\r\nHost: host.test\r\nConnection: {keep}\r\n\r\n");
    connection.write_all(text.as_bytes())?;
    let mut reader = BufReader::new(connection);
    let (mut status, mut length) = (String::new(), 0);
    reader.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Where the agent places probes in a binary that has an HTTP server, but for the optional ones: offsets in the file, in
/// bytes.
pub fn probes(binary: &Path) -> io::Result<Vec<u64>> {
    let facts = Facts::inspect(binary).map_err(io::Error::other)?;
    let plan = Plan::new(&facts);
    let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
    let server = operations.into_iter().find(|plan| plan.operation.title == net_http::SERVER_1.title);
    let points = server.map(|server| server.points.as_slice()).unwrap_or_default();
    let placed = points.iter().filter(|point| point.role != Role::Route);
    let sites = placed.filter_map(|point| point.chosen.as_ref()).flat_map(|(_, sites)| sites);
    Ok(sites.map(|planned| planned.offset.0).collect())
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
