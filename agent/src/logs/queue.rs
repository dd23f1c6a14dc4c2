//! Lines that wait for a thread to write them: standard error may be a pipe that nobody reads, and must hold up nothing.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::capabilities::keep_in_thread;

/// At most so many bytes wait; what comes then is dropped.
pub(super) const MAX_WAITING: usize = 1 << 20;

/// The queue.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    dropped: AtomicU64,
}

struct State {
    /// The first one stays until it is written.
    waiting: VecDeque<String>,
    bytes: usize,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let state = State { waiting: VecDeque::new(), bytes: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new(), dropped: AtomicU64::new(0) }
    }

    /// Starts the thread that writes into `output`, each entry in one piece: others may write there too.
    pub(super) fn start(&'static self, output: impl Write + Send + 'static) -> io::Result<()> {
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(|| {
                keep_in_thread(0);
                self.run(output);
            })
            .map(drop)
    }

    /// Adds whole lines. Never waits.
    pub(super) fn push(&self, lines: String) {
        let mut state = self.state();
        if state.bytes.saturating_add(lines.len()) > MAX_WAITING {
            drop(state);
            return self.drop_lines(&lines);
        }
        state.bytes += lines.len();
        state.waiting.push_back(lines);
        self.changed.notify_all();
    }

    /// Lines that were dropped, for lack of room or because they could not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until nothing waits, or the time is up.
    pub(super) fn finish(&self, within: Duration) {
        let has_some = |state: &mut State| !state.waiting.is_empty();
        // Whether the time was up makes no difference: what is left goes with the process.
        drop(self.changed.wait_timeout_while(self.state(), within, has_some));
    }

    fn run(&self, mut output: impl Write) {
        loop {
            let mut state = self.state();
            let lines = loop {
                match state.waiting.front_mut() {
                    // Its place is kept: the end is to wait for it.
                    Some(lines) => break std::mem::take(lines),
                    None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            if output.write_all(lines.as_bytes()).and_then(|()| output.flush()).is_err() {
                self.drop_lines(&lines);
            }
            let mut state = self.state();
            state.waiting.pop_front();
            state.bytes = state.bytes.saturating_sub(lines.len());
            self.changed.notify_all();
        }
    }

    fn drop_lines(&self, lines: &str) {
        let count = lines.matches('\n').count();
        self.dropped.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line comes whole, in one call.
impl Write for &Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
