//! What is known of delivery while it runs.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::notices::Notices;
use super::printer::Writing;
use super::queue::Queue;

/// Looks at delivery from elsewhere.
#[derive(Clone)]
pub struct Monitor {
    pub(super) endpoint: Option<String>,
    /// What the printer is at, if there is one.
    pub(super) writing: Option<Writing>,
    pub(super) queue: Arc<Queue>,
    pub(super) notices: Arc<Notices>,
}

/// How delivery goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The endpoint, if there is one.
    pub endpoint: Option<String>,
    /// Whether the last try to send something to it failed, for now or for good.
    pub is_down: bool,
    /// Whether it was refused for good.
    pub refuses: bool,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// Whether spans are printed.
    pub is_printed: bool,
    /// Spans that wait for the endpoint or are on their way.
    pub spans: usize,
    /// Their bytes.
    pub bytes: usize,
    /// How many bytes may wait.
    pub max_bytes: usize,
}

impl Monitor {
    /// When the first of the spans came that wait for the endpoint, are on their way, or are being written, if there are any.
    pub fn waiting_since(&self) -> Option<Instant> {
        let writing = self.writing.as_ref();
        let written = writing.and_then(|writing| *writing.lock().unwrap_or_else(PoisonError::into_inner));
        [self.queue.waiting_since(), written].into_iter().flatten().min()
    }

    /// How it goes now.
    pub fn progress(&self) -> Progress {
        let (spans, bytes) = self.queue.waiting();
        Progress {
            endpoint: self.endpoint.clone(),
            is_down: self.notices.is_down(),
            refuses: self.notices.refuses(),
            last_error: self.notices.last_error(),
            is_printed: self.writing.is_some(),
            spans,
            bytes,
            max_bytes: self.queue.max_bytes,
        }
    }
}
