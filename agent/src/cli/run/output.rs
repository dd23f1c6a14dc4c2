//! Where the spans of a session go, and what is said about it on standard error.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_symbolizer::build_info::BuildInfo;

use super::pods::{InPod, InPods};
use super::status::Board;
use super::watching::Output;
use crate::capabilities::keep_in_thread;
use crate::cli::counts::Counts;
use crate::cli::events;
use crate::cli::spans::{Known, Spans};
use crate::clock::{Clock, REANCHOR_INTERVAL};
use crate::config::file::Export;
use crate::deliver::{Flags, Format, Monitor, Settings};
use crate::describe;
use crate::discover::{ProcessKey, Treatment};
use crate::kubernetes::{Directory, Found};
use crate::resource::{Facts, Host, ProcessIdentity};
use crate::session;
use crate::variables::Variables;
use crate::watch::Event;

/// How long a resolver may hold up the start; where it does not answer at all, it takes 10 seconds to say so.
const RESOLVE: Duration = Duration::from_secs(2);

#[derive(Default, clap::Args)]
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
    /// Memory for spans that wait to be sent, for all processes together, in MiB; 16 if nothing else is said
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=4096))]
    queue_size: Option<u16>,
    /// How long the last spans may take at the end, in seconds; 5 if OTEL_BSP_EXPORT_TIMEOUT says nothing else
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(0..=3600))]
    flush_timeout: Option<u16>,
}

impl OutputArguments {
    /// What flags, environment and file say of delivery.
    pub(super) fn settings(&self, file: &Export, variables: &mut Variables<'_>) -> Settings {
        let flush = self.flush_timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let flags = Flags {
            endpoint: self.endpoint.clone(),
            protocol: self.protocol.clone(),
            format: self.format.or(file.format),
            queue_size: self.queue_size.or(file.queue_size_mib),
            flush_timeout: flush.or(file.flush_timeout.map(|time| time.0)),
        };
        Settings::read(variables, &flags)
    }
}

/// Where the export endpoint is on this host, if it is: whoever listens there gets our spans.
pub(in crate::cli) fn local_endpoint(settings: &Settings) -> Vec<SocketAddr> {
    let Some(otlp) = settings.otlp.clone() else { return Vec::new() };
    let (tell, told) = channel();
    // It fails if nobody waits any more.
    let resolve = move || {
        keep_in_thread(0);
        drop(tell.send(otlp.addresses()));
    };
    // An endpoint that cannot be resolved now is not on this host: names of that are in its files.
    let is_resolving = thread::Builder::new().name("resolve".to_owned()).spawn(resolve).is_ok();
    let resolved = if is_resolving { told.recv_timeout(RESOLVE).ok() } else { None };
    let mut addresses = resolved.and_then(Result::ok).unwrap_or_default();
    addresses.retain(|address| UdpSocket::bind((address.ip(), 0)).is_ok());
    addresses
}

/// Hands records on, and says what happens to processes.
pub(super) struct Sink {
    board: Arc<Board>,
    host: Host,
    anchored: Instant,
    spans: Spans,
    in_pods: InPods,
    flush_timeout: Duration,
    ends_with_output: bool,
}

impl Sink {
    /// Everything is ready when it returns. `joins` is whether spans of calls are linked to those of what they call. With `ends_with_output` there is no use in going on when nobody reads the only
    /// output any more.
    pub(super) fn start(
        settings: &Settings,
        describing: describe::Settings,
        (in_pods, joins): (InPods, bool),
        counts: &Arc<Counts>,
        ends_with_output: bool,
    ) -> anyhow::Result<Self> {
        let spans = Spans::start(settings, describing, Clock::start(), joins, counts)?;
        let board = Arc::new(Board::new(counts));
        board.delivers(spans.pipeline.monitor());
        Ok(Self {
            board,
            host: Host::detect(Path::new("/proc")),
            anchored: Instant::now(),
            spans,
            in_pods,
            flush_timeout: settings.flush_timeout,
            ends_with_output: ends_with_output && settings.otlp.is_none(),
        })
    }
}

