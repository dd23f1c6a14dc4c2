//! What is said of an endpoint while it happens: each thing once, the rest is counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::{debug, error, info, warn};

/// Remembers what was said.
pub(super) struct Notices {
    pub(super) endpoint: String,
    state: Mutex<State>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct State {
    /// When the first try failed since something was taken.
    down_since: Option<Instant>,
    /// The last answer was a refusal.
    refuses: bool,
    has_refused: bool,
    has_rejected: bool,
    has_warned: bool,
    has_given_up: bool,
    last_error: Option<String>,
}

impl Notices {
    pub(super) fn new(endpoint: String) -> Self {
        Self { endpoint, state: Mutex::default() }
    }

    /// A try failed, and there will be another.
    pub(super) fn failed(&self, error: &str) {
        let mut state = self.state();
        state.last_error = Some(error.to_owned());
        state.refuses = false;
        if state.down_since.is_none() {
            state.down_since = Some(Instant::now());
            warn!(
                endpoint = self.endpoint,
                error, "the endpoint takes no spans; they are kept and sent again while there is room"
            );
        } else {
            debug!(endpoint = self.endpoint, error, "the endpoint still takes no spans");
        }
    }

    /// A batch was taken, but for some of its spans; or for none, and the endpoint has something to say nevertheless.
    pub(super) fn accepted(&self, message: &str, rejected: u64) {
        let mut state = self.state();
        state.refuses = false;
        if let Some(since) = state.down_since.take() {
            let after = format!("{:.1}s", since.elapsed().as_secs_f32());
            info!(endpoint = self.endpoint, after, "the endpoint takes spans again");
        }
        if rejected > 0 && !std::mem::replace(&mut state.has_rejected, true) {
            error!(
                endpoint = self.endpoint,
                rejected,
                answer = message,
                "the endpoint rejected spans of a batch; further ones are only counted"
            );
        } else if rejected == 0 && !message.is_empty() && !std::mem::replace(&mut state.has_warned, true) {
            warn!(endpoint = self.endpoint, answer = message, "the endpoint took a batch and warns");
        }
    }

    /// A batch was refused for good.
    pub(super) fn refused(&self, error: &str) {
        let mut state = self.state();
        state.last_error = Some(error.to_owned());
        state.refuses = true;
        if !std::mem::replace(&mut state.has_refused, true) {
            error!(
                endpoint = self.endpoint,
                error, "the endpoint refuses spans; further ones are only counted"
            );
        }
    }

    /// The time for a batch was over.
    pub(super) fn given_up(&self, spans: u64) {
        if !std::mem::replace(&mut self.state().has_given_up, true) {
            error!(
                endpoint = self.endpoint,
                spans, "OTEL_BSP_EXPORT_TIMEOUT was over for a batch; further ones are only counted"
            );
        }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.state().last_error.clone()
    }

    /// Whether the last try failed, for now or for good.
    pub(super) fn is_down(&self) -> bool {
        let state = self.state();
        state.down_since.is_some() || state.refuses
    }

    /// Whether it was refused for good: then [`Notices::last_error`] has the answer.
    pub(super) fn refuses(&self) -> bool {
        self.state().refuses
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_last_try_is_told() {
        let notices = Notices::new("http://host".to_owned());
        let told = || (notices.is_down(), notices.refuses());
        assert_eq!(told(), (false, false));
        notices.refused("HTTP 401 Unauthorized");
        assert_eq!(told(), (true, true));
        notices.accepted("", 0);
        assert_eq!(told(), (false, false));
        notices.failed("no answer");
        assert_eq!(told(), (true, false));
        // The outage ends in a refusal, and comes again.
        notices.refused("HTTP 400 Bad Request");
        assert_eq!(told(), (true, true));
        notices.failed("no answer");
        notices.given_up(3);
        assert_eq!(told(), (true, false));
        notices.accepted("too old", 3);
        assert_eq!(told(), (false, false));
        assert_eq!(notices.last_error().as_deref(), Some("no answer"));
    }
}
