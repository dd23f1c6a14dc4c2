//! The life of what is watched: sweep, decide, inspect, plan, attach, and back.
//!
//! One thread does all of it when it is told something, by us or by the kernel, and sweeps over all processes now and then; threads
//! of their own analyse files. A target that fails is remembered and left alone; it never stops another. The thread that reads the ring learns of processes through [`Event`]s, each
//! sent before the first record of that process can be.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use lightfoot_probes_abi::process::process_flags;
use lightfoot_probes_abi::{Counters, Sampler};
use lightfoot_symbolizer::build_info::BuildInfo;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tracing::debug;

use crate::attach::{Attachment, Kernel, Recording, wanted_headers};
use crate::discover::headers::FORWARDED;
use crate::discover::selection::Rule;
use crate::discover::{FileIdentity, Listeners, Paused, Proc, ProcessKey, Rules, Selection, Treatment};
use crate::resource::{Facts, ResourceError};
use crate::type_names::TypeNames;

mod analyses;
mod analysis;
mod call_sites;
mod callers;
mod claims;
mod contents;
mod deciding;
mod error;
mod expected;
mod following;
mod inbox;
mod loaded;
mod pausing;
mod placing;
mod pods;
mod propagating;
pub mod report;
mod routes;
pub mod survey;
mod watchdog;

use analyses::{Analyses, Known};
use analysis::Analysis;
pub use call_sites::CallEnd;
use callers::Callers;
pub use callers::{CALLERS_SETTLE, MAX_CALLERS_OF_BINARY, TRUST};
use claims::Claims;
pub use error::WatchError;
use expected::Expected;
pub use inbox::{Commands, Inbox, channel};
pub use loaded::LoadedError;
pub(crate) use loaded::Mapping;
pub use placing::LINGER;
use pods::InPods;
pub use pods::POD_WAIT;
pub use propagating::Propagation;
pub use report::{Question, Report};
use routes::RouteTrial;
pub use routes::{ROUTE_PAUSE, ROUTE_TRIAL};
use watchdog::OnTrial;
pub use watchdog::{Death, SUSPENSION, TRIAL};

/// How often is looked at what nobody tells.
const TICK: Duration = Duration::from_secs(1);
/// At most so many binaries are remembered, those that are no Go programs among them; then all are forgotten that are neither watched nor
/// suspended, and if there is none, the one whose suspension ends first.
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
        /// What is known of it besides: by now it may have ended.
        facts: Result<Box<Facts>, ResourceError>,
        /// The names of its types, if its records mention any.
        type_names: Option<Arc<TypeNames>>,
        /// Nanoseconds since boot: each of its spans starts later, and each of a process that had its number, earlier.
        since: u64,
        /// What rules say of its spans.
        treatment: Arc<Treatment>,
    },
    /// Rules say something else of its spans than they did.
    Treated {
        /// The process.
        key: ProcessKey,
        /// What it was built from.
        build_info: Arc<BuildInfo>,
        /// What is known of it besides: by now it may have ended.
        facts: Result<Box<Facts>, ResourceError>,
        /// What they say.
        treatment: Arc<Treatment>,
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
    /// At the end: the hits that belong to no watched process.
    Unwatched {
        /// Their counts.
        counters: Box<Counters>,
    },
    /// What is known of the ends of a binary's client calls has changed.
    CallEnd {
        /// The path of the program.
        executable: PathBuf,
        /// How.
        change: CallEnd,
    },
    /// Contexts of some types are not followed in a binary: its spans may lack parents.
    ContextsLeftOut {
        /// The path of the program.
        executable: PathBuf,
        /// How many types.
        count: usize,
    },
    /// Something in a binary that is watched is left to its own instrumentation.
    LeftToItself {
        /// The path of the program.
        executable: PathBuf,
        /// What, and to which instrumentation.
        covered: String,
    },
    /// The routes of copied requests are found by one more site from now on, or cannot be.
    CopiedRoutes {
        /// The path of the program.
        executable: PathBuf,
        /// Why not.
        result: Result<(), WatchError>,
    },
    /// Nothing is added to what it sends, though that was asked for.
    NotPropagated {
        /// The path of the program.
        executable: PathBuf,
        /// To some of it something is.
        is_partial: bool,
        /// Why not.
        reason: WatchError,
    },
    /// Its calls are not joined with the services that are called, though that was asked for.
    NotJoined {
        /// The path of the program.
        executable: PathBuf,
        /// Why not.
        reason: WatchError,
    },
    /// A process died soon after probes were placed in its program, which is left alone now.
    Suspended {
        /// The process.
        key: ProcessKey,
        /// The path of the program.
        executable: PathBuf,
        /// How it died.
        death: Death,
    },
    /// What was refused for what was not known of its pod is decided about now: it is watched, or nobody wants it.
    Settled {
        /// The process.
        key: ProcessKey,
    },
    /// It was to be watched, and cannot be.
    Refused {
        /// The process.
        key: ProcessKey,
        /// Its program's path.
        executable: PathBuf,
        /// Why.
        reason: WatchError,
        /// Whether that was said already, of another process: there may be many of them.
        is_repeated: bool,
    },
}

