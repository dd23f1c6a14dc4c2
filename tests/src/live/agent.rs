//! `lightfoot run`, what it prints, says and counts.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use super::process::{Lines, Process};
use super::{LiveError, Span, text, wait_for};

/// The `lightfoot` command as this package builds it.
///
/// # Panics
/// If this is no test or program that Cargo built.
pub fn lightfoot() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    let folder = own.parent().filter(|folder| !folder.ends_with("deps"));
    let folder = folder.or_else(|| own.parent()?.parent()).unwrap_or(&own);
    folder.join("agent-under-test")
}

/// A program in a mount namespace of its own, where tracefs is mounted. The process that the command starts becomes the program.
pub fn with_tracefs(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(program);
    command
}

/// A running agent; it is killed if it was not stopped.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    output: Lines<Line>,
    messages: Lines,
    /// When it was started.
    pub started: Instant,
}

/// A line of those that an agent says.
#[derive(Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Such as `WARN`.
    pub level: &'a str,
    /// What is the same in all lines of the kind.
    pub message: &'a str,
    /// Names and values, as `pid=7 path=/srv/shop`.
    pub fields: &'a str,
}

/// What an agent leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// All spans that it printed.
    pub spans: Vec<Span>,
    /// The counts that it printed at its end, by name; those not named are 0.
    pub counts: BTreeMap<String, u64>,
    /// The lines that it printed and that are no spans: those of a command that it started.
    pub other_output: String,
    /// All that it said.
    pub messages: String,
}

/// A line on standard output.
#[derive(Debug)]
enum Line {
    Span(Box<Span>),
    /// It begins like a span.
    Unreadable(LiveError),
    /// From a command that the agent started.
    Other(String),
}

impl<'a> Said<'a> {
    /// The lines among all that is on standard error.
    pub fn lines(messages: &'a str) -> impl Iterator<Item = Self> {
        messages.lines().filter_map(|line| {
            let (time, rest) = line.split_once(' ')?;
            let (level, rest) = rest.split_once(' ')?;
            let is_said = time.ends_with('Z') && level.bytes().all(|byte| byte.is_ascii_uppercase());
            let (message, fields) = rest.split_once("  ").unwrap_or((rest, ""));
            is_said.then_some(Self { level, message, fields })
        })
    }
}

/// What is in the line by which an agent says that it watches a process, and in no other.
pub fn watching(pid: u32) -> String {
    format!(" pid={pid} path=")
}

