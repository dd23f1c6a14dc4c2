//! The spans that wait for export, encoded, by process: each has one Resource, and so a request of its own.
//!
//! # Who gets room
//!
//! A span is taken unless its service has its number of spans waiting ([`Settings::queue_spans`]), or would then hold
//! more bytes than are still free for all ([`Settings::queue_bytes`]). So one noisy service fills half of the room at
//! most, two a third each, and whoever comes next always finds some (the dynamic thresholds of Choudhury and Hahne,
//! IEEE/ACM Transactions on Networking 6(2), 1998). It has the same room however many processes it has. What is not taken
//! is what just came: older spans are nearer to being sent, and dropping from their middle would tear more traces apart.
//! Turns at sending go round: see [`super::export`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tracing::error;

use super::Settings;
use super::encode::{Encoding, Request};
use crate::counters::{Counter, Counters, ServiceCounters};
use crate::resource::ProcessIdentity;
use crate::span::Span;

/// A batch leaves at this size too: the endpoint may limit requests, in gRPC to 4 MiB if nobody says otherwise.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Spans that wait or are under way, until they are acknowledged or given up.
pub(super) struct Queue {
    max_spans: usize,
    pub(super) max_bytes: usize,
    batch: usize,
    encoding: Encoding,
    counters: Arc<Counters>,
    state: Mutex<State>,
    is_draining: AtomicBool,
    has_said_full: AtomicBool,
    /// Whoever sends is to end.
    pub(super) end: Notify,
    /// There is a full batch, or somebody wants all to leave.
    pub(super) wake: Notify,
    /// Somebody wants all to leave: no use in waiting between tries.
    pub(super) hurry: Notify,
    landed: Notify,
}

#[derive(Default)]
struct State {
    /// By the address of the identity, which an entry keeps alive.
    sources: FxHashMap<usize, Source>,
    /// What each service has here, by the address of its counters, which the queue keeps alive. There are at most as many
    /// as [`crate::counters::MAX_SERVICES`] and one.
    services: FxHashMap<usize, Size>,
    total: Size,
}

/// A process that spans come from.
struct Source {
    identity: Arc<ProcessIdentity>,
    counters: Arc<ServiceCounters>,
    /// Waiting or under way.
    spans: usize,
    /// The batch that grows.
    open: Request,
    open_size: Size,
    /// When its first span came.
    opened: Instant,
    /// Batches that are full, each with when its first span came.
    full: VecDeque<(Bytes, Size, Instant)>,
    /// One at a time, so that the endpoint gets spans in their order: when the first span of that came.
    under_way: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Size {
    spans: usize,
    bytes: usize,
}

/// Spans of one process that are under way. However it ends, by panic and cancellation too, dropping it counts the spans
/// and gives their room back.
pub(super) struct Batch {
    queue: Arc<Queue>,
    source: usize,
    counters: Arc<ServiceCounters>,
    /// The encoded request.
    pub(super) body: Bytes,
    size: Size,
    outcome: Outcome,
}

/// What became of a batch.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// Acknowledged, but for so many of its spans.
    Accepted { rejected: u64 },
    /// Lost, to this counter.
    Lost(Counter),
}

impl Queue {
    pub(super) fn new(settings: &Settings, encoding: Encoding, counters: Arc<Counters>) -> Self {
        Self {
            max_spans: settings.queue_spans,
            max_bytes: settings.queue_bytes,
            batch: settings.batch_spans.max(1),
            encoding,
            counters,
            state: Mutex::default(),
            is_draining: AtomicBool::new(false),
            has_said_full: AtomicBool::new(false),
            end: Notify::new(),
            wake: Notify::new(),
            hurry: Notify::new(),
            landed: Notify::new(),
        }
    }

    /// Takes a span, or counts why not.
    pub(super) fn push(&self, identity: &Arc<ProcessIdentity>, span: &Span<'_>) {
        let mut state = self.state();
        let State { sources, services, total } = &mut *state;
        let source = self.source(sources, identity);
        let service = services.entry(address(&source.counters)).or_default();
        source.counters.add(Counter::Pushed, 1);
        if service.spans >= self.max_spans {
            source.counters.add(Counter::QueueFull, 1);
            return self.say_full(identity);
        }
        let room = self.max_bytes.saturating_sub(total.bytes).saturating_sub(service.bytes);
        let Ok(bytes) = source.open.add(span, room) else {
            source.counters.add(Counter::QueueBytes, 1);
            return self.say_full(identity);
        };
        let size = Size { spans: 1, bytes };
        source.spans += 1;
        if source.open_size.spans == 0 {
            source.opened = Instant::now();
        }
        for held in [service, total, &mut source.open_size] {
            held.add(size);
        }
        if source.open_size.spans >= self.batch || source.open_size.bytes >= MAX_BATCH_BYTES {
            source.close();
            // Once per batch: waking the worker for each span costs more than the span.
            if source.under_way.is_none() {
                self.wake.notify_one();
            }
        }
    }

