//! From records to spans that are on their way: the part of a session that `run` and `replay` share.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bumpalo::Bump;
use tracing::{error, trace, warn};

use super::counts::Counts;
use crate::clock::Clock;
use crate::counters::{Parents, SessionCounter};
use crate::deliver::{DeliverError, Pipeline, Settings};
use crate::describe::{self, Describer};
use crate::discover::{ProcessKey, Treatment};
use crate::join::Joiner;
use crate::receive::{self, ReceiveError};
use crate::record::Operation;
use crate::resource::ProcessIdentity;
use crate::type_names::TypeNames;

/// How long a record waits for its process to be announced.
const HOLD: Duration = Duration::from_secs(1);
/// Bytes of the arena at first; it grows to what the largest record takes, a few times the texts of one.
const ARENA: usize = 4_096;
/// At most so many records wait.
pub(super) const MAX_HELD: usize = 4_096;

/// Describes records and hands the spans on.
pub(super) struct Spans {
    /// What gives spans their time of day.
    pub(super) clock: Clock,
    describer: Describer,
    /// Where spans of calls and of what they call are linked.
    joiner: Option<Joiner>,
    /// By number, for each process that had it and of which records may come; the last one is the newest.
    processes: HashMap<u32, Vec<Known>>,
    /// As they came.
    held: VecDeque<(Instant, Box<[u8]>)>,
    /// For the texts of one span.
    arena: Bump,
    pub(super) pipeline: Pipeline,
    pub(super) counts: Arc<Counts>,
    said_malformed: bool,
}

/// A process that records come from.
pub(super) struct Known {
    pub(super) key: ProcessKey,
    /// Nanoseconds of `CLOCK_BOOTTIME`: its spans start later.
    pub(super) since: u64,
    pub(super) identity: Arc<ProcessIdentity>,
    pub(super) type_names: Option<Arc<TypeNames>>,
    pub(super) treatment: Arc<Treatment>,
    /// How its spans were linked to their parents.
    pub(super) parents: Arc<Parents>,
}

impl Spans {
    /// Starts delivery; must be called within a tokio runtime.
    pub(super) fn start(
        settings: &Settings,
        describing: describe::Settings,
        clock: Clock,
        joins: bool,
        counts: &Arc<Counts>,
    ) -> Result<Self, DeliverError> {
        let pipeline = Pipeline::start(settings, Arc::clone(&counts.delivery))?;
        Ok(Self {
            clock,
            describer: Describer::new(describing),
            joiner: joins.then(Joiner::default),
            processes: HashMap::new(),
            held: VecDeque::new(),
            arena: Bump::with_capacity(ARENA),
            pipeline,
            counts: Arc::clone(counts),
            said_malformed: false,
        })
    }

    /// Makes a process known, and hands on the records that have waited for it.
    pub(super) fn announce(&mut self, known: Known) {
        self.processes.entry(known.key.pid).or_default().push(known);
        let mut held = std::mem::take(&mut self.held);
        held.retain(|(_, bytes)| self.deliver(bytes) != Ok(true));
        self.held = held;
    }

    /// Spans of a process are treated otherwise from now on.
    pub(super) fn treat(
        &mut self,
        key: ProcessKey,
        identity: Arc<ProcessIdentity>,
        treatment: Arc<Treatment>,
    ) {
        let known = self.processes.get_mut(&key.pid).into_iter().flatten().find(|known| known.key == key);
        if let Some(known) = known {
            (known.identity, known.treatment) = (identity, treatment);
        }
    }

    /// No more records come from a process.
    pub(super) fn ended(&mut self, key: ProcessKey) {
        if let Some(known) = self.processes.get_mut(&key.pid) {
            known.retain(|known| known.key != key);
            if known.is_empty() {
                self.processes.remove(&key.pid);
            }
        }
    }

    /// Takes what the ring buffer held.
    pub(super) fn record(&mut self, bytes: &[u8]) {
        while self.held.len() >= MAX_HELD
            || self.held.front().is_some_and(|(since, _)| since.elapsed() > HOLD)
        {
            self.held.pop_front();
            self.counts.add(SessionCounter::WithoutProcess, 1);
        }
        match self.deliver(bytes) {
            Ok(true) => {}
            Ok(false) => self.held.push_back((Instant::now(), bytes.into())),
            Err(error) => self.malformed(error),
        }
    }

    /// Sends what is left, for so long at most, and says what became of everything.
    pub(super) async fn finish(self, within: Duration) {
        let error = self.pipeline.last_export_error();
        self.counts.add(SessionCounter::WithoutProcess, self.held.len() as u64);
        let waiting = self.joiner.as_ref().map_or(0, Joiner::waiting);
        self.counts.add(SessionCounter::JoinUnmatched, waiting);
        self.pipeline.stop(within).await;
        self.counts.print();
        if let Some(error) = error {
            warn!(error, "what the last failed export said");
        }
    }

    /// Describes a record and hands it on, if its process is known.
    fn deliver(&mut self, bytes: &[u8]) -> Result<bool, ReceiveError> {
        self.arena.reset();
        let mut record = receive::record(bytes, &self.arena)?;
        let known = self.processes.get(&record.pid).into_iter().flatten();
        let Some(known) = known.rev().find(|known| known.since <= record.start) else { return Ok(false) };
        let (kind, path) = describe::kind_and_path(&record.operation);
        if known.treatment.leaves_out(kind, path) {
            self.counts.add(SessionCounter::LeftOut, 1);
            return Ok(true);
        }
        let error = match &mut record.operation {
            Operation::HttpClient(request) => request.error.as_mut(),
            Operation::GrpcClient(call) => call.error.as_mut(),
            _ => None,
        };
        if let Some(error) = error {
            let name = known.type_names.as_ref().and_then(|names| names.get(error.descriptor));
            error.type_name = name.map(|name| &*self.arena.alloc_str(&name));
        }
        if record.segment.is_some_and(|segment| segment.is_open) {
            self.counts.add(SessionCounter::Segments, 1);
        }
        let rule = record.parent.map(|parent| parent.rule);
        known.parents.count(rule);
        self.counts.parents.count(rule);
        let mut span = self.describer.span(&record, &self.clock, &self.arena);
        if let Some(joiner) = &mut self.joiner {
            span.joined = joiner.offer(&record, known.identity.network);
            for (counter, count) in joiner.tally().counts() {
                self.counts.add(counter, count);
            }
        }
        trace!(service = known.identity.service_name, pid = record.pid, name = &*span.name, "span");
        self.pipeline.push(&known.identity, span);
        Ok(true)
    }

    fn malformed(&mut self, error: ReceiveError) {
        self.counts.add(SessionCounter::Malformed, 1);
        if !std::mem::replace(&mut self.said_malformed, true) {
            error!(%error, "a record cannot be read; further ones are only counted");
        }
    }
}
