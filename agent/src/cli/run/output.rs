//! Where the spans of a session go, and what is said about it on standard error.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

use super::counts::Counts;
use crate::cli::report;
use crate::clock::{Clock, REANCHOR_INTERVAL};
use crate::counters::SessionCounter;
use crate::deliver::{Flags, Format, Pipeline, Settings};
use crate::describe::{self, Describer};
use crate::discover::ProcessKey;
use crate::receive::ReceiveError;
use crate::record::{Operation, Record};
use crate::resource::{Host, ProcessIdentity};
use crate::session::{self, Report};
use crate::type_names::TypeNames;
use crate::variables::Variables;
use crate::watch::Event;

/// How long a resolver may hold up the start; where it does not answer at all, it takes 10 seconds to say so.
const RESOLVE: Duration = Duration::from_secs(2);
/// How long a record waits for its process to be announced.
const HOLD: Duration = Duration::from_secs(1);
/// At most so many records wait.
const MAX_HELD: usize = 4_096;

#[derive(clap::Args)]
pub(super) struct OutputArguments {
    /// Send spans to this OTLP endpoint, as OTEL_EXPORTER_OTLP_ENDPOINT (which sudo drops)
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// How to speak to it: grpc, http/protobuf or http/json, as OTEL_EXPORTER_OTLP_PROTOCOL
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Print spans in this form; without an endpoint they are printed as trees anyway
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Memory for spans that wait to be sent, for all processes together, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    queue_size: u16,
    /// How long the last spans may take at the end, in seconds; 5 if OTEL_BSP_EXPORT_TIMEOUT says nothing else
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(0..=3600))]
    flush_timeout: Option<u16>,
}

impl OutputArguments {
    /// What flags and environment say of delivery.
    pub(super) fn settings(&self, variables: &mut Variables<'_>) -> Settings {
        let flags = Flags {
            endpoint: self.endpoint.clone(),
            protocol: self.protocol.clone(),
            format: self.format,
            queue_size: Some(self.queue_size),
            flush_timeout: self.flush_timeout.map(|seconds| Duration::from_secs(seconds.into())),
        };
        Settings::read(variables, &flags)
    }
}

/// The port of the export endpoint, if it is on this host: whoever listens there gets our spans.
pub(super) fn local_export_port(settings: &Settings) -> Option<u16> {
    let otlp = settings.otlp.clone()?;
    let (tell, told) = channel();
    // It fails if nobody waits any more.
    let resolve = move || drop(tell.send(otlp.addresses()));
    thread::Builder::new().name("resolve".to_owned()).spawn(resolve).ok()?;
    // An endpoint that cannot be resolved now is not on this host: names of that are in its files.
    let addresses = told.recv_timeout(RESOLVE).ok()?.ok()?;
    let is_local = |address: &SocketAddr| UdpSocket::bind((address.ip(), 0)).is_ok();
    addresses.iter().find(|address| is_local(address)).map(SocketAddr::port)
}

/// Describes records and hands the spans on.
pub(super) struct Sink {
    host: Host,
    clock: Clock,
    anchored: Instant,
    describer: Describer,
    /// By number, for each process that had it and of which records may come; the last one is the newest.
    processes: HashMap<u32, Vec<Known>>,
    held: VecDeque<(Instant, Record)>,
    pipeline: Pipeline,
    flush_timeout: Duration,
    counts: Arc<Counts>,
    ends_with_output: bool,
    is_verbose: bool,
    said_malformed: bool,
}

/// How a session talks to people.
#[derive(Clone, Copy)]
pub(super) struct Talk {
    /// Whether it says also what most need not know.
    pub(super) is_verbose: bool,
    /// There is no use in going on when nobody reads the only output any more.
    pub(super) ends_with_output: bool,
}

/// A process that records come from.
struct Known {
    key: ProcessKey,
    since: u64,
    identity: Arc<ProcessIdentity>,
    type_names: Option<Arc<TypeNames>>,
}

impl Sink {
    /// Everything is ready when it returns.
    pub(super) fn start(
        settings: &Settings,
        describing: describe::Settings,
        counts: &Arc<Counts>,
        talk: Talk,
    ) -> anyhow::Result<Self> {
        let mut pipeline = Pipeline::start(settings, Arc::clone(&counts.delivery))?;
        if let Some(mut notices) = pipeline.notices() {
            tokio::spawn(async move {
                while let Some(notice) = notices.recv().await {
                    say("delivery", &notice);
                }
            });
        }
        Ok(Self {
            host: Host::detect(Path::new("/proc")),
            clock: Clock::start(),
            anchored: Instant::now(),
            describer: Describer::new(describing),
            processes: HashMap::new(),
            held: VecDeque::new(),
            pipeline,
            flush_timeout: settings.flush_timeout,
            counts: Arc::clone(counts),
            ends_with_output: talk.ends_with_output && settings.otlp.is_none(),
            is_verbose: talk.is_verbose,
            said_malformed: false,
        })
    }

