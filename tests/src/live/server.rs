//! The Go program that writes down the truth about each request.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::LiveError;

/// What one request was; `tests/targets/truth/witness.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
pub struct Truth {
    pub number: u64,
    pub method: String,
    pub target: String,
    pub host: String,
    pub peer: String,
    pub user_agent: String,
    pub minor: u64,
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

/// A running `tests/targets/truth`.
pub struct Server {
    child: Child,
    folder: TempDir,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a copy of it, so that probes in its file meet no other process. It serves on a port of its own and on [`Server::socket`].
    pub fn start(binary: &Path) -> Result<Self, LiveError> {
        let folder = tempfile::tempdir().map_err(LiveError::io("making", Path::new("a folder")))?;
        let copy = folder.path().join("server");
        fs::copy(binary, &copy).map_err(LiveError::io("copying", binary))?;
        let mut child = Command::new(copy)
            .arg("-truth")
            .arg(folder.path().join("truth"))
            .arg("-unix")
            .arg(folder.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(LiveError::io("starting", binary))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(LiveError::io("hearing", binary))?;
        }
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, folder, address }),
            Err(why) => {
                // It is of no use any more.
                let _ = child.kill().and_then(|()| child.wait());
                Err(LiveError::line(&line, &why))
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The unix socket that it serves on.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The truth so far: of requests whose handler has returned.
    pub fn truth(&self) -> Result<Vec<Truth>, LiveError> {
        let path = self.folder.path().join("truth");
        let text = fs::read_to_string(&path).map_err(LiveError::io("reading", &path))?;
        let parse = |line| serde_json::from_str(line).map_err(|why| LiveError::line(line, &why));
        text.lines().map(parse).collect()
    }

    /// Ends it and returns the whole truth.
    pub fn stop(mut self) -> Result<Vec<Truth>, LiveError> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // If it has gone the wait says so.
            let _ = kill_process(pid, Signal::TERM);
        }
        let status = self.child.wait().map_err(LiveError::io("waiting for", Path::new("the server")))?;
        if !status.success() {
            return Err(LiveError::line("the server's exit status", &status));
        }
        self.truth()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a failed assertion it still runs; it is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
