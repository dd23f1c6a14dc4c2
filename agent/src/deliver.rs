//! Where spans go: standard output, an OTLP endpoint, both, or nowhere.
//!
//! [`Pipeline::push`] never waits: what does not fit into the bounds is dropped and counted, by service and cause
//! ([`crate::counters`]). A span reaches the endpoint or the output within a second of being pushed: batches leave when
//! they are full and at least every [`Settings::schedule_delay`]. An endpoint that is down costs nothing as long as there
//! is room: batches are retried until they are taken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::counters::{Counter, Counters};
use crate::resource::ProcessIdentity;
use crate::span::Span;

mod courier;
mod encode;
mod export;
mod limits;
mod monitor;
mod notices;
mod printer;
mod queue;
mod retry;
pub mod settings;
#[cfg(test)]
mod testing;
mod transport;

pub use courier::Courier;
pub use limits::Limits;
pub use monitor::{Monitor, Progress};
pub use printer::Format;
pub use settings::{Flags, MetricsSettings, OtlpSettings, Protocol, Settings};

use encode::Encoding;
use notices::Notices;
use printer::Printer;
use queue::Queue;
use transport::Transport;

/// Why delivery cannot start.
#[derive(Debug, Error)]
pub enum DeliverError {
    /// The thread that prints cannot be started.
    #[error("cannot start the thread that prints")]
    Printer(#[source] io::Error),
}

/// Delivery under way.
pub struct Pipeline {
    counters: Arc<Counters>,
    limits: Limits,
    queue: Arc<Queue>,
    worker: Option<JoinHandle<()>>,
    notices: Arc<Notices>,
    printer: Option<Printer>,
}

impl Pipeline {
    /// Starts delivery; must be called within a tokio runtime. Nothing is connected yet: an endpoint that is down now
    /// may be up when the first batch leaves.
    pub fn start(settings: &Settings, counters: Arc<Counters>) -> Result<Self, DeliverError> {
        Self::start_with_output(settings, counters, printer::standard_output)
    }

    /// As [`Pipeline::start`], with another place than standard output to print to.
    pub fn start_with_output(
        settings: &Settings,
        counters: Arc<Counters>,
        output: impl FnOnce() -> Box<dyn io::Write + Send>,
    ) -> Result<Self, DeliverError> {
        let otlp = settings.otlp.as_ref();
        let encoding = otlp.map_or(Encoding::Protobuf, |otlp| Transport::encoding(otlp.protocol));
        let notices = Arc::new(Notices::new(otlp.map(|otlp| otlp.endpoint.to_string()).unwrap_or_default()));
        let queue = Arc::new(Queue::new(settings, encoding, Arc::clone(&counters)));
        let worker = otlp.map(|otlp| {
            let exporting =
                export::run(Arc::clone(&queue), Transport::new(otlp), Arc::clone(&notices), settings.clone());
            tokio::spawn(exporting)
        });
        let printer = match settings.format {
            None => None,
            Some(format) => Some(Printer::start(format, output()).map_err(DeliverError::Printer)?),
        };
        Ok(Self { counters, limits: settings.limits, queue, worker, notices, printer })
    }

    /// Has [`Pipeline::push`] wait for a slow reader of standard output from now on, instead of dropping spans. It blocks the
    /// thread: not for live records.
    pub fn wait_for_output(&mut self) {
        if let Some(printer) = &mut self.printer {
            printer.is_patient = true;
        }
    }

    /// Hands over a span of the process `identity`. Never waits.
    pub fn push(&self, identity: &Arc<ProcessIdentity>, mut span: Span<'_>) {
        self.limits.apply(&mut span);
        if self.worker.is_some() {
            self.queue.push(identity, &span);
        }
        if self.worker.is_some() && self.printer.is_none() {
            return;
        }
        let counters = self.counters.service(&identity.service_name);
        if self.worker.is_none() {
            counters.add(Counter::Pushed, 1);
        }
        match &self.printer {
            Some(printer) => printer.push(Arc::clone(identity), counters, span),
            None => counters.add(Counter::Discarded, 1),
        }
    }

    /// Sends what waits now, and returns once everything is acknowledged or given up, or the time is up. Returns the
    /// spans that still wait or are under way; they stay. What is printed needs no flush: nothing is held back longer
    /// than half a second.
    pub async fn flush(&self, within: Duration) -> usize {
        if self.worker.is_some() { self.queue.drain(within).await } else { 0 }
    }

    /// Flushes, and ends delivery. What is not acknowledged by then is counted as [`Counter::Unfinished`].
    pub async fn stop(mut self, within: Duration) {
        let deadline = tokio::time::Instant::now() + within;
        self.flush(within).await;
        if let Some(worker) = self.worker.take() {
            self.queue.end.notify_one();
            // It fails if it panicked; what it held was counted when it was dropped.
            let _ = worker.await;
            self.queue.count_rest();
        }
        if let Some(printer) = self.printer.take()
            && !printer.stop(deadline).await
        {
            self.counters.count_unprinted();
        }
    }

    /// The counters of all services.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// To look at it from elsewhere.
    pub fn monitor(&self) -> Monitor {
        Monitor {
            endpoint: self.worker.as_ref().map(|_| self.notices.endpoint.clone()),
            writing: self.printer.as_ref().map(|printer| Arc::clone(&printer.writing)),
            queue: Arc::clone(&self.queue),
            notices: Arc::clone(&self.notices),
        }
    }

    /// What the last failed export said.
    pub fn last_export_error(&self) -> Option<String> {
        self.notices.last_error()
    }

    /// Whether standard output was closed by its reader.
    pub fn is_output_closed(&self) -> bool {
        self.printer.as_ref().is_some_and(Printer::is_closed)
    }
}

/// Sends a request without spans and waits for the answer. The error is in words, for people.
pub async fn try_out(otlp: &OtlpSettings) -> Result<(), String> {
    Courier::new(otlp).send(&ExportTraceServiceRequest::default()).await.map(drop)
}

#[cfg(test)]
mod tests;
