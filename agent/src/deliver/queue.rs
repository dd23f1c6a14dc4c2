//! The spans that wait for export: bounded in number and bytes, sorted by Resource.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SpanData;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::Settings;
use crate::counters::{Counter, Counters, ServiceCounters};
use crate::resource::ProcessIdentity;

/// Spans that wait or are under way, until they are acknowledged or given up.
pub(super) struct Queue {
    max_spans: usize,
    max_bytes: usize,
    batch: usize,
    counters: Arc<Counters>,
    state: Mutex<State>,
    is_draining: AtomicBool,
    has_given_up: AtomicBool,
    /// Whoever sends is to end.
    pub(super) end: Notify,
    /// There is a full batch, or somebody wants all to leave.
    pub(super) wake: Notify,
    landed: Notify,
}

#[derive(Default)]
struct State {
    /// By the address of the identity, which an entry keeps alive.
    sources: FxHashMap<usize, Source>,
    spans: usize,
    bytes: usize,
    last_error: Option<String>,
}

struct Source {
    identity: Arc<ProcessIdentity>,
    counters: Arc<ServiceCounters>,
    waiting: VecDeque<SpanData>,
    exporter: Option<Arc<SpanExporter>>,
    /// An exporter must not be called again before it has returned (opentelemetry_sdk::trace::SpanExporter).
    is_under_way: bool,
}

/// Spans of one Resource that are under way. However it ends, by panic and cancellation too, dropping it counts the
/// spans and gives their room back.
pub(super) struct Batch {
    queue: Arc<Queue>,
    source: usize,
    pub(super) identity: Arc<ProcessIdentity>,
    counters: Arc<ServiceCounters>,
    pub(super) spans: Vec<SpanData>,
    pub(super) exporter: Option<Arc<SpanExporter>>,
    count: usize,
    bytes: usize,
    outcome: Option<Counter>,
}

impl Queue {
    pub(super) fn new(settings: &Settings, counters: Arc<Counters>) -> Self {
        Self {
            max_spans: settings.queue_spans,
            max_bytes: settings.queue_bytes,
            batch: settings.batch_spans.max(1),
            counters,
            state: Mutex::default(),
            is_draining: AtomicBool::new(false),
            has_given_up: AtomicBool::new(false),
            end: Notify::new(),
            wake: Notify::new(),
            landed: Notify::new(),
        }
    }

    pub(super) fn counters_of(&self, identity: &Arc<ProcessIdentity>) -> Arc<ServiceCounters> {
        let mut state = self.state();
        Arc::clone(&self.source(&mut state, identity).counters)
    }

    /// Takes a span, or counts why not.
    pub(super) fn push(&self, identity: &Arc<ProcessIdentity>, span: SpanData) {
        let bytes = size(&span);
        let mut state = self.state();
        let cause = if state.spans >= self.max_spans {
            Some(Counter::QueueFull)
        } else if state.bytes.saturating_add(bytes) > self.max_bytes {
            Some(Counter::QueueBytes)
        } else {
            None
        };
        if cause.is_none() {
            state.spans += 1;
            state.bytes += bytes;
        }
        let source = self.source(&mut state, identity);
        source.counters.add(Counter::Pushed, 1);
        if let Some(cause) = cause {
            source.counters.add(cause, 1);
            return;
        }
        source.waiting.push_back(span);
        // Once per batch: waking the worker for each span costs more than the span.
        if source.waiting.len() == self.batch && !source.is_under_way {
            self.wake.notify_one();
        }
    }

