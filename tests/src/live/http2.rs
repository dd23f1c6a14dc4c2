//! The Go program that serves HTTP/2, sends itself requests and writes down the truth about each.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::LiveError;

/// Requests that are sent to one server; `tests/targets/http2batch/main.go` says more of each field.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "documented where they are read")]
pub struct Batch {
    pub server: &'static str,
    pub upgrade: bool,
    pub at_once: usize,
    pub requests: Vec<Request>,
}

/// A request to be sent.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "documented where they are read")]
pub struct Request {
    pub method: String,
    pub target: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    pub leave: bool,
}

/// What one request was; `tests/targets/http2batch/witness.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
pub struct Truth {
    pub server: String,
    pub method: String,
    pub target: String,
    pub host: String,
    pub peer: String,
    pub user_agent: String,
    pub traceparent: Vec<String>,
    pub tracestate: Vec<String>,
    pub encrypted: bool,
    pub status: u16,
    pub written: i64,
    pub route: String,
    pub copied: bool,
    pub panicked: bool,
    pub nanoseconds: u64,
}

/// A running `tests/targets/http2batch`; it is killed if it was not stopped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Request {
    /// A GET of a target.
    pub fn get(target: &str) -> Self {
        let (method, host) = ("GET".to_owned(), "example.test".to_owned());
        Self { method, target: target.to_owned(), host, ..Self::default() }
    }

    /// The same with a further header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Program {
    /// Starts the program.
    pub fn start(binary: &Path) -> Result<Self, LiveError> {
        let mut command = Command::new(binary);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(LiveError::io("starting", binary))?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| LiveError::line("", &"it has no output"))?;
        let mut program = Self { child, input, output: BufReader::new(output) };
        program.expect("ready\n")?;
        Ok(program)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends requests and waits until all are answered, or given up by whom they were to be.
    pub fn send(&mut self, batch: &Batch) -> Result<(), LiveError> {
        let line = serde_json::to_string(batch).map_err(|why| LiveError::line("a batch", &why))?;
        let mut input = self.input.as_ref().ok_or_else(|| LiveError::line("", &"it has no input"))?;
        writeln!(input, "{line}").map_err(LiveError::io("writing to", Path::new("the program")))?;
        self.expect("done\n")
    }

    /// Ends it and returns the truth about all requests that handlers got.
    pub fn stop(mut self) -> Result<Vec<Truth>, LiveError> {
        drop(self.input.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).map_err(LiveError::io("reading", Path::new("the truth")))?;
        let parse = |line| serde_json::from_str(line).map_err(|why| LiveError::line(line, &why));
        text.lines().map(parse).collect()
    }

    fn expect(&mut self, expected: &str) -> Result<(), LiveError> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(LiveError::io("reading", Path::new(expected)))?;
        if line == expected { Ok(()) } else { Err(LiveError::line(&line, &"another line was expected")) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After a failed expectation it still runs; it is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
