//! What a session brings, as frames of a recording.

use std::collections::{HashSet, VecDeque};
use std::future::ready;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use lightfoot_probes_abi::Record;
use lightfoot_probes_abi::record::RecordHeader;
use tracing::{info, warn};

use crate::cli::counts::Counts;
use crate::cli::events;
use crate::cli::run::Output;
use crate::cli::spans::MAX_HELD;
use crate::clock::{Clock, REANCHOR_INTERVAL, Reading};
use crate::counters::SessionCounter;
use crate::discover::ProcessKey;
use crate::recording::{Fact, Process, Taken, TypeName, Writer};
use crate::resource::{Host, ProcessIdentity};
use crate::session;
use crate::type_names::{MAX_TYPE_NAMES, TypeNames};
use crate::watch::Event;

/// A recording under way.
pub(super) struct Recording<W: Write> {
    writer: Writer<W>,
    path: PathBuf,
    host: Host,
    clock: Clock,
    anchored: Instant,
    processes: Vec<Known>,
    next_id: u32,
    /// Errors of which the process is not known yet.
    early: VecDeque<CallError>,
    records: u64,
    /// Where in the recording each record ends that may still be in the buffer, of 8 KiB.
    ends: VecDeque<u64>,
    /// The bytes that have come to the file.
    written: Arc<AtomicU64>,
    counts: Arc<Counts>,
    ends_when_full: bool,
    said_full: bool,
    failed: Option<io::Error>,
}

/// A process that records come from.
struct Known {
    id: u32,
    key: ProcessKey,
    since: u64,
    type_names: Option<Arc<TypeNames>>,
    /// The types whose names are in the recording.
    named: HashSet<u64>,
}

/// An error that a call returned.
#[derive(Clone, Copy)]
struct CallError {
    pid: u32,
    start: u64,
    descriptor: u64,
}

impl<W: Write> Recording<W> {
    /// Of the writer it is also told how many bytes have come to the file.
    pub(super) fn new(
        (writer, written): (Writer<W>, Arc<AtomicU64>),
        path: PathBuf,
        host: Host,
        counts: &Arc<Counts>,
        ends_when_full: bool,
    ) -> Self {
        let reading = Reading::take();
        let mut recording = Self {
            writer,
            path,
            host,
            clock: Clock::from_reading(reading),
            anchored: Instant::now(),
            processes: Vec::new(),
            next_id: 1,
            early: VecDeque::new(),
            records: 0,
            ends: VecDeque::new(),
            written,
            counts: Arc::clone(counts),
            ends_when_full,
            said_full: false,
            failed: None,
        };
        recording.fact(&Fact::Clock(reading));
        recording
    }

    fn fact(&mut self, fact: &Fact) {
        let result = self.writer.fact(fact);
        self.is_taken(result);
    }

    fn is_taken(&mut self, result: io::Result<Taken>) -> bool {
        match result {
            Ok(Taken::Yes) => return true,
            Ok(Taken::No) if self.writer.is_full() && !std::mem::replace(&mut self.said_full, true) => {
                let path = self.path.display();
                warn!(%path, "the recording has its size; what follows is left out and counted");
            }
            Ok(Taken::No) => {}
            Err(error) => _ = self.failed.get_or_insert(error),
        }
        false
    }

    fn started(&mut self, known: Known, executable: &Path, identity: &ProcessIdentity) {
        let (id, since) = (known.id, known.since);
        self.next_id = self.next_id.saturating_add(1);
        self.processes.push(known);
        // What waits for a process is described once it is known: what is needed for that must stand before.
        for error in std::mem::take(&mut self.early) {
            self.name(error);
        }
        events::say_watching(identity, executable);
        self.fact(&Fact::Process(Process::new(id, identity, since, executable.display().to_string())));
    }