    /// The batches that can leave now: full ones, or all if `all`.
    pub(super) fn take(self: &Arc<Self>, all: bool) -> Vec<Batch> {
        let all = all || self.is_draining.load(Ordering::Relaxed);
        let least = if all { 1 } else { self.batch };
        let mut state = self.state();
        let sources = state.sources.iter_mut();
        let ready = sources.filter(|(_, source)| !source.is_under_way && source.waiting.len() >= least);
        ready
            .map(|(key, source)| {
                source.is_under_way = true;
                let count = source.waiting.len().min(self.batch);
                let spans: Vec<_> = source.waiting.drain(..count).collect();
                Batch {
                    queue: Arc::clone(self),
                    source: *key,
                    identity: Arc::clone(&source.identity),
                    counters: Arc::clone(&source.counters),
                    exporter: source.exporter.clone(),
                    count,
                    bytes: spans.iter().map(size).sum(),
                    spans,
                    outcome: None,
                }
            })
            .collect()
    }

    /// Keeps the exporter of a Resource for its next batches.
    pub(super) fn keep(&self, batch: &Batch, exporter: &Arc<SpanExporter>) {
        if let Some(source) = self.state().sources.get_mut(&batch.source) {
            source.exporter = Some(Arc::clone(exporter));
        }
    }

    /// Has everything leave without delay until nothing waits or the time is up; returns what is left.
    pub(super) async fn drain(&self, within: Duration) -> usize {
        self.is_draining.store(true, Ordering::Relaxed);
        self.wake.notify_one();
        let empty = async {
            loop {
                let landed = self.landed.notified();
                if self.state().spans == 0 {
                    break;
                }
                landed.await;
            }
        };
        // Running out of time is told by what is left.
        let _ = tokio::time::timeout(within, empty).await;
        self.is_draining.store(false, Ordering::Relaxed);
        self.state().spans
    }

    /// Ends sending; from now on what is cancelled counts as unfinished.
    pub(super) fn give_up(&self) {
        self.has_given_up.store(true, Ordering::Relaxed);
        self.end.notify_one();
    }

    /// Counts what still waits as unfinished.
    pub(super) fn count_rest(&self) {
        let mut state = self.state();
        for source in state.sources.values_mut() {
            source.counters.add(Counter::Unfinished, source.waiting.len() as u64);
            source.waiting.clear();
        }
        (state.spans, state.bytes) = (0, 0);
    }

    pub(super) fn failed(&self, error: String) {
        self.state().last_error = Some(error);
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.state().last_error.clone()
    }

    /// The entry of a process. Those of processes that nobody else knows any more are forgotten when a new one comes.
    fn source<'a>(&self, state: &'a mut State, identity: &Arc<ProcessIdentity>) -> &'a mut Source {
        let key = Arc::as_ptr(identity) as usize;
        if !state.sources.contains_key(&key) {
            state.sources.retain(|_, source| {
                source.is_under_way || !source.waiting.is_empty() || Arc::strong_count(&source.identity) > 1
            });
        }
        state.sources.entry(key).or_insert_with(|| Source {
            identity: Arc::clone(identity),
            counters: self.counters.service(&identity.service_name),
            waiting: VecDeque::new(),
            exporter: None,
            is_under_way: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// The endpoint acknowledged it, or refused it for good.
    pub(super) fn landed(mut self, outcome: Counter) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let given_up = self.queue.has_given_up.load(Ordering::Relaxed);
        let outcome =
            self.outcome.unwrap_or(if given_up { Counter::Unfinished } else { Counter::ExportFailed });
        self.counters.add(outcome, self.count as u64);
        if outcome == Counter::ExportFailed {
            self.counters.add(Counter::FailedExports, 1);
        }
        let mut state = self.queue.state();
        state.spans = state.spans.saturating_sub(self.count);
        state.bytes = state.bytes.saturating_sub(self.bytes);
        if let Some(source) = state.sources.get_mut(&self.source) {
            source.is_under_way = false;
        }
        drop(state);
        self.queue.landed.notify_waiters();
    }
}

/// About what a span occupies, in bytes.
fn size(span: &SpanData) -> usize {
    let texts = span.attributes.iter().map(|attribute| match &attribute.value {
        Value::String(text) => text.as_str().len(),
        _ => 0,
    });
    size_of::<SpanData>()
        + span.name.len()
        + span.attributes.len() * size_of::<KeyValue>()
        + texts.sum::<usize>()
}