impl Agent {
    /// Starts `lightfoot run --format otlp-json` with further arguments, and with variables besides those of the test
    /// that do not configure it. Where they name tracefs, that is mounted for it.
    pub fn start<'a>(
        arguments: impl IntoIterator<Item = &'a str>,
        variables: &[(&str, &str)],
    ) -> Result<Self, LiveError> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let takes_tracefs = arguments.iter().any(|argument| argument.starts_with("tracefs"));
        let mut command = if takes_tracefs { with_tracefs(lightfoot()) } else { Command::new(lightfoot()) };
        command.args(["run", "--format", "otlp-json"]).args(arguments);
        Self::spawn(command, variables)
    }

    /// Starts one that watches a file, and with it later processes of it.
    pub fn watching(file: &Path) -> Result<Self, LiveError> {
        Self::start(["--exe", text(file)], &[])
    }

    /// Starts any command that is or becomes an agent.
    pub fn spawn(command: Command, variables: &[(&str, &str)]) -> Result<Self, LiveError> {
        Self::spawn_into(Stdio::piped(), command, variables)
    }

    /// As [`Agent::spawn`], with a standard output that is not looked at.
    pub fn spawn_into(
        output: Stdio,
        mut command: Command,
        variables: &[(&str, &str)],
    ) -> Result<Self, LiveError> {
        let started = Instant::now();
        command
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(variables.iter().copied());
        let streams = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
        let mut process = Process::spawn(streams)?;
        let (output, messages) = (process.output(read), process.messages());
        Ok(Self { process, output, messages, started })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has said so far.
    pub fn messages(&self) -> String {
        self.messages.text()
    }

    /// The lines on standard output that are no spans: those of a command that it started.
    pub fn other_output(&self) -> String {
        let other = |line: &Line| match line {
            Line::Other(text) => Some(text.clone() + "\n"),
            _ => None,
        };
        self.output.with(|lines| lines.iter().filter_map(other).collect())
    }

    /// How many of its spans are like that.
    pub fn count_spans(&self, of: impl Fn(&Span) -> bool) -> usize {
        self.output.with(|lines| spans(lines).filter(|span| of(span)).count())
    }

    /// Waits for the first span that is like that.
    pub fn find(&self, what: &str, of: impl Fn(&Span) -> bool) -> Result<Span, LiveError> {
        let look = || self.output.with(|lines| spans(lines).find(|span| of(span)).cloned());
        wait_for(what, look).map_err(|error| error.with(&self.messages()))
    }

    /// Waits for a span with that path.
    pub fn span(&self, path: &str) -> Result<Span, LiveError> {
        self.find(path, |span| span.path() == path)
    }

    /// Waits until there are `count` spans that are like that.
    pub fn wait_for_spans(&self, count: usize, of: impl Fn(&Span) -> bool) -> Result<(), LiveError> {
        let arrived = wait_for("spans", || (self.count_spans(&of) >= count).then_some(()));
        arrived.map_err(|error| {
            error.with(&format!("{}{} of {count} are there", self.messages(), self.count_spans(&of)))
        })
    }

    /// Waits until it has said `text`.
    pub fn says(&self, text: &str) -> Result<(), LiveError> {
        self.says_times(text, 1)
    }

    /// Waits until it has said `text` so many times.
    pub fn says_times(&self, text: &str, times: usize) -> Result<(), LiveError> {
        let said = wait_for(text, || (self.messages().matches(text).count() >= times).then_some(()));
        said.map_err(|error| error.with(&self.messages()))
    }

    /// Waits until it watches a process.
    pub fn watches(&self, pid: u32) -> Result<(), LiveError> {
        self.says(&watching(pid))?;
        // It says so just before the kernel is told, and tells the kernel before it answers.
        self.counts().map(drop)
    }

    /// The counts while it runs, by name; those not named are 0.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>, LiveError> {
        let before = self.messages().len();
        let marker = format!("counts of process {}", self.pid());
        self.signal(Signal::USR1);
        let text = wait_for(&marker, || {
            let text = self.messages().get(before..).unwrap_or_default().to_owned();
            text.contains(&marker).then_some(text)
        })?;
        Ok(text.lines().filter_map(count).collect())
    }

    /// Waits until one of its counts is at least so much.
    pub fn counts_to(&self, name: &str, expected: u64) -> Result<(), LiveError> {
        let counted = || (*self.counts().ok()?.get(name)? >= expected).then_some(());
        wait_for(&format!("{name} to be {expected}"), counted).map_err(|error| error.with(&self.messages()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it as an init system does. Everything but success is an error.
    pub fn stop(self) -> Result<Outcome, LiveError> {
        self.signal(Signal::TERM);
        let outcome = self.wait()?;
        if outcome.status.success() {
            return Ok(outcome);
        }
        Err(LiveError::line(&outcome.messages, &outcome.status))
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> Result<Outcome, LiveError> {
        let status = self.process.wait().map_err(|error| error.with(&self.messages()))?;
        self.output.finish();
        self.messages.finish();
        let (messages, other_output) = (self.messages(), self.other_output());
        let mut spans = Vec::new();
        for line in self.output.take() {
            match line {
                Line::Span(span) => spans.push(*span),
                Line::Unreadable(error) => return Err(error),
                Line::Other(_) => {}
            }
        }
        let counts = messages.lines().filter_map(count).collect();
        Ok(Outcome { status, spans, counts, other_output, messages })
    }
}

impl Outcome {
    /// A count that was printed at the end; 0 if it was not.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// The counts that tell of something lost, or out of the ordinary: all but those of usual work.
    pub fn oddities(&self) -> Vec<(&str, u64)> {
        const USUAL: [&str; 11] = [
            // Of another test's agent.
            "unclean_stops",
            "started",
            "ended",
            "page_waits",
            "stack_checks_failed",
            "wakeups",
            "spans_pushed",
            "spans_printed",
            "route_site",
            "route_of_copy",
            "without_route",
        ];
        let all = self.counts.iter().map(|(name, count)| (name.as_str(), *count));
        all.filter(|(name, _)| !USUAL.contains(name)).collect()
    }

    /// The paths of its spans, sorted.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<_> = self.spans.iter().map(Span::path).collect();
        paths.sort_unstable();
        paths
    }
}

fn read(line: String) -> Line {
    if !line.starts_with('{') {
        return Line::Other(line);
    }
    match Span::parse(&line) {
        Ok(span) => Line::Span(Box::new(span)),
        Err(error) => Line::Unreadable(error),
    }
}

fn spans(lines: &[Line]) -> impl Iterator<Item = &Span> {
    lines.iter().filter_map(|line| match line {
        Line::Span(span) => Some(&**span),
        _ => None,
    })
}

/// A line `name   number  what it counts`. The lines of single services are indented.
fn count(line: &str) -> Option<(String, u64)> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit();
    let (name, rest) = line.split_once(' ')?;
    let is_name = !name.is_empty() && name.bytes().all(is_part);
    is_name.then_some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
}
