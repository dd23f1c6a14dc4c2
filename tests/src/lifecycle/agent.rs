//! `lightfoot run`, what it prints, says and counts.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait_for;

/// The agent as this package builds it.
///
/// # Panics
/// If this is no test that Cargo built.
pub fn agent() -> PathBuf {
    let folder = env::current_exe().ok().and_then(|own| Some(own.parent()?.parent()?.to_owned()));
    folder.unwrap_or_default().join("agent-under-test")
}

/// A running agent; it is killed if it was not stopped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    output: Lines,
    messages: Lines,
    /// When it was started.
    pub started: Instant,
}

/// What an agent leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub spans: Vec<Span>,
    /// What it said.
    pub messages: String,
}

/// A span as `--format json` prints it, and when the line came.
#[derive(Clone, Debug)]
pub struct Span {
    /// The line.
    pub json: Value,
    /// When it was read.
    pub seen: Instant,
}

impl Span {
    /// The value of a key that is a text; empty if there is none.
    pub fn text(&self, key: &str) -> &str {
        self.json.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The path of the request.
    pub fn path(&self) -> &str {
        self.text("url.path")
    }
}

/// The lines of a stream as they come.
#[derive(Debug)]
struct Lines {
    lines: Arc<Mutex<Vec<(String, Instant)>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&lines);
        let reader = stream.map(|stream| {
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    filled.lock().unwrap_or_else(PoisonError::into_inner).push((line, Instant::now()));
                }
            })
        });
        Self { lines, reader }
    }

    fn all(&self) -> Vec<(String, Instant)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn text(&self) -> String {
        self.all().into_iter().map(|(line, _)| line + "\n").collect()
    }
}

impl Agent {
    /// Starts `lightfoot run --format json` with further arguments, and with variables besides those of the test that
    /// do not configure it.
    pub fn start<'a>(
        arguments: impl IntoIterator<Item = &'a str>,
        variables: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut command = Command::new(agent());
        command.args(["run", "--format", "json"]).args(arguments);
        Self::spawn(command, variables)
    }

    /// Starts any command that is or becomes an agent.
    pub fn spawn(command: Command, variables: &[(&str, &str)]) -> io::Result<Self> {
        Self::spawn_into(Stdio::piped(), command, variables)
    }

    /// As [`Agent::spawn`], with a standard output that is not looked at.
    pub fn spawn_into(output: Stdio, mut command: Command, variables: &[(&str, &str)]) -> io::Result<Self> {
        let started = Instant::now();
        command
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(variables.iter().copied());
        let streams = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
        let mut child = streams.spawn()?;
        let (output, messages) = (Lines::of(child.stdout.take()), Lines::of(child.stderr.take()));
        Ok(Self { child, output, messages, started })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn messages(&self) -> String {
        self.messages.text()
    }

    /// The lines on standard output that are no spans: those of a command that it started.
    pub fn other_output(&self) -> String {
        let lines = self.output.all().into_iter().filter(|(line, _)| !line.starts_with('{'));
        lines.map(|(line, _)| line + "\n").collect()
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let lines = self.output.all().into_iter();
        lines
            .filter_map(|(line, seen)| Some(Span { json: serde_json::from_str(&line).ok()?, seen }))
            .collect()
    }

    /// Waits until it has said `text`.
    pub fn says(&self, text: &str) -> io::Result<()> {
        self.says_times(text, 1)
    }

    /// Waits until it has said `text` so many times.
    pub fn says_times(&self, text: &str, times: usize) -> io::Result<()> {
        let said = wait_for(text, || (self.messages().matches(text).count() >= times).then_some(()));
        said.map_err(|error| io::Error::new(error.kind(), format!("{error}; it says: {}", self.messages())))
    }

    /// Waits until it watches a process.
    pub fn watches(&self, pid: u32) -> io::Result<()> {
        self.says(&format!("(process {pid}, "))?;
        // It says so just before the kernel is told, and tells the kernel before it answers.
        self.counts().map(drop)
    }

    /// Waits for a span with that path.
    pub fn span(&self, path: &str) -> io::Result<Span> {
        let span = wait_for(path, || self.spans().into_iter().find(|span| span.path() == path));
        span.map_err(|error| io::Error::new(error.kind(), format!("{error}; it says: {}", self.messages())))
    }

    /// The counts while it runs, by name; those not named are 0.
    pub fn counts(&self) -> io::Result<BTreeMap<String, u64>> {
        let before = self.messages().len();
        let marker = format!("counts of process {}", self.pid());
        self.signal(Signal::USR1);
        let text = wait_for(&marker, || {
            let text = self.messages().get(before..).unwrap_or_default().to_owned();
            text.contains(&marker).then_some(text)
        })?;
        Ok(counts(&text))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            // If it has gone, the wait for its end says so.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it as an init system does.
    pub fn stop(self) -> io::Result<Outcome> {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> io::Result<Outcome> {
        let status = wait_for("its end", || self.child.try_wait().ok().flatten());
        let status =
            status.map_err(|error| io::Error::new(error.kind(), format!("{error}: {}", self.messages())))?;
        for lines in [&mut self.output, &mut self.messages] {
            // A process that it started may hold the stream open; what the agent wrote is there by now.
            let reader = lines.reader.take();
            let _ =
                wait_for("all lines", || reader.as_ref().is_none_or(JoinHandle::is_finished).then_some(()));
        }
        Ok(Outcome { status, spans: self.spans(), messages: self.messages() })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // After a failed expectation it still runs; it is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    /// A count that was printed at the end; 0 if it was not.
    pub fn count(&self, name: &str) -> u64 {
        counts(&self.messages).get(name).copied().unwrap_or(0)
    }

    /// The paths of its spans, sorted.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<_> = self.spans.iter().map(Span::path).collect();
        paths.sort_unstable();
        paths
    }
}

/// The lines `name   number  what it counts`; of several with a name, the last.
fn counts(text: &str) -> BTreeMap<String, u64> {
    let count = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|_| !line.starts_with(' '))?;
        Some((name.to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter_map(count).collect()
}