/// What the thread is told.
#[derive(Debug)]
pub enum Command {
    /// Answer with how it goes now.
    Report(Question),
    /// A process is about to execute `program`: prepare for it, so that its first request is seen. Answered when it may.
    Expect {
        /// The process.
        pid: u32,
        /// What it will execute.
        program: PathBuf,
        /// Who waits.
        answer: oneshot::Sender<()>,
    },
    /// Follow other rules.
    Follow(Rules),
    /// Leave alone what is paused, and nothing else for that reason.
    Pause {
        /// What is.
        paused: Paused,
        /// Answered when no probe is left there.
        answer: oneshot::Sender<()>,
    },
    /// Detach from everything and end; answered when no probe is left.
    Stop(oneshot::Sender<()>),
}

/// What is done about programs that trace themselves by an OpenTelemetry SDK.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Coexistence {
    /// They are watched for what their own instrumentation does not cover.
    #[default]
    FillGaps,
    /// They are left alone.
    Off,
    /// They are watched like any other.
    Both,
}

/// How processes are watched.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Settings {
    /// Which spans are recorded.
    pub sampler: Sampler,
    /// Whether the optional site for routes of copied requests may be placed.
    pub copied_routes: bool,
    /// Whether those of routers are.
    pub router_routes: bool,
    /// Whether a span may be linked to the goroutine that created its own.
    pub inferred_parents: bool,
    /// Whether the queries of clients' URLs are recorded.
    pub queries: bool,
    /// Whether the messages of streams are counted.
    pub messages: bool,
    /// Whether trace contexts are added to what clients send.
    pub propagation: Propagation,
    /// Whether the connections of clients' calls are recorded.
    pub join: bool,
    /// What is done about programs that trace themselves.
    pub coexistence: Coexistence,
    /// So long after the last new caller of a client function its own returns are still probed; usually [`CALLERS_SETTLE`].
    pub callers_settle: Duration,
}

impl Settings {
    /// How a process of such a binary is recorded.
    fn recording(&self, analysis: &Analysis, bias: Option<u64>, treatment: &Treatment) -> Recording {
        let proxies = if treatment.forwarded { &FORWARDED[..] } else { &[] };
        let headers = wanted_headers(&treatment.headers, proxies.iter().copied());
        let flags = [
            (analysis.clients.is_some(), process_flags::CHILDREN),
            (self.inferred_parents, process_flags::INFER_PARENTS),
            (self.queries, process_flags::QUERIES),
            (analysis.has_connection_ends(), process_flags::CONNECTIONS),
            (
                self.propagates_for(treatment) && !analysis.propagation.places.is_empty(),
                process_flags::PROPAGATE,
            ),
            (headers.lengths != 0, process_flags::HEADERS),
            (treatment.forwarded, process_flags::FORWARDED),
            (self.join, process_flags::JOIN),
        ];
        let flags = flags
            .into_iter()
            .chain([(self.messages, analysis.counted)])
            .filter(|(is_set, _)| *is_set)
            .fold(0, |all, (_, flag)| all | flag);
        Recording { sampler: self.sampler, flags, bias, headers }
    }
}

/// Watches processes until it is told to stop.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Watcher {
    proc: Proc,
    selection: Selection,
    settings: Settings,
    kernel: Kernel,
    events: Sender<Event>,
    own: Option<FileIdentity>,
    binaries: HashMap<FileIdentity, Binary>,
    /// Each process with the file whose probes are its: its own, or the same one as another mount shows it.
    watched: HashMap<ProcessKey, FileIdentity>,
    /// Why each of them is watched.
    chosen_by: HashMap<ProcessKey, Rule>,
    left: HashSet<ProcessKey>,
    pods: InPods,
    /// Those that were refused for lack of room, until there is some.
    waiting: HashSet<ProcessKey>,
    /// Whether one of these may be tried again: another was left, and none has failed since.
    has_room_again: bool,
    /// Those whose program's probes are new.
    on_trial: Vec<OnTrial>,
    claims: Claims,
    /// Those that another agent watches.
    claimed: HashSet<ProcessKey>,
    /// How many were left alone, by us or to another agent, at the last sweep.
    left_at_sweep: usize,
    /// When to look whether it still does.
    claimed_due: Instant,
    /// Watched processes that were told to end, and until when that is looked for.
    ending: Vec<(ProcessKey, Instant)>,
    /// Those that have been watched since shortly after their start.
    young: Vec<(ProcessKey, Instant)>,
    analyses: Analyses,
    /// Whether the processes that were there at the start are still looked at.
    is_new: bool,
    /// Something may have been overlooked.
    sweep_soon: bool,
    /// How often that was, as far as the kernel's programs counted it.
    overlooked: u64,
    expected: Option<Expected>,
    /// When to look for new callers of clients, though nobody tells of one.
    callers_due: Option<Instant>,
    /// When at the earliest.
    callers_not_before: Instant,
    /// Whether the kernel tells what processes do.
    is_told: bool,
    /// When to look again at what processes have counted.
    weigh_due: Instant,
}

