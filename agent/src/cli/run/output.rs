//! Where the spans of a session go.

use std::collections::HashMap;

use lightfoot_probes_abi::{Counter, Counters};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::describe::{Describer, Settings};
use crate::discover::ProcessKey;
use crate::receive::ReceiveError;
use crate::record::Record;
use crate::resource::{Host, ProcessIdentity};
use crate::session::{self, Report};
use crate::watch::Event;

#[derive(clap::Args)]
pub(super) struct OutputArguments {}

impl OutputArguments {
    pub(super) fn local_export_port(&self) -> Option<u16> {
        None
    }
}

/// Describes records and hands the spans on.
pub(super) struct Sink {
    host: Host,
    clock: Clock,
    describer: Describer,
    identities: HashMap<u32, (ProcessKey, ProcessIdentity)>,
}

impl Sink {
    pub(super) fn new(_arguments: &OutputArguments) -> anyhow::Result<Self> {
        Ok(Self {
            host: Host::detect(std::path::Path::new("/proc")),
            clock: Clock::start(),
            describer: Describer::new(Settings::default()),
            identities: HashMap::new(),
        })
    }

    pub(super) async fn finish(self) {}
}

impl session::Sink for Sink {
    fn event(&mut self, event: Event) {
        match event {
            Event::Started { key, executable, build_info } => {
                let proc = std::path::Path::new("/proc");
                match ProcessIdentity::read(proc, key.pid, &build_info, &self.host, &self.clock) {
                    Ok(identity) => {
                        eprintln!(
                            "watching {} ({}, {})",
                            identity.service_name,
                            key.pid,
                            executable.display()
                        );
                        self.identities.insert(key.pid, (key, identity));
                    }
                    Err(error) => eprintln!("{}: {error}", key.pid),
                }
            }
            Event::Ended { key, counters, open } => {
                eprintln!("left {}: open {open} {}", key.pid, show(&counters));
                self.identities.remove(&key.pid);
            }
            Event::Refused { key, executable, reason } => {
                eprintln!("not watching {} ({}): {reason:#}", executable.display(), key.pid);
            }
        }
    }

    fn record(&mut self, record: Record) {
        self.clock.reanchor();
        let span = self.describer.span(&record, &self.clock);
        let service = self.identities.get(&record.pid).map_or("?", |(_, identity)| &identity.service_name);
        println!(
            "{service} {} {:?} {:?}",
            span.name,
            span.status,
            span.attributes.iter().map(|a| format!("{}={}", a.key, a.value)).collect::<Vec<_>>()
        );
    }

    fn malformed(&mut self, error: ReceiveError) {
        eprintln!("malformed record: {error}");
    }
}

pub(super) async fn report_on_signal(ask: mpsc::Sender<oneshot::Sender<Report>>, mut signal: Signal) {
    while signal.recv().await.is_some() {
        let (answer, report) = oneshot::channel();
        if ask.send(answer).await.is_err() {
            return;
        }
        for (pid, counters) in report.await.unwrap_or_default() {
            eprintln!("{pid:?}: {}", show(&counters));
        }
    }
}

fn show(counters: &Counters) -> String {
    let counts = Counter::ALL.iter().map(|counter| (*counter, crate::attach::count(counters, *counter)));
    counts.filter(|(_, count)| *count != 0).map(|(counter, count)| format!("{counter:?}={count} ")).collect()
}
