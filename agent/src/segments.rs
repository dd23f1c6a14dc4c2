//! Calls of gRPC that are open for long, of which there is a span for each piece while they last.
//!
//! The programs know nothing of it, and nothing of it costs the watched program anything: open spans are looked at from here, rarely.
//! The first piece has the id that the programs have given, so what was called meanwhile has its parent; what the programs send at the
//! end becomes the last piece. Between a look and its pieces the ring is read, so that nothing gets a piece that has ended.

use std::collections::VecDeque;
use std::time::Duration;

use lightfoot_probes_abi::{RecordHeader, RecordKind, segment, user};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::attach::OpenSpans;
use crate::watch::boot_time;

/// How often is looked at most, however long pieces are.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Looks in the time of one piece.
const LOOKS: u64 = 4;
/// At most so many pieces are cut after one look; the others wait for the next.
pub const MAX_CUTS: usize = 1024;
/// So many ends of long calls are remembered: the programs forget a span a moment after they have sent it.
const ENDS: usize = 16_384;
/// After so many looks that have not seen it, a call has ended and its record was lost.
const UNSEEN: u8 = 3;

/// Cuts pieces.
pub struct Segments {
    spans: OpenSpans,
    /// When to look again, in nanoseconds since boot.
    due: u64,
    pieces: Pieces,
}

/// What is known of calls that are open for long.
#[derive(Default)]
struct Pieces {
    /// How long a piece is at least, in nanoseconds.
    after: u64,
    /// The calls that have pieces, by the id of the span.
    open: FxHashMap<u64, Piece>,
    ends: Ends,
    /// What the last look has seen, by the id of the span.
    seen: FxHashSet<u64>,
    /// And what of that is due, with its record.
    found: Vec<(u64, Vec<u8>)>,
    /// The record that was changed last.
    changed: Vec<u8>,
}

/// The last piece of a call.
struct Piece {
    number: u32,
    end: u64,
    /// How many looks have not seen the call.
    unseen: u8,
}

/// The last [`ENDS`] ids of spans that were long and have ended.
#[derive(Default)]
struct Ends {
    order: VecDeque<u64>,
    all: FxHashSet<u64>,
}

impl Segments {
    /// Pieces of so much time at least.
    pub fn new(spans: OpenSpans, after: Duration) -> Self {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self { spans, due: 0, pieces: Pieces { after, ..Pieces::default() } }
    }

    /// The record of a span that has ended: as it is, or, if pieces came before, as that of the last piece.
    pub fn ended<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.pieces.ended(bytes)
    }

    /// Looks at what is open, if it is time to. Whether there is something to cut.
    pub fn look(&mut self) -> bool {
        let now = boot_time();
        if now < self.due {
            return false;
        }
        let Self { spans, due, pieces } = self;
        let pause = u64::try_from(LONGEST_PAUSE.as_nanos()).unwrap_or(u64::MAX);
        *due = now.saturating_add(pause.min(pieces.after / LOOKS));
        pieces.begin();
        let is_whole = spans.each(now, |header, bytes| pieces.see(header, bytes, now));
        if is_whole {
            pieces.forget_unseen();
        }
        !pieces.found.is_empty()
    }

    /// Hands on a record for each piece that the last look has found, save of what has ended meanwhile.
    pub fn cut(&mut self, take: impl FnMut(&[u8])) {
        self.pieces.cut(take);
    }
}

impl Pieces {
    fn ended<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(header) = RecordHeader::of(bytes) else { return bytes };
        if header.end.saturating_sub(header.start) < self.after {
            return bytes;
        }
        self.ends.add(header.span_id);
        let Some(piece) = self.open.remove(&header.span_id) else { return bytes };
        let number = piece.number.saturating_add(1);
        self.changed.clear();
        self.changed.extend_from_slice(bytes);
        // The end may be known for a moment before the record is sent.
        let start = piece.end.min(header.end);
        let id = segment::id(header.span_id, number);
        if RecordHeader::set_segment(&mut self.changed, id, start, number) { &self.changed } else { bytes }
    }

    /// Begins a look.
    fn begin(&mut self) {
        self.seen.clear();
        self.found.clear();
    }

    /// An open span, with its record as if it ended now.
    fn see(&mut self, header: &RecordHeader, bytes: &[u8], now: u64) {
        if header.kind != RecordKind::GrpcServer as u8 && header.kind != RecordKind::GrpcClient as u8 {
            return;
        }
        let last_end = self.open.get(&header.span_id).map_or(header.start, |piece| piece.end);
        let is_due = now.saturating_sub(last_end) >= self.after && self.found.len() < MAX_CUTS;
        if self.seen.insert(header.span_id) && is_due && user::Record::parse(bytes).is_ok() {
            self.found.push((header.span_id, bytes.to_vec()));
        }
    }

    /// Forgets what is open no more and will have no end: its record was lost.
    fn forget_unseen(&mut self) {
        let Self { open, seen, .. } = self;
        open.retain(|id, piece| {
            piece.unseen = if seen.contains(id) { 0 } else { piece.unseen.saturating_add(1) };
            piece.unseen < UNSEEN
        });
    }

    fn cut(&mut self, mut take: impl FnMut(&[u8])) {
        for (span_id, mut bytes) in self.found.drain(..) {
            let Some(header) = RecordHeader::of(&bytes) else { continue };
            if self.ends.all.contains(&span_id) {
                continue;
            }
            let (number, start) = match self.open.get(&span_id) {
                Some(piece) => (piece.number.saturating_add(1), piece.end),
                None => (1, header.start),
            };
            let id = segment::id(span_id, number);
            if RecordHeader::set_segment(&mut bytes, id, start, number | segment::OPEN) {
                take(&bytes);
                self.open.insert(span_id, Piece { number, end: header.end, unseen: 0 });
            }
        }
    }
}

impl Ends {
    fn add(&mut self, span_id: u64) {
        if self.all.insert(span_id) {
            self.order.push_back(span_id);
        }
        if self.order.len() > ENDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