/// A file that processes run.
struct Binary {
    analysis: Known,
    attachment: Option<Attachment>,
    processes: HashSet<ProcessKey>,
    /// Since when there have been none.
    unused_since: Option<Instant>,
    route: RouteTrial,
    callers: Callers,
    /// Since when the last of its probes are in place.
    placed: Option<Instant>,
    /// Until when it is left alone.
    suspended: Option<Instant>,
    /// Where it was when probes were placed last, as a process saw it.
    path: PathBuf,
    /// Its file and the names of its types, while probes are in place.
    open: Option<Arc<File>>,
    type_names: Option<Arc<TypeNames>>,
    /// The processes to whose requests trace contexts are added.
    propagating: HashSet<ProcessKey>,
    /// Whether it was tried to place the probes for that, since others were.
    propagation_is_tried: bool,
    /// Why they could not be placed.
    propagation_failed: Option<WatchError>,
}

impl Binary {
    fn new(analysis: Known) -> Self {
        Self {
            analysis,
            attachment: None,
            processes: HashSet::new(),
            unused_since: None,
            route: RouteTrial::default(),
            callers: Callers::default(),
            placed: None,
            suspended: None,
            path: PathBuf::new(),
            open: None,
            type_names: None,
            propagating: HashSet::new(),
            propagation_is_tried: false,
            propagation_failed: None,
        }
    }
}

impl Watcher {
    /// A watcher of the processes that `selection` chooses, and that is to be told by way of `inbox`.
    pub fn new(
        proc: Proc,
        selection: Selection,
        settings: Settings,
        kernel: Kernel,
        events: Sender<Event>,
        inbox: &Inbox,
    ) -> io::Result<Self> {
        Ok(Self {
            own: FileIdentity::of(&proc.executable(std::process::id())).ok(),
            proc,
            selection,
            settings,
            kernel,
            events,
            binaries: HashMap::new(),
            watched: HashMap::new(),
            chosen_by: HashMap::new(),
            left: HashSet::new(),
            pods: InPods::default(),
            waiting: HashSet::new(),
            has_room_again: false,
            on_trial: Vec::new(),
            claims: Claims::new(),
            claimed: HashSet::new(),
            left_at_sweep: 0,
            claimed_due: Instant::now(),
            ending: Vec::new(),
            young: Vec::new(),
            analyses: Analyses::start(&inbox.waker, settings.coexistence)?,
            is_new: true,
            sweep_soon: true,
            overlooked: 0,
            expected: None,
            callers_due: None,
            callers_not_before: Instant::now(),
            is_told: false,
            weigh_due: Instant::now(),
        })
    }

