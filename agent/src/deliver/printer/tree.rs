//! Traces as trees, for people.
//!
//! A span ends before its parent does, so a trace is held back a little: [`SETTLE`] from its last span on once its
//! root is there, [`WAIT`] from its first span on otherwise (the root may run on for hours, or in a process that is not
//! watched). What comes later is a tree of its own; its `trace=` and `parent=` say where it belongs.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use anstyle::{AnsiColor, Style};
use opentelemetry::trace as id;
use rustc_hash::FxHashMap;

use super::Item;
use crate::escape::Escaped;
use crate::record::{SpanId, TraceId};
use crate::semconv as name;
use crate::span::{Span, Status, Value};

/// How long a trace with its root waits for stragglers.
const SETTLE: Duration = Duration::from_millis(50);
/// How long a trace waits for its root.
const WAIT: Duration = Duration::from_millis(400);
/// At most so many spans are held back; with more of them all are printed as they are.
const MAX_HELD: usize = 4_096;
/// Deeper children are not indented any further.
const MAX_INDENT: usize = 24;

/// The attributes that are shown behind a span.
const SHOWN: [&str; 6] = [
    name::URL_PATH,
    name::URL_FULL,
    name::CLIENT_ADDRESS,
    name::TRUNCATED,
    name::PARENT_INFERRED,
    name::SEGMENT,
];

const SERVICE: Style = AnsiColor::Cyan.on_default();
const NAME: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// The traces that wait for more of their spans.
#[derive(Default)]
pub(super) struct Traces {
    traces: FxHashMap<TraceId, Trace>,
    spans: usize,
}

struct Trace {
    spans: Vec<Item>,
    first: Instant,
    last: Instant,
    has_root: bool,
}

impl Traces {
    pub(super) fn is_empty(&self) -> bool {
        self.spans == 0
    }

    pub(super) fn add(&mut self, item: Item, now: Instant) {
        let trace = self.traces.entry(item.span.trace_id).or_insert_with(|| Trace {
            spans: Vec::new(),
            first: now,
            last: now,
            has_root: false,
        });
        trace.has_root |= item.span.parent.is_none();
        trace.last = now;
        trace.spans.push(item);
        self.spans += 1;
    }

    /// The traces that have waited long enough, or all of them if `all` or if there are too many spans; those that
    /// came first go first.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Vec<Vec<Item>> {
        let all = all || self.spans > MAX_HELD;
        let is_due = |trace: &Trace| {
            let settled = trace.has_root && now.duration_since(trace.last) >= SETTLE;
            all || settled || now.duration_since(trace.first) >= WAIT
        };
        let mut due: Vec<Trace> =
            self.traces.extract_if(|_, trace| is_due(trace)).map(|(_, trace)| trace).collect();
        // Those that came at once, as out of a recording, are told apart by when they really began.
        let began = |trace: &Trace| trace.spans.iter().map(|item| item.span.start_time).min();
        due.sort_by_key(|trace| (trace.first, began(trace)));
        self.spans -= due.iter().map(|trace| trace.spans.len()).sum::<usize>();
        due.into_iter().map(|trace| trace.spans).collect()
    }
}

/// Writes the spans of one trace as one tree, or several where parents are missing.
pub(super) fn render(trace: &[Item], text: &mut Vec<u8>) {
    let mut children: FxHashMap<SpanId, Vec<&Item>> = FxHashMap::default();
    let ids: Vec<_> = trace.iter().map(|item| item.span.span_id).collect();
    let mut roots = Vec::new();
    for item in trace {
        let parent = item.span.parent.map(|parent| parent.span_id);
        match parent.filter(|parent| *parent != item.span.span_id && ids.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(item),
            None => roots.push(item),
        }
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|item| item.span.start_time);
    }
    roots.sort_by_key(|item| item.span.start_time);
    for root in roots {
        subtree(root, &mut children, text);
    }
    // Spans that are each other's ancestors hang from no root. They must be seen all the same.
    while let Some(parent) = children.keys().min().copied() {
        for span in children.remove(&parent).unwrap_or_default() {
            subtree(span, &mut children, text);
        }
    }
}