    /// Puts the name of an error's type into the recording, unless it is there.
    fn name(&mut self, error: CallError) {
        let of = |known: &&mut Known| known.key.pid == error.pid && known.since <= error.start;
        let Some(known) = self.processes.iter_mut().rev().find(of) else {
            if self.early.len() < MAX_HELD {
                self.early.push_back(error);
            }
            return;
        };
        if known.named.len() < MAX_TYPE_NAMES && known.named.insert(error.descriptor) {
            let name = known.type_names.as_ref().and_then(|names| names.get(error.descriptor));
            let fact = TypeName { process: known.id, descriptor: error.descriptor, name };
            self.fact(&Fact::TypeName(fact));
        }
    }

    fn reanchor(&mut self) {
        if self.anchored.elapsed() < REANCHOR_INTERVAL {
            return;
        }
        self.anchored = Instant::now();
        let reading = Reading::take();
        if self.clock.observe(reading) {
            self.fact(&Fact::Clock(reading));
        }
        // A recording that is killed is to be as long as can be.
        if let Err(error) = self.writer.flush() {
            self.failed.get_or_insert(error);
        }
    }

    /// Writes the last frame, and says what there is.
    fn end(mut self) -> anyhow::Result<()> {
        let path = self.path.display();
        let end = Fact::End { counts: self.counts.early_by_name() };
        let bytes = self.writer.bytes();
        let finished = match self.failed {
            Some(error) => Err(error),
            None => self.writer.finish(&end).map(drop),
        };
        if finished.is_err() {
            pass(&mut self.ends, &self.written);
            self.counts.add(SessionCounter::NotRecorded, self.ends.len() as u64);
        }
        self.counts.print();
        finished.with_context(|| format!("cannot write {path}"))?;
        let (records, processes) = (self.records, self.next_id.saturating_sub(1));
        info!(records, processes, bytes, %path, "recorded");
        Ok(())
    }
}

/// Forgets the records that have come to the file.
fn pass(ends: &mut VecDeque<u64>, written: &AtomicU64) {
    let written = written.load(Ordering::Relaxed);
    while ends.front().is_some_and(|end| *end <= written) {
        ends.pop_front();
    }
}

impl<W: Write> Output for Recording<W> {
    fn finish(self) -> impl Future<Output = anyhow::Result<()>> {
        ready(self.end())
    }
}

impl<W: Write> session::Sink for Recording<W> {
    fn event(&mut self, event: Event) {
        events::say(&event);
        if let Some((what, text)) = events::notice(&event) {
            self.fact(&Fact::Notice { what: what.to_owned(), text });
        }
        events::count(&event, &self.counts);
        match event {
            Event::Started { key, executable, build_info, facts, type_names, since, treatment } => {
                match facts {
                    Ok(facts) => {
                        let identity = ProcessIdentity::new(
                            key.pid,
                            *facts,
                            &build_info,
                            treatment.name(),
                            None,
                            &self.host,
                            &self.clock,
                        );
                        let (id, named) = (self.next_id, HashSet::new());
                        self.started(Known { id, key, since, type_names, named }, &executable, &identity);
                    }
                    Err(error) => events::unidentified(key.pid, &error, &self.counts),
                }
            }
            Event::Ended { key, .. } => {
                if let Some(index) = self.processes.iter().position(|known| known.key == key) {
                    let known = self.processes.remove(index);
                    self.fact(&Fact::Ended { process: known.id });
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        let (header, descriptor) = match Record::parse(bytes) {
            Ok(Record::HttpClient(http, _)) => (http.header, http.error_type_or_stream),
            Ok(Record::GrpcClient(call, _)) => (call.header, call.error_type_or_stream),
            _ => (RecordHeader::default(), 0),
        };
        if descriptor != 0 {
            self.name(CallError { pid: header.tgid, start: header.start, descriptor });
        }
        let result = self.writer.record(bytes);
        if self.is_taken(result) {
            self.records += 1;
            self.ends.push_back(self.writer.bytes());
            pass(&mut self.ends, &self.written);
        } else {
            self.counts.add(SessionCounter::NotRecorded, 1);
        }
    }

    fn turn(&mut self) {
        self.reanchor();
    }

    fn is_done(&self) -> bool {
        self.failed.is_some() || self.ends_when_full && self.writer.is_full()
    }
}
