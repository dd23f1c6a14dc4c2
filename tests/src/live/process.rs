//! A program that a test starts, and the lines that it says.

use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};

use super::{LiveError, wait_for};

/// A running program; it is killed in the end.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

/// The lines of a stream as they come, each made into a `T`.
#[derive(Debug)]
pub struct Lines<T = String> {
    lines: Arc<Mutex<Vec<T>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a command, whose streams are set.
    pub fn spawn(command: &mut Command) -> Result<Self, LiveError> {
        // Another test's thread may just have forked, with a fresh copy of the binary still open for writing.
        let child = wait_for("the binary to be closed", || match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
            result => Some(result),
        })?;
        let child = child.map_err(LiveError::io("starting", Path::new(command.get_program())))?;
        Ok(Self { child })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, if that is piped and was not asked for before.
    pub fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The lines of its standard output, if that is piped and was not asked for before.
    pub fn output<T: Send + 'static>(&mut self, make: impl Fn(String) -> T + Send + 'static) -> Lines<T> {
        Lines::of(self.child.stdout.take(), make)
    }

    /// The lines of its standard error, if that is piped and was not asked for before.
    pub fn messages(&mut self) -> Lines {
        Lines::of(self.child.stderr.take(), |line| line)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            // If it has gone, the wait for its end says so.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Result<ExitStatus, LiveError> {
        wait_for("its end", || self.child.try_wait().ok().flatten())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After a failed expectation it still runs; it is this process's own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<T: Send + 'static> Lines<T> {
    fn of(stream: Option<impl Read + Send + 'static>, make: impl Fn(String) -> T + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&lines);
        let reader = stream.map(|stream| {
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let line = make(line);
                    filled.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            })
        });
        Self { lines, reader }
    }

    /// Looks at those so far.
    pub fn with<R>(&self, look: impl FnOnce(&[T]) -> R) -> R {
        look(&self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes those so far.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the end of the stream. A process that this one started may hold it open; what this one wrote is there
    /// when the wait is over.
    pub fn finish(&mut self) {
        let reader = self.reader.take();
        let _ = wait_for("all lines", || reader.as_ref().is_none_or(JoinHandle::is_finished).then_some(()));
    }
}

impl Lines {
    /// Those so far, each with its line feed.
    pub fn text(&self) -> String {
        self.with(|lines| lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
    }
}
