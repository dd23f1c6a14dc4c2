//! A Go server under test.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::Signal;

use super::process::{Lines, Process};
use super::{LiveError, get, wait_for};

/// A running server that says `listening ADDRESS` on its standard output; it is killed in the end.
#[derive(Debug)]
pub struct Target {
    process: Process,
    lines: Lines,
}

impl Target {
    /// Starts a binary.
    pub fn start(binary: &Path) -> Result<Self, LiveError> {
        Self::spawn(&mut Command::new(binary))
    }

    /// Starts any command that is or becomes a server.
    pub fn spawn(command: &mut Command) -> Result<Self, LiveError> {
        let mut process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let lines = process.output(|line| line);
        Ok(Self { process, lines })
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it listens, once it has said so for the `time`th time.
    pub fn address_of(&self, time: usize) -> Result<SocketAddr, LiveError> {
        wait_for("a server to listen", || addresses(&self.lines.text()).get(time).copied())
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, LiveError> {
        self.address_of(0)
    }

    /// What it said after `word`, once it has said that.
    pub fn said(&self, word: &str) -> Result<String, LiveError> {
        wait_for(word, || {
            let line = |line: &String| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned);
            self.lines.with(|lines| lines.iter().find_map(line))
        })
    }

    /// A request for a path, over a connection of its own; the status.
    pub fn get(&self, path: &str) -> io::Result<u16> {
        get(self.address().map_err(io::Error::other)?, path)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Result<ExitStatus, LiveError> {
        self.process.wait()
    }
}

/// The addresses that servers said to listen on, among other lines.
pub fn addresses(output: &str) -> Vec<SocketAddr> {
    output.lines().filter_map(|line| line.strip_prefix("listening ")?.parse().ok()).collect()
}