    /// Describes a record and hands it on, if its process is known.
    fn deliver(&self, record: &mut Record) -> bool {
        let known = self.processes.get(&record.pid).into_iter().flatten();
        let Some(known) = known.rev().find(|known| known.since <= record.start) else { return false };
        if let Operation::HttpClient(request) = &mut record.operation
            && let Some(error) = &mut request.error
        {
            error.type_name = known.type_names.as_ref().and_then(|names| names.get(error.descriptor));
        }
        self.pipeline.push(&known.identity, self.describer.span(record, &self.clock));
        true
    }

    /// Sends what is left, and says what became of everything.
    pub(super) async fn finish(self) {
        let problem = self.pipeline.last_export_error();
        self.counts.add(SessionCounter::WithoutProcess, self.held.len() as u64);
        self.pipeline.stop(self.flush_timeout).await;
        let counts = self.counts.to_string();
        anstream::eprint!("{counts}");
        if let Some(problem) = problem {
            say("warning", &format!("the last failed export said: {problem}"));
        }
    }
}

impl session::Sink for Sink {
    fn event(&mut self, event: Event) {
        match event {
            Event::Started { key, executable, build_info, type_names, since } => {
                let identity =
                    ProcessIdentity::read(Path::new("/proc"), key.pid, &build_info, &self.host, &self.clock);
                match identity {
                    Ok(identity) => {
                        let path = executable.display();
                        say("watching", &format!("{} (process {}, {path})", identity.service_name, key.pid));
                        let known = Known { key, since, identity: Arc::new(identity), type_names };
                        self.processes.entry(key.pid).or_default().push(known);
                        let mut held = std::mem::take(&mut self.held);
                        held.retain_mut(|(_, record)| !self.deliver(record));
                        self.held = held;
                    }
                    // It ended before it was known; its records, if any, are counted.
                    Err(_) => self.counts.add(SessionCounter::Unidentified, 1),
                }
            }
            Event::Ended { key, counters, open } => {
                if let Some(known) = self.processes.get_mut(&key.pid) {
                    known.retain(|known| known.key != key);
                    if known.is_empty() {
                        self.processes.remove(&key.pid);
                    }
                }
                self.counts.add_kernel(&counters);
                self.counts.add(SessionCounter::OpenAtEnd, open);
            }
            Event::Unwatched { counters } => self.counts.add_kernel(&counters),
            Event::CallEnd { executable, change } => {
                if self.is_verbose {
                    say("calls", &format!("{}: {change}", executable.display()));
                }
            }
            Event::ContextsLeftOut { executable, count } => {
                let types = u64::try_from(count).unwrap_or(u64::MAX);
                self.counts.add(SessionCounter::ContextTypesLeftOut, types);
                let path = executable.display();
                say("warning", &format!("{path}: contexts of {count} types are not followed"));
            }
            Event::CopiedRoutes { executable, result } => {
                let path = executable.display();
                match result.map_err(anyhow::Error::from) {
                    Ok(()) => say(
                        "watching",
                        &format!(
                            "routes of copied requests in {path}: one trap more for each ServeMux passed"
                        ),
                    ),
                    Err(reason) => {
                        say("not watching", &format!("routes of copied requests in {path}: {reason:#}"));
                    }
                }
            }
            Event::Refused { key, executable, reason } => {
                let reason = anyhow::Error::from(reason);
                say("not watching", &format!("{} (process {}): {reason:#}", executable.display(), key.pid));
            }
        }
    }

    fn record(&mut self, mut record: Record) {
        if self.anchored.elapsed() >= REANCHOR_INTERVAL {
            self.clock.reanchor();
            self.anchored = Instant::now();
        }
        while self.held.len() >= MAX_HELD
            || self.held.front().is_some_and(|(since, _)| since.elapsed() > HOLD)
        {
            self.held.pop_front();
            self.counts.add(SessionCounter::WithoutProcess, 1);
        }
        if !self.deliver(&mut record) {
            self.held.push_back((Instant::now(), record));
        }
    }

    fn malformed(&mut self, error: ReceiveError) {
        self.counts.add(SessionCounter::Malformed, 1);
        if !std::mem::replace(&mut self.said_malformed, true) {
            say("warning", &format!("{error}; further ones are only counted"));
        }
    }

    fn is_done(&self) -> bool {
        self.ends_with_output && self.pipeline.is_output_closed()
    }
}

/// Prints all counts each time that the signal comes.
pub(super) async fn report_on_signal(
    ask: mpsc::Sender<oneshot::Sender<Report>>,
    mut signal: Signal,
    counts: Arc<Counts>,
) {
    while signal.recv().await.is_some() {
        let (answer, report) = oneshot::channel();
        if ask.send(answer).await.is_err() {
            return;
        }
        let report = report.await.unwrap_or_default();
        // One of them counts what belongs to no process. With nothing counted there is this line at least.
        let watched = report.len().saturating_sub(1);
        let (text, own) = (counts.with(&report), std::process::id());
        let all = format!("{text}counts of process {own}, which watches {watched} processes now\n");
        anstream::eprint!("{all}");
    }
}

/// A line on standard error.
pub(super) fn say(what: &str, text: &str) {
    // In one piece, for the command that was started may write there too.
    let line = format!("{what} {}\n", report::printable(text));
    anstream::eprint!("{line}");
}

#[cfg(test)]
mod tests;