    /// Watches until [`Command::Stop`], or until nobody could tell it any more.
    pub fn run(mut self, inbox: &Inbox) {
        let mut events = self.follow();
        self.warn_of_pods();
        let (mut next_sweep, mut next_tick) = (Instant::now(), Instant::now());
        loop {
            self.meet_expected();
            match &mut events {
                Some(events) => self.take_events(events),
                None => self.leave_ended(),
            }
            self.take_analyses();
            if Instant::now() >= next_sweep || self.sweep_soon {
                self.sweep_soon = false;
                self.sweep();
                next_sweep = Instant::now() + self.sweep_interval(events.is_some());
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
            if self.callers_due.is_some_and(|due| Instant::now() >= due) {
                self.callers_due = self.learn_callers();
            }
            self.take_over();
            match inbox.command() {
                Ok(command) => {
                    if self.obey(command) {
                        return;
                    }
                }
                Err(TryRecvError::Disconnected) => return self.stop(),
                Err(TryRecvError::Empty) if self.sweep_soon => {}
                Err(TryRecvError::Empty) => {
                    let due = self.callers_due.map_or(next_tick, |due| due.min(next_tick));
                    let mut wait = due.min(next_sweep).saturating_duration_since(Instant::now());
                    if self.expected.is_some() {
                        wait = wait.min(expected::POLL);
                    }
                    if !self.claimed.is_empty() {
                        wait = wait.min(self.claimed_due.saturating_duration_since(Instant::now()));
                    }
                    if !self.ending.is_empty() {
                        wait = wait.min(following::ENDING_POLL);
                    }
                    inbox.wait(events.as_ref(), wait);
                }
            }
        }
    }

    /// Does what it is told; true if that was to end.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            // Whoever asked may have gone meanwhile.
            Command::Report(Question { answer, with_maps }) => drop(answer.send(self.report(with_maps))),
            Command::Expect { pid, program, answer } => {
                self.expect(pid, &program);
                let _ = answer.send(());
            }
            Command::Follow(rules) => {
                self.follow_rules(rules);
                self.sweep_soon = true;
            }
            Command::Pause { paused, answer } => {
                self.pause(paused);
                let _ = answer.send(());
            }
            Command::Stop(answer) => {
                self.stop();
                let _ = answer.send(());
                return true;
            }
        }
        false
    }

    fn sweep(&mut self) {
        let running = match self.proc.sweep() {
            Ok(running) => running,
            Err(error) => return debug!(%error, "processes cannot be listed now"),
        };
        let gone: Vec<_> = self.watched.keys().filter(|key| !running.contains(key)).copied().collect();
        for key in gone {
            self.leave(key);
        }
        self.left.retain(|key| running.contains(key));
        self.pods.retain(&running);
        self.waiting.retain(|key| running.contains(key));
        self.claimed.retain(|key| running.contains(key));
        self.left_at_sweep = self.left_count();
        let proc = self.proc.clone();
        let mut listeners = Listeners::new(&proc, &self.selection);
        for key in running.iter().filter(|key| self.is_eligible(key)).collect::<Vec<_>>() {
            if self.watched.contains_key(key) {
                let listening = listeners.of(key.pid);
                if self.is_forbidden_by_socket(*key, &listening) {
                    self.leave_alone(*key, &listening);
                }
            } else if !self.is_decided(key) {
                self.consider(*key, &listeners.of(key.pid));
            }
        }
    }

    /// Another of ours is no Go program, and one that is about to execute a command is not yet what it will be.
    fn is_eligible(&self, key: &ProcessKey) -> bool {
        let is_expected = self.expected.as_ref().is_some_and(|expected| expected.pid == key.pid);
        key.pid != std::process::id() && Some(key.file) != self.own && !is_expected
    }

    /// Whether nothing is to be done about it now.
    fn is_decided(&self, key: &ProcessKey) -> bool {
        // An attempt that fails for lack of room may take the kernel a while to undo.
        let waits = self.waiting.contains(key) && !self.has_room_again;
        waits || self.left.contains(key) || self.watched.contains_key(key) || self.claimed.contains(key)
    }

    fn stop(&mut self) {
        // With the switch off, nothing more is recorded while links are closed.
        let _ = self.kernel.disable();
        let attachments = self.binaries.values_mut().filter_map(|binary| binary.attachment.take());
        self.kernel.detach(attachments.collect());
        self.kernel.settle();
        // Only now does no program run any more, and the counts are final.
        let watched: Vec<_> = self.watched.keys().copied().collect();
        for key in watched {
            self.leave(key);
        }
        if let Ok(counters) = self.kernel.counts(None) {
            self.tell(Event::Unwatched { counters: Box::new(counters) });
        }
    }

    fn tell(&self, event: Event) {
        // Fails only when the agent has stopped listening, and then nobody needs to know.
        let _ = self.events.blocking_send(event);
    }
}

/// Keeps what became known of a file.
fn remember(binaries: &mut HashMap<FileIdentity, Binary>, file: FileIdentity, analysis: Known) {
    if binaries.len() >= MAX_REMEMBERED {
        binaries.retain(|_, binary| binary.attachment.is_some() || binary.suspended.is_some());
    }
    if binaries.len() >= MAX_REMEMBERED {
        // Programs that die by the dozen are not to take all memory. Its processes that were left alone stay so.
        let unwatched = binaries.iter().filter(|(_, binary)| binary.attachment.is_none());
        let first = unwatched.min_by_key(|(_, binary)| binary.suspended).map(|(file, _)| *file);
        first.and_then(|file| binaries.remove(&file));
    }
    binaries.entry(file).or_insert_with(|| Binary::new(analysis));
}

/// Nanoseconds since boot, as the programs stamp their records.
pub(crate) fn boot_time() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests;
