//! What the operator should hear while it happens: each thing once, the rest is counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

/// At most so many notices wait for whoever says them.
const MAX_WAITING: usize = 16;

/// Collects notices.
pub(super) struct Notices {
    sender: mpsc::Sender<String>,
    endpoint: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    down_since: Option<Instant>,
    has_refused: bool,
    has_rejected: bool,
    has_warned: bool,
    last_error: Option<String>,
}

impl Notices {
    pub(super) fn new(endpoint: String) -> (Self, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self { sender, endpoint, state: Mutex::default() }, receiver)
    }

    /// A try failed, and there will be another.
    pub(super) fn failed(&self, error: &str) {
        let mut state = self.state();
        state.last_error = Some(error.to_owned());
        if state.down_since.is_none() {
            state.down_since = Some(Instant::now());
            self.say(format!(
                "{} takes no spans: {error}; they are kept and sent again while there is room",
                self.endpoint
            ));
        }
    }

    /// A batch was taken, but for some of its spans; or for none, and the endpoint has something to say nevertheless.
    pub(super) fn accepted(&self, message: &str, rejected: u64) {
        let mut state = self.state();
        if let Some(since) = state.down_since.take() {
            let seconds = since.elapsed().as_secs_f32();
            self.say(format!("{} takes spans again, after {seconds:.1} s", self.endpoint));
        }
        if rejected > 0 && !std::mem::replace(&mut state.has_rejected, true) {
            self.say(format!(
                "{} rejected {rejected} spans of a batch: {message}; further ones are only counted",
                self.endpoint
            ));
        } else if rejected == 0 && !message.is_empty() && !std::mem::replace(&mut state.has_warned, true) {
            self.say(format!("{} took a batch and warns: {message}", self.endpoint));
        }
    }

    /// A batch was refused for good.
    pub(super) fn refused(&self, error: &str) {
        let mut state = self.state();
        state.last_error = Some(error.to_owned());
        if !std::mem::replace(&mut state.has_refused, true) {
            self.say(format!("{} refuses spans: {error}; further ones are only counted", self.endpoint));
        }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.state().last_error.clone()
    }

    fn say(&self, notice: String) {
        // Whoever does not listen does not want to know.
        let _ = self.sender.try_send(notice);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
