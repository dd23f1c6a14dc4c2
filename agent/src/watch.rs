//! The life of what is watched: sweep, decide, inspect, plan, attach, and back.
//!
//! One thread does all of it, once a second and whenever it is told something. A target that fails is remembered and
//! left alone; it never stops another. The thread that reads the ring learns of processes through [`Event`]s, each
//! sent before the first record of that process can be.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use lightfoot_probes_abi::{Counters, Sampler};
use lightfoot_symbolizer::build_info::BuildInfo;
use thiserror::Error;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::attach::{AttachError, Attachment, Kernel};
use crate::discover::{Decision, FileIdentity, Proc, ProcessKey, Selection};
use crate::inspect::InspectError;

mod analysis;
mod loaded;

use analysis::Analysis;
pub use loaded::LoadedError;

/// How often /proc is swept.
const SWEEP: Duration = Duration::from_secs(1);
/// At most so many binaries are remembered that nothing runs any more; then all of them are forgotten.
const MAX_REMEMBERED: usize = 1024;

/// What happened to a process.
#[derive(Debug)]
pub enum Event {
    /// Its spans are about to be recorded.
    Started {
        /// The process.
        key: ProcessKey,
        /// Its program's path, as it sees it.
        executable: PathBuf,
        /// What it was built from.
        build_info: Arc<BuildInfo>,
    },
    /// Its spans are no longer recorded.
    Ended {
        /// The process.
        key: ProcessKey,
        /// What the programs counted while it was watched.
        counters: Box<Counters>,
        /// Spans that were open and have no end.
        open: u64,
    },
    /// It was to be watched, and cannot be.
    Refused {
        /// The process.
        key: ProcessKey,
        /// Its program's path.
        executable: PathBuf,
        /// Why.
        reason: WatchError,
    },
}

/// What the thread is told.
#[derive(Debug)]
pub enum Command {
    /// Answer with the counts of each process that is watched now, and of the hits that belong to none.
    Report(oneshot::Sender<Vec<(Option<u32>, Counters)>>),
    /// Detach from everything and end; answered when no probe is left.
    Stop(oneshot::Sender<()>),
}

