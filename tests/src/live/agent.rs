//! `lightfoot run`.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, LiveError, Server, Span, eventually};

/// How long anything may take on a busy machine before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running agent that prints OTLP/JSON.
pub struct Agent {
    child: Child,
    output: Lines,
    messages: Lines,
}

/// What an agent leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// All spans that it printed.
    pub spans: Vec<Span>,
    /// The counts that it printed at its end, by name; those not named are 0.
    pub counts: BTreeMap<String, u64>,
    /// All that it said.
    pub messages: String,
}

/// The lines of a stream, as they come.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Agent {
    /// Starts `binary run --format otlp-json` with further arguments, and none of the variables that configure it.
    pub fn start(binary: &Path, arguments: &[&str]) -> Result<Self, LiveError> {
        let mut child = Command::new(binary)
            .args(["run", "--format", "otlp-json"])
            .args(arguments)
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(LiveError::io("starting", binary))?;
        let output = Lines::of(child.stdout.take());
        let messages = Lines::of(child.stderr.take());
        Ok(Self { child, output, messages })
    }

    /// Starts one that watches a server, and waits until the first span shows that it does. Spans with number 0 are those
    /// of this attempt.
    pub fn watching(binary: &Path, server: &Server, arguments: &[&str]) -> Result<Self, LiveError> {
        let pid = server.pid().to_string();
        let agent = Self::start(binary, &[&["--pid", &pid], arguments].concat())?;
        let mut client = Client::tcp(server.address);
        let knock = || {
            // A refused connection would show as the missing span.
            let _ = client.get("/plain/0", "User-Agent: knock/0\r\n");
            (!agent.output.all().is_empty()).then_some(())
        };
        let heard = eventually(PATIENCE, knock);
        heard.ok_or_else(|| LiveError::Late {
            what: "the first span",
            said: agent.messages.all().join("\n"),
        })?;
        Ok(agent)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The spans so far.
    pub fn spans(&self) -> Result<Vec<Span>, LiveError> {
        self.output.all().iter().map(|line| Span::parse(line)).collect()
    }

    /// The spans so far, as soon as there are `count` for which `of` holds; an error if there are not in time.
    pub fn wait_for(&self, count: usize, of: impl Fn(&Span) -> bool) -> Result<Vec<Span>, LiveError> {
        let mut spans = Vec::new();
        let arrived = eventually(PATIENCE, || {
            // Parsed again only if there is more.
            if self.output.len() >= count && self.output.len() != spans.len() {
                match self.spans() {
                    Ok(read) => spans = read,
                    Err(error) => return Some(Err(error)),
                }
            }
            (spans.iter().filter(|span| of(span)).count() >= count).then_some(Ok(()))
        });
        if let Some(outcome) = arrived {
            return outcome.map(|()| spans);
        }
        let have = spans.iter().filter(|span| of(span)).count();
        Err(LiveError::Late { what: "a span", said: format!("{have} of {count} are there") })
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(mut self) -> Result<Outcome, LiveError> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // If it has gone the wait says so.
            let _ = kill_process(pid, Signal::INT);
        }
        let said = |lines: &Lines| lines.all().join("\n");
        let ended = eventually(PATIENCE, || self.child.try_wait().ok().flatten());
        let status = ended.ok_or_else(|| LiveError::Late { what: "its end", said: said(&self.messages) })?;
        eventually(PATIENCE, || {
            (self.output.reader.is_finished() && self.messages.reader.is_finished()).then_some(())
        });
        let messages = said(&self.messages);
        if !status.success() {
            return Err(LiveError::line(&messages, &status));
        }
        let counts = self.messages.all().iter().filter_map(|line| count(line)).collect();
        Ok(Outcome { spans: self.spans()?, counts, messages })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // After a failed assertion it still runs; it is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            let Some(stream) = stream else { return };
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                filled.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { lines, reader }
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn len(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// `name   number  what it counts`.
fn count(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
    if is_name { Some((name.to_owned(), words.next()?.parse().ok()?)) } else { None }
}