/// Each list of children is taken when it is written, so that no span is written twice and a circle ends.
fn subtree<'a>(root: &'a Item, children: &mut FxHashMap<SpanId, Vec<&'a Item>>, text: &mut Vec<u8>) {
    // The item, the branches of its ancestors, and whether it is the last of its siblings; `None` for the root.
    let mut stack: Vec<(&Item, String, Option<bool>)> = vec![(root, String::new(), None)];
    while let Some((item, branches, is_last)) = stack.pop() {
        line(item, &branches, is_last, text);
        let mut below = branches;
        match is_last {
            _ if below.chars().count() >= MAX_INDENT => {}
            Some(true) => below.push_str("   "),
            Some(false) => below.push_str("│  "),
            None => {}
        }
        let siblings = children.remove(&item.span.span_id).unwrap_or_default();
        for (position, child) in siblings.into_iter().rev().enumerate() {
            stack.push((child, below.clone(), Some(position == 0)));
        }
    }
}

/// Writing to memory does not fail, so the results are of no interest.
fn line(item: &Item, branches: &str, is_last: Option<bool>, text: &mut Vec<u8>) {
    let span = &item.span;
    let clock = humantime::format_rfc3339_millis(span.start_time).to_string();
    let _ = match is_last {
        None => write!(text, "{QUIET}{}{QUIET:#} ", clock.get(11..23).unwrap_or_default()),
        Some(true) => write!(text, "{:13}{QUIET}{branches}└─{QUIET:#} ", ""),
        Some(false) => write!(text, "{:13}{QUIET}{branches}├─{QUIET:#} ", ""),
    };
    let _ = write!(
        text,
        "{SERVICE}{}{SERVICE:#}  {NAME}{}{NAME:#}",
        Escaped(&item.identity.service_name),
        Escaped(&span.name)
    );
    outcome(span, text);
    let _ = write!(text, "  {}", duration(span.start_time, span.end_time));
    let mut details = Vec::new();
    for attribute in &span.attributes {
        if SHOWN.contains(&&*attribute.key) {
            details.push(format!("{}={}", attribute.key, Escaped(&attribute.value.to_string())));
        }
    }
    if is_last.is_none() {
        details.push(format!("trace={}", id::TraceId::from_bytes(span.trace_id)));
        if let Some(parent) = span.parent {
            details.push(format!("parent={}", id::SpanId::from_bytes(parent.span_id)));
        }
    }
    if let Some(joined) = span.joined {
        details.push(format!("joined={}", id::SpanId::from_bytes(joined.span_id)));
        details.push(format!("joined.trace={}", id::TraceId::from_bytes(joined.trace_id)));
    }
    if !details.is_empty() {
        let _ = write!(text, "  {QUIET}{}{QUIET:#}", details.join(" "));
    }
    text.push(b'\n');
}

/// The status code, and the error if that is another.
fn outcome(span: &Span<'_>, text: &mut Vec<u8>) {
    let code = span.get(name::HTTP_RESPONSE_STATUS_CODE);
    let code = code.or_else(|| span.get(name::RPC_RESPONSE_STATUS_CODE));
    let style = match (&span.status, code) {
        (Status::Error(_), _) => BAD,
        (_, Some(Value::Integer(400..))) => DOUBTFUL,
        _ => GOOD,
    };
    let code = code.map(ToString::to_string);
    let error = span.get(name::ERROR_TYPE).map(ToString::to_string);
    let error = error.filter(|error| code.as_ref() != Some(error));
    for word in [code, error].into_iter().flatten() {
        let _ = write!(text, "  {style}{}{style:#}", Escaped(&word));
    }
}

fn duration(start: SystemTime, end: SystemTime) -> String {
    let duration = end.duration_since(start).unwrap_or_default();
    let seconds = duration.as_secs_f64();
    match duration.as_micros() {
        0..1_000 => format!("{:.0}µs", seconds * 1e6),
        1_000..1_000_000 => format!("{:.1}ms", seconds * 1e3),
        _ => format!("{seconds:.2}s"),
    }
}

#[cfg(test)]
mod tests;
