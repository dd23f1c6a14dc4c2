//! Spans on standard output: a thread of its own, for a slow reader must hold up nothing else.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::capabilities::keep_in_thread;
use crate::counters::{Counter, ServiceCounters};
use crate::resource::ProcessIdentity;
use crate::span::Span;

mod json;
mod tree;

use tree::Traces;

/// At most so many spans wait for the thread.
const MAX_WAITING: usize = 4_096;
/// At most so many are written at once.
const MAX_AT_ONCE: usize = 256;
/// How often traces are looked at that wait for more of their spans.
const TICK: Duration = Duration::from_millis(20);

/// How spans are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A tree for each trace, for people
    Tree,
    /// A flat JSON object for each span, one a line
    Json,
    /// An OTLP/JSON ExportTraceServiceRequest for each span, one a line
    OtlpJson,
}

/// The thread that prints.
pub(super) struct Printer {
    sender: SyncSender<Item>,
    /// Whether a slow reader holds up whoever brings spans.
    pub(super) is_patient: bool,
    ended: oneshot::Receiver<()>,
    is_closed: Arc<AtomicBool>,
    pub(super) writing: Writing,
}

/// When the oldest span came of those that are being written, while they are.
pub(super) type Writing = Arc<Mutex<Option<Instant>>>;

/// A span to print.
struct Item {
    came: Instant,
    identity: Arc<ProcessIdentity>,
    counters: Arc<ServiceCounters>,
    /// Small, for the channel has room for all that may wait from the start.
    span: Box<Span<'static>>,
}

/// Standard output that drops colours where nobody would see them (no terminal, `NO_COLOR`).
pub(super) fn standard_output() -> Box<dyn Write + Send> {
    let choice =
        if io::stdout().is_terminal() { anstream::ColorChoice::Auto } else { anstream::ColorChoice::Never };
    Box::new(anstream::AutoStream::new(io::stdout(), choice))
}

impl Printer {
    pub(super) fn start(format: Format, mut output: Box<dyn Write + Send>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let (ending, ended) = oneshot::channel();
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        let writing = Writing::default();
        let oldest = Arc::clone(&writing);
        thread::Builder::new().name("printer".into()).spawn(move || {
            keep_in_thread(0);
            let (text, counted) = (Vec::new(), Vec::new());
            let mut page =
                Page { output: &mut output, text, counted, oldest: None, writing: &oldest, closed: &closed };
            match format {
                Format::Tree => print_trees(&receiver, &mut page),
                Format::Json => print_lines(&receiver, &mut page, json::flat),
                Format::OtlpJson => print_lines(&receiver, &mut page, json::otlp),
            }
            // Nobody is told if nobody waits any more.
            let _ = ending.send(());
        })?;
        Ok(Self { sender, is_patient: false, ended, is_closed, writing })
    }

    pub(super) fn push(
        &self,
        identity: Arc<ProcessIdentity>,
        counters: Arc<ServiceCounters>,
        span: Span<'_>,
    ) {
        let item = Item { came: Instant::now(), identity, counters, span: Box::new(span.into_owned()) };
        if self.is_patient {
            if let Err(error) = self.sender.send(item) {
                error.0.counters.add(Counter::PrinterBehind, 1);
            }
            return;
        }
        if let Err(error) = self.sender.try_send(item) {
            let (std::sync::mpsc::TrySendError::Full(item)
            | std::sync::mpsc::TrySendError::Disconnected(item)) = error;
            item.counters.add(Counter::PrinterBehind, 1);
        }
    }

    /// Prints what waits; `false` if the time was up before. The thread is left alone then: its write may never return.
    pub(super) async fn stop(self, deadline: tokio::time::Instant) -> bool {
        drop(self.sender);
        tokio::time::timeout_at(deadline, self.ended).await.is_ok()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// What is written at once, and whose spans it holds.
struct Page<'a> {
    output: &'a mut dyn Write,
    text: Vec<u8>,
    counted: Vec<Arc<ServiceCounters>>,
    /// When the first of them came.
    oldest: Option<Instant>,
    writing: &'a Writing,
    closed: &'a AtomicBool,
}

impl Page<'_> {
    fn counts(&mut self, item: Item) {
        self.oldest = Some(self.oldest.map_or(item.came, |oldest| oldest.min(item.came)));
        self.counted.push(item.counters);
    }

    fn write(&mut self) {
        if self.counted.is_empty() {
            return;
        }
        let tell = |oldest| *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
        tell(self.oldest.take());
        let result = self.output.write_all(&self.text).and_then(|()| self.output.flush());
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.closed.store(true, Ordering::Relaxed);
        }
        tell(None);
        let outcome = if result.is_ok() { Counter::Printed } else { Counter::PrintFailed };
        for counters in self.counted.drain(..) {
            counters.add(outcome, 1);
        }
        self.text.clear();
    }
}

fn print_lines(receiver: &Receiver<Item>, page: &mut Page<'_>, line: fn(&Item) -> String) {
    while let Ok(first) = receiver.recv() {
        for item in std::iter::once(first).chain(receiver.try_iter().take(MAX_AT_ONCE)) {
            page.text.extend(line(&item).bytes().chain(*b"\n"));
            page.counts(item);
        }
        page.write();
    }
}

fn print_trees(receiver: &Receiver<Item>, page: &mut Page<'_>) {
    let mut traces = Traces::default();
    loop {
        // Without a trace there is nothing to wake up for.
        let received = if traces.is_empty() {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            receiver.recv_timeout(TICK)
        };
        let is_over = match received {
            Ok(first) => {
                let now = Instant::now();
                for item in std::iter::once(first).chain(receiver.try_iter().take(MAX_AT_ONCE)) {
                    traces.add(item, now);
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        for trace in traces.take(Instant::now(), is_over) {
            tree::render(&trace, &mut page.text);
            for item in trace {
                page.counts(item);
            }
        }
        page.write();
        if is_over {
            return;
        }
    }
}
