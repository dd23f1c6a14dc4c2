//! Go programs that obey lines on their standard input, and what they say that really happened.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::process::{Lines, Process};
use super::rpc::{Called, Handled};
use super::server::Parent;
use super::{Folder, LiveError, PATIENCE, Truth, wait_within};

/// A running program of `tests/targets/` that prints `ready` once it is, and `done` after each command.
#[derive(Debug)]
pub struct Driven {
    process: Process,
    input: Option<ChildStdin>,
    lines: Lines,
    folder: Folder,
    /// How many lines are from before the last command.
    read: usize,
}

/// The truth, each kind for itself.
#[derive(Debug, Default)]
pub struct Facts {
    /// What clients called.
    pub calls: Vec<Call>,
    /// What servers were asked.
    pub requests: Vec<Truth>,
    /// The same in short.
    pub served: Vec<Served>,
    /// What clients called by gRPC.
    pub called: Vec<Called>,
    /// What handlers of gRPC served.
    pub handled: Vec<Handled>,
}

/// What one call was; `tests/targets/witness/call.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
pub struct Call {
    pub case: String,
    pub number: u64,
    pub method: String,
    pub url: String,
    pub status: u16,
    pub version: String,
    pub length: i64,
    pub error: String,
    pub text: String,
    pub replaced: bool,
    pub resend: u64,
    pub parent: u64,
    pub rule: String,
    pub cause: u64,
    pub start: u64,
    pub end: u64,
}

/// What one request was; `tests/targets/parents/program.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
pub struct Served {
    pub case: String,
    pub number: u64,
    pub remote: Option<Parent>,
    pub start: u64,
    pub end: u64,
}

/// One line of truth.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Fact {
    /// A client called.
    Call(Call),
    /// A server was asked.
    Request(Box<Truth>),
    /// The same, in short.
    Served(Served),
    /// A client called by gRPC.
    Called(Called),
    /// A handler of gRPC served.
    Handled(Box<Handled>),
}

impl Driven {
    /// Starts a copy of a binary and waits until it is ready.
    pub fn start(binary: &Path) -> Result<Self, LiveError> {
        Self::start_in(Folder::new()?, binary)
    }

    /// The same in that folder.
    pub fn start_in(folder: Folder, binary: &Path) -> Result<Self, LiveError> {
        let copy = folder.copy(binary, "program")?;
        Self::run(folder, &copy)
    }

    /// Another process of this one's file, which is told apart by the folder in its arguments.
    pub fn twin(&self) -> Result<Self, LiveError> {
        Self::run(Folder::new()?, &self.folder.path().join("program"))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The URL of the server that it has said to have under that name.
    pub fn url(&self, name: &str) -> Option<String> {
        let of = |line: &String| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
        self.lines.with(|lines| lines.iter().find_map(of))
    }

    /// Has it obey a command: the lines that it prints before it is done.
    pub fn ask(&mut self, command: &str) -> Result<Vec<String>, LiveError> {
        self.ask_within(PATIENCE, command)
    }

    /// The same for commands that take their time.
    pub fn ask_within(&mut self, within: Duration, command: &str) -> Result<Vec<String>, LiveError> {
        self.read = self.lines.with(<[String]>::len);
        let input = self.input.as_mut().ok_or_else(|| LiveError::line(command, &"it has ended"))?;
        writeln!(input, "{command}").map_err(LiveError::io("commanding", self.folder.path()))?;
        self.answer("done", within)
    }

    /// Ends it and returns the truth.
    pub fn stop(mut self) -> Result<Facts, LiveError> {
        self.input = None;
        let status = self.process.wait()?;
        if !status.success() {
            return Err(LiveError::line("the program's exit status", &status));
        }
        let path = self.folder.path().join("truth");
        let text = fs::read_to_string(&path).map_err(LiveError::io("reading", &path))?;
        let parse = |line| serde_json::from_str(line).map_err(|why| LiveError::line(line, &why));
        let mut facts = Facts::default();
        for line in text.lines() {
            match parse(line)? {
                Fact::Call(call) => facts.calls.push(call),
                Fact::Request(request) => facts.requests.push(*request),
                Fact::Served(served) => facts.served.push(served),
                Fact::Called(called) => facts.called.push(called),
                Fact::Handled(handled) => facts.handled.push(*handled),
            }
        }
        Ok(facts)
    }

    fn run(folder: Folder, program: &Path) -> Result<Self, LiveError> {
        let mut command = Command::new(program);
        command.arg("-truth").arg(folder.path().join("truth"));
        // What releases of grpc-go after 1.40 do without being asked.
        command.env("GRPC_GO_RETRY", "on");
        Self::spawn(folder, command)
    }

    /// Starts a command that is or becomes such a program, whose files are in that folder.
    pub fn spawn(folder: Folder, mut command: Command) -> Result<Self, LiveError> {
        let mut process = Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let (input, lines) = (process.input(), process.output(|line| line));
        let mut driven = Self { process, input, lines, folder, read: 0 };
        driven.answer("ready", PATIENCE)?;
        driven.read = 0;
        Ok(driven)
    }

    fn answer(&mut self, last: &str, within: Duration) -> Result<Vec<String>, LiveError> {
        let answer = || {
            self.lines.with(|lines| {
                let new = lines.get(self.read..)?;
                new.last().filter(|line| *line == last)?;
                Some(new.iter().take(new.len() - 1).cloned().collect())
            })
        };
        wait_within(within, last, answer).map_err(|error| error.with(&self.lines.text()))
    }
}