/// Why a process cannot be watched.
#[derive(Clone, Debug, Error)]
pub enum WatchError {
    /// Its file cannot be inspected.
    #[error(transparent)]
    Inspect(#[from] Arc<InspectError>),
    /// Nothing in it can be watched.
    #[error("nothing in it can be watched: {0}")]
    Nothing(String),
    /// What it has loaded is not what its file says.
    #[error(transparent)]
    Loaded(#[from] Arc<LoadedError>),
    /// The kernel refuses.
    #[error(transparent)]
    Attach(#[from] Arc<AttachError>),
}

/// Watches processes until it is told to stop.
pub struct Watcher {
    proc: Proc,
    selection: Selection,
    sampler: Sampler,
    kernel: Kernel,
    events: Sender<Event>,
    binaries: HashMap<FileIdentity, Binary>,
    watched: HashMap<ProcessKey, FileIdentity>,
    left: HashSet<ProcessKey>,
}

/// A file that processes run.
struct Binary {
    analysis: Result<Analysis, WatchError>,
    attachment: Option<Attachment>,
    processes: HashSet<ProcessKey>,
}

impl Watcher {
    /// A watcher of the processes that `selection` chooses.
    pub fn new(
        proc: Proc,
        selection: Selection,
        sampler: Sampler,
        kernel: Kernel,
        events: Sender<Event>,
    ) -> Self {
        Self {
            proc,
            selection,
            sampler,
            kernel,
            events,
            binaries: HashMap::new(),
            watched: HashMap::new(),
            left: HashSet::new(),
        }
    }

    /// Watches until [`Command::Stop`], or until nobody could tell it any more.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            self.sweep();
            match commands.recv_timeout(SWEEP) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Report(answer)) => {
                    // Whoever asked may have gone meanwhile.
                    let _ = answer.send(self.report());
                }
                Ok(Command::Stop(answer)) => {
                    self.stop();
                    let _ = answer.send(());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.stop();
                    return;
                }
            }
        }
    }

    fn sweep(&mut self) {
        let Ok(running) = self.proc.sweep() else { return };
        let gone: Vec<_> = self.watched.keys().filter(|key| !running.contains(key)).copied().collect();
        for key in gone {
            self.leave(key);
        }
        self.left.retain(|key| running.contains(key));
        let own = std::process::id();
        for key in running {
            if key.pid == own || self.left.contains(&key) {
                continue;
            }
            if self.watched.contains_key(&key) {
                if self.receives_our_spans(key.pid) {
                    self.leave(key);
                    self.left.insert(key);
                }
                continue;
            }
            self.consider(key);
        }
        if self.binaries.len() > MAX_REMEMBERED {
            self.binaries.retain(|_, binary| !binary.processes.is_empty());
        }
    }

    fn receives_our_spans(&self, pid: u32) -> bool {
        self.selection.export_port.is_some_and(|port| self.proc.listening_ports(pid).contains(&port))
    }

    /// Decides about a process that is neither watched nor left alone.
    fn consider(&mut self, key: ProcessKey) {
        let Some(executable) = self.proc.executable_path(key.pid) else { return };
        let asks_for_ports = !self.selection.ports.is_empty() || self.selection.export_port.is_some();
        let ports = if asks_for_ports { self.proc.listening_ports(key.pid) } else { HashSet::new() };
        let early = self.selection.before_inspection(key.pid, &executable, &ports);
        match early {
            Some(Decision::Leave(_)) => {
                self.left.insert(key);
                return;
            }
            Some(Decision::Wait(_)) => return,
            Some(Decision::Watch(_)) | None => {}
        }
        let path = self.proc.executable(key.pid);
        let binary = self.binaries.entry(key.file).or_insert_with(|| Binary {
            analysis: Analysis::of(&path),
            attachment: None,
            processes: HashSet::new(),
        });
        let decision = match (&early, &binary.analysis) {
            (Some(decision), _) => decision.clone(),
            (None, Ok(analysis)) => self.selection.by_default(&analysis.build_info),
            // Nobody asked for it; that most programs are not Go's is no news.
            (None, Err(_)) => Decision::Leave(crate::discover::selection::Rule::NotSelected),
        };
        if !matches!(decision, Decision::Watch(_)) {
            self.left.insert(key);
            return;
        }
        match self.start(key, &executable) {
            Ok(()) => {}
            // It went away under our hands: the next sweep knows.
            Err(_) if self.proc.process(key.pid) != Some(key) => {}
            Err(reason) => {
                self.left.insert(key);
                self.tell(Event::Refused { key, executable, reason });
            }
        }
    }

    fn start(&mut self, key: ProcessKey, executable: &std::path::Path) -> Result<(), WatchError> {
        let Some(binary) = self.binaries.get_mut(&key.file) else { return Ok(()) };
        let analysis = binary.analysis.as_ref().map_err(Clone::clone)?;
        loaded::verify(&self.proc, key.pid, analysis).map_err(Arc::new)?;
        if binary.attachment.is_none() {
            let path = self.proc.executable(key.pid);
            let attached = self.kernel.attach(&path, analysis.layout, &analysis.probes);
            binary.attachment = Some(attached.map_err(Arc::new)?);
        }
        let build_info = Arc::clone(&analysis.build_info);
        binary.processes.insert(key);
        self.watched.insert(key, key.file);
        self.tell(Event::Started { key, executable: executable.into(), build_info });
        let attachment = self.binaries.get(&key.file).and_then(|binary| binary.attachment.as_ref());
        let Some(attachment) = attachment else { return Ok(()) };
        if let Err(error) = self.kernel.watch(key.pid, attachment, self.sampler) {
            self.leave(key);
            return Err(Arc::new(error).into());
        }
        Ok(())
    }

    /// Stops watching a process; its binary is detached with its last one.
    fn leave(&mut self, key: ProcessKey) {
        let Some(file) = self.watched.remove(&key) else { return };
        let counts = self.kernel.leave(key.pid).ok().flatten();
        let (counters, open) = counts.unwrap_or((Counters([0; Counters::CAPACITY]), 0));
        if let Some(binary) = self.binaries.get_mut(&file) {
            binary.processes.remove(&key);
            if binary.processes.is_empty()
                && let Some(attachment) = binary.attachment.take()
            {
                self.kernel.detach(attachment);
            }
        }
        self.tell(Event::Ended { key, counters: Box::new(counters), open });
    }

    fn report(&self) -> Vec<(Option<u32>, Counters)> {
        let pids = self.watched.keys().map(|key| Some(key.pid)).chain([None]);
        pids.filter_map(|pid| Some((pid, self.kernel.counts(pid).ok()?))).collect()
    }

    fn stop(&mut self) {
        // With the switch off, nothing more is recorded while links close one after the other.
        let _ = self.kernel.disable();
        let watched: Vec<_> = self.watched.keys().copied().collect();
        for key in watched {
            self.leave(key);
        }
    }

    fn tell(&self, event: Event) {
        // Fails only when the agent has stopped listening, and then nobody needs to know.
        let _ = self.events.blocking_send(event);
    }
}