    /// The batches that can leave now, one of a process at most: full ones, or all if `all`.
    pub(super) fn take(self: &Arc<Self>, all: bool) -> Vec<Batch> {
        let all = all || self.is_draining();
        let mut state = self.state();
        let idle = state.sources.iter_mut().filter(|(_, source)| source.under_way.is_none());
        idle.filter_map(|(key, source)| {
            if all && source.full.is_empty() && source.open_size.spans > 0 {
                source.close();
            }
            let (body, size, opened) = source.full.pop_front()?;
            source.under_way = Some(opened);
            Some(Batch {
                queue: Arc::clone(self),
                source: *key,
                counters: Arc::clone(&source.counters),
                body,
                size,
                outcome: Outcome::Lost(Counter::Unfinished),
            })
        })
        .collect()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// How many spans wait or are under way, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let Size { spans, bytes } = self.state().total;
        (spans, bytes)
    }

    /// When the first of them came, if there are any. All that came before has been acknowledged or is counted as lost.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.state().sources.values().filter_map(Source::waiting_since).min()
    }

    /// Has everything leave without delay until nothing waits or the time is up; returns what is left.
    pub(super) async fn drain(&self, within: Duration) -> usize {
        self.is_draining.store(true, Ordering::Relaxed);
        self.wake.notify_one();
        self.hurry.notify_waiters();
        let empty = async {
            loop {
                let landed = self.landed.notified();
                if self.state().total.spans == 0 {
                    break;
                }
                landed.await;
            }
        };
        // Running out of time is told by what is left.
        let _ = tokio::time::timeout(within, empty).await;
        self.is_draining.store(false, Ordering::Relaxed);
        self.state().total.spans
    }

    /// Counts what still waits as unfinished.
    pub(super) fn count_rest(&self) {
        let mut state = self.state();
        for (_, source) in state.sources.drain() {
            source.counters.add(Counter::Unfinished, source.spans as u64);
        }
        state.services.clear();
        state.total = Size::default();
    }

    /// The entry of a process. Those of processes that nobody else knows any more are forgotten when a new one comes.
    fn source<'a>(
        &self,
        sources: &'a mut FxHashMap<usize, Source>,
        identity: &Arc<ProcessIdentity>,
    ) -> &'a mut Source {
        let key = address(identity);
        if !sources.contains_key(&key) {
            sources.retain(|_, source| source.spans > 0 || Arc::strong_count(&source.identity) > 1);
        }
        sources.entry(key).or_insert_with(|| Source {
            identity: Arc::clone(identity),
            counters: self.counters.service(&identity.service_name),
            spans: 0,
            open: Request::new(self.encoding, &identity.resource),
            open_size: Size::default(),
            opened: Instant::now(),
            full: VecDeque::new(),
            under_way: None,
        })
    }

    fn say_full(&self, identity: &ProcessIdentity) {
        if !self.has_said_full.swap(true, Ordering::Relaxed) {
            error!(
                service = identity.service_name,
                "a span found no room in the queue; further ones are only counted"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared) as usize
}

impl Size {
    fn add(&mut self, more: Self) {
        self.spans += more.spans;
        self.bytes += more.bytes;
    }

    fn subtract(&mut self, less: Self) {
        self.spans = self.spans.saturating_sub(less.spans);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}

impl Source {
    fn close(&mut self) {
        let size = std::mem::take(&mut self.open_size);
        self.full.push_back((self.open.finish().into(), size, self.opened));
    }

    fn waiting_since(&self) -> Option<Instant> {
        let open = (self.open_size.spans > 0).then_some(self.opened);
        self.under_way.or(self.full.front().map(|(_, _, opened)| *opened)).or(open)
    }
}

impl Batch {
    /// The endpoint acknowledged it, or it is lost.
    pub(super) fn landed(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// The number of its spans.
    pub(super) fn spans(&self) -> u64 {
        self.size.spans as u64
    }

    pub(super) fn retried(&self) {
        self.counters.add(Counter::Retries, 1);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let spans = self.spans();
        match self.outcome {
            Outcome::Accepted { rejected } => {
                let rejected = rejected.min(spans);
                self.counters.add(Counter::Exported, spans - rejected);
                self.counters.add(Counter::Rejected, rejected);
            }
            Outcome::Lost(cause) => self.counters.add(cause, spans),
        }
        let mut state = self.queue.state();
        state.total.subtract(self.size);
        if let Some(service) = state.services.get_mut(&address(&self.counters)) {
            service.subtract(self.size);
        }
        if let Some(source) = state.sources.get_mut(&self.source) {
            source.under_way = None;
            source.spans = source.spans.saturating_sub(self.size.spans);
        }
        drop(state);
        self.queue.landed.notify_waiters();
    }
}
