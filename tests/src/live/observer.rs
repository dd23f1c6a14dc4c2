//! The Go program that stands in front of a server and writes down what passes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde::Deserialize;

use super::{Folder, LiveError, Target, binary};
use crate::go::Program;

/// What one request came to; `tests/targets/observer/main.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
pub struct Observation {
    pub method: String,
    pub target: String,
    pub protocol: u64,
    pub status: u16,
    pub length: u64,
    pub complete: bool,
    pub start: u64,
    pub end: u64,
}

impl Observation {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// A running `tests/targets/observer`.
#[derive(Debug)]
pub struct Observer {
    target: Target,
    folder: Folder,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Observer {
    /// In front of the server at a URL, over HTTP/2 if that is one of https and the server speaks it.
    pub fn of(url: &str) -> Result<Self, LiveError> {
        Self::start(|command| command.args(["-to", url]))
    }

    /// A server of the files in a folder.
    pub fn of_files(folder: &Path) -> Result<Self, LiveError> {
        Self::start(|command| command.arg("-files").arg(folder))
    }

    fn start(arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<Self, LiveError> {
        let folder = Folder::new()?;
        let mut command = Command::new(binary(Program::Observer)?);
        command.arg("-truth").arg(folder.path().join("truth"));
        let target = Target::spawn(arguments(&mut command))?;
        let address = target.address()?;
        Ok(Self { target, folder, address })
    }

    /// Ends it once it is done with all requests: what it saw, in the order in which that ended.
    pub fn stop(mut self) -> Result<Vec<Observation>, LiveError> {
        self.target.signal(Signal::TERM);
        self.target.wait()?;
        let path = self.folder.path().join("truth");
        let text = fs::read_to_string(&path).map_err(LiveError::io("reading", &path))?;
        let parse = |line| serde_json::from_str(line).map_err(|why| LiveError::line(line, &why));
        text.lines().map(parse).collect()
    }
}