impl Sink {
    /// To look at delivery from elsewhere.
    pub(super) fn monitor(&self) -> Monitor {
        self.spans.pipeline.monitor()
    }

    /// What is told of it to whoever asks.
    pub(super) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    fn identity(
        &mut self,
        key: ProcessKey,
        facts: Facts,
        build_info: &Arc<BuildInfo>,
        treatment: &Arc<Treatment>,
    ) -> ProcessIdentity {
        let found = self.in_pods.find(key, &facts, build_info, treatment, &self.spans.counts);
        self.described(key, facts, build_info, treatment, found.as_ref())
    }

    fn described(
        &self,
        key: ProcessKey,
        facts: Facts,
        build_info: &BuildInfo,
        treatment: &Treatment,
        pod: Option<&Found>,
    ) -> ProcessIdentity {
        let (name, clock) = (treatment.name(), &self.spans.clock);
        ProcessIdentity::new(key.pid, facts, build_info, name, pod, &self.host, clock)
    }
}

impl Output for Sink {
    fn prepare(&mut self) -> impl Future<Output = ()> {
        self.in_pods.asked()
    }

    fn pods(&self) -> Option<Directory> {
        self.in_pods.directory()
    }

    fn price(&mut self, trap: f64) {
        self.board.priced(trap);
    }

    async fn finish(self) -> anyhow::Result<()> {
        self.spans.finish(self.flush_timeout).await;
        Ok(())
    }
}

impl session::Sink for Sink {
    fn event(&mut self, event: Event) {
        events::say(&event);
        let count = || events::count(&event, &self.spans.counts);
        match &event {
            Event::Ended { key, .. } => self.board.ended(*key, count),
            Event::Unwatched { .. } => self.board.is_over(count),
            _ => count(),
        }
        match event {
            Event::Started { key, executable, build_info, facts, type_names, since, treatment } => {
                match facts {
                    Ok(facts) => {
                        let identity = self.identity(key, *facts, &build_info, &treatment);
                        events::say_watching(&identity, &executable);
                        let parents = self.board.started(key, &executable, Some(&identity.service_name));
                        self.spans.announce(Known {
                            key,
                            since,
                            identity: Arc::new(identity),
                            type_names,
                            treatment,
                            parents,
                        });
                    }
                    // Its records, if any, are counted.
                    Err(error) => {
                        self.board.started(key, &executable, None);
                        events::unidentified(key.pid, &error, &self.spans.counts);
                    }
                }
            }
            Event::Treated { key, build_info, facts: Ok(facts), treatment } => {
                // Where it cannot be read any more, it has gone, and no more comes of it.
                let identity = self.identity(key, *facts, &build_info, &treatment);
                self.board.named(key, &identity.service_name);
                self.spans.treat(key, Arc::new(identity), treatment);
            }
            Event::Ended { key, .. } => {
                self.spans.ended(key);
                self.in_pods.ended(key);
            }
            Event::Settled { key } => self.board.settled(key),
            Event::Refused { key, executable, reason, .. } => {
                self.board.refused(key, &executable, &events::chain(&reason));
            }
            _ => {}
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        self.spans.record(bytes);
    }

    fn turn(&mut self) {
        // Whether records come or not: the next one would be of the time before it.
        if self.anchored.elapsed() >= REANCHOR_INTERVAL {
            self.spans.clock.reanchor();
            self.anchored = Instant::now();
        }
        for (key, InPod { facts, build_info, treatment, found }) in self.in_pods.changed() {
            let identity = self.described(key, facts, &build_info, &treatment, found.as_ref());
            self.board.named(key, &identity.service_name);
            self.spans.treat(key, Arc::new(identity), treatment);
        }
    }

    fn is_done(&self) -> bool {
        self.ends_with_output && self.spans.pipeline.is_output_closed()
    }
}

#[cfg(test)]
mod tests;
