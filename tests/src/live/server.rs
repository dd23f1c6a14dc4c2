//! The Go program that writes down the truth about each request.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde::Deserialize;

use super::{Folder, LiveError, Target};

/// What one request was; `tests/targets/witness/handler.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Truth {
    pub number: u64,
    pub method: String,
    pub target: String,
    pub host: String,
    pub peer: String,
    pub local: String,
    pub user_agent: String,
    pub major: u64,
    pub minor: u64,
    pub tls: bool,
    pub traceparent: Vec<String>,
    pub tracestate: Vec<String>,
    pub parent: Option<Parent>,
    pub status: u16,
    pub implicit: bool,
    pub written: u64,
    pub route: String,
    pub original_route: String,
    pub panicked: bool,
    pub hijacked: bool,
    pub start: u64,
    pub end: u64,
}

/// A valid `traceparent`, in hexadecimal digits.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the standard's names")]
pub struct Parent {
    pub trace_id: String,
    pub span_id: String,
    pub flags: String,
}

/// A running `tests/targets/truth`, or one of the routers, in a folder of its own.
#[derive(Debug)]
pub struct Server {
    target: Target,
    folder: Folder,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where a second `http.Server` of it serves.
    pub other: SocketAddr,
    /// Where it serves over IPv6, if this machine has that.
    pub ipv6: Option<SocketAddr>,
}

impl Server {
    /// Starts a copy of it. It serves on a port of its own and on [`Server::socket`].
    pub fn start(binary: &Path) -> Result<Self, LiveError> {
        Self::start_in(Folder::new()?, binary)
    }

    /// The same in that folder.
    pub fn start_in(folder: Folder, binary: &Path) -> Result<Self, LiveError> {
        let mut command = Command::new(folder.copy(binary, "server")?);
        command.arg("-truth").arg(folder.path().join("truth"));
        command.arg("-unix").arg(folder.path().join("socket"));
        let target = Target::spawn(&mut command)?;
        let other = target.said("other")?;
        let other = other.parse().map_err(|why| LiveError::line(&other, &why))?;
        let (address, ipv6) = (target.address()?, target.said("ipv6")?.parse().ok());
        Ok(Self { target, folder, address, other, ipv6 })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.target.pid()
    }

    /// The unix socket that it serves on.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Has it send itself a request over TLS.
    pub fn over_tls(&self) {
        self.target.signal(Signal::USR1);
    }

    /// Ends it and returns the truth about all requests whose handler has returned.
    pub fn stop(mut self) -> Result<Vec<Truth>, LiveError> {
        self.target.signal(Signal::TERM);
        let status = self.target.wait()?;
        if !status.success() {
            return Err(LiveError::line("the server's exit status", &status));
        }
        let path = self.folder.path().join("truth");
        let text = fs::read_to_string(&path).map_err(LiveError::io("reading", &path))?;
        let parse = |line| serde_json::from_str(line).map_err(|why| LiveError::line(line, &why));
        text.lines().map(parse).collect()
    }
}
