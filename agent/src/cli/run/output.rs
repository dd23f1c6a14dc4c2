//! Where the spans of a session go, and what is said about it on standard error.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

use super::counts::Counts;
use crate::cli::report;
use crate::clock::{Clock, REANCHOR_INTERVAL};
use crate::deliver::{Flags, Format, Pipeline, Settings};
use crate::describe::{self, Describer};
use crate::receive::ReceiveError;
use crate::record::Record;
use crate::resource::{Host, ProcessIdentity};
use crate::session::{self, Report};
use crate::watch::Event;

/// How long spans that were not sent yet may take at the end.
const LAST_FLUSH: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(super) struct OutputArguments {
    /// Send spans to this OTLP endpoint, as OTEL_EXPORTER_OTLP_ENDPOINT (which sudo drops)
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// How to speak to it: grpc or http/protobuf, as OTEL_EXPORTER_OTLP_PROTOCOL
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Print spans in this form; without an endpoint they are printed as trees anyway
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl OutputArguments {
    /// What flags and environment say, or all that is wrong with it.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let flags =
            Flags { endpoint: self.endpoint.clone(), protocol: self.protocol.clone(), format: self.format };
        Ok(Settings::from_env_and_flags(|name| std::env::var_os(name), &flags)?)
    }
}

/// The port of the export endpoint, if it is on this host: whoever listens there gets our spans.
pub(super) fn local_export_port(settings: &Settings) -> Option<u16> {
    // An endpoint that cannot be resolved now cannot be watched by mistake either.
    let addresses = settings.otlp.as_ref()?.addresses().ok()?;
    let is_local = |address: &SocketAddr| UdpSocket::bind((address.ip(), 0)).is_ok();
    addresses.iter().find(|address| is_local(address)).map(SocketAddr::port)
}

/// Describes records and hands the spans on.
pub(super) struct Sink {
    host: Host,
    clock: Clock,
    anchored: Instant,
    describer: Describer,
    identities: HashMap<u32, Arc<ProcessIdentity>>,
    pipeline: Pipeline,
    counts: Arc<Counts>,
}

impl Sink {
    pub(super) fn start(settings: &Settings, counts: &Arc<Counts>) -> anyhow::Result<Self> {
        Ok(Self {
            host: Host::detect(Path::new("/proc")),
            clock: Clock::start(),
            anchored: Instant::now(),
            describer: Describer::new(describe::Settings::default()),
            identities: HashMap::new(),
            pipeline: Pipeline::start(settings, Arc::clone(&counts.delivery))?,
            counts: Arc::clone(counts),
        })
    }

    /// Sends what is left, and says what became of everything.
    pub(super) async fn finish(self) {
        let problem = self.pipeline.last_export_error();
        self.pipeline.stop(LAST_FLUSH).await;
        anstream::eprint!("{}", self.counts);
        if let Some(problem) = problem {
            say("warning", &format!("the last failed export said: {problem}"));
        }
    }
}

impl session::Sink for Sink {
    fn event(&mut self, event: Event) {
        match event {
            Event::Started { key, executable, build_info } => {
                let identity =
                    ProcessIdentity::read(Path::new("/proc"), key.pid, &build_info, &self.host, &self.clock);
                match identity {
                    Ok(identity) => {
                        let path = executable.display();
                        say("watching", &format!("{} (process {}, {path})", identity.service_name, key.pid));
                        self.identities.insert(key.pid, Arc::new(identity));
                    }
                    // It ended before it was known; its records, if any, are counted.
                    Err(_) => self.counts.unidentified(),
                }
            }
            Event::Ended { key, counters, open } => {
                self.identities.remove(&key.pid);
                self.counts.ended(&counters, open);
            }
            Event::Refused { key, executable, reason } => {
                let reason = anyhow::Error::from(reason);
                say("not watching", &format!("{} (process {}): {reason:#}", executable.display(), key.pid));
            }
        }
    }

    fn record(&mut self, record: Record) {
        if self.anchored.elapsed() >= REANCHOR_INTERVAL {
            self.clock.reanchor();
            self.anchored = Instant::now();
        }
        match self.identities.get(&record.pid) {
            Some(identity) => self.pipeline.push(identity, self.describer.span(&record, &self.clock)),
            None => self.counts.without_process(),
        }
    }

    fn malformed(&mut self, error: ReceiveError) {
        self.counts.malformed();
        say("warning", &error.to_string());
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
        anstream::eprint!("{}", counts.with(&report.await.unwrap_or_default()));
    }
}

fn say(what: &str, text: &str) {
    anstream::eprintln!("{what} {}", report::printable(text));
}
