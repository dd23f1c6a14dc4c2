//! Watching, as `run` and `record` do: what is chosen, how, and until when.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use globset::GlobMatcher;
use lightfoot_probes_abi::Sampler;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::command::{self, Program};
use super::{capabilities, pausing, reload, state, status, supervisor};
use crate::attach::{Kernel, MAX_CONNECTED, MAX_COUNTED_STREAMS, Method, Sizes};
use crate::capabilities::{Needs, OF_POOL, keep_in_thread};
use crate::cli::SUCCESS;
use crate::cli::counts::Counts;
use crate::config::peers::Peers;
use crate::config::{Config, file};
use crate::deliver::Monitor;
use crate::discover::rules::executable;
use crate::discover::{Paused, Proc, Selection};
use crate::kubernetes::Directory;
use crate::segments::Segments;
use crate::session::{self, Session};
use crate::state::Mark;
use crate::sys;
use crate::watch::{self, CALLERS_SETTLE, Coexistence, Propagation, Question, Watcher};
use crate::{memory_limit, price, propagation};

/// After how long a call of gRPC that is open gets a span for what there was.
const SEGMENT_AFTER: Duration = Duration::from_mins(10);

#[derive(clap::Args)]
pub(in crate::cli) struct WatchingArguments {
    /// Watch this process; may be given several times
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pid: Vec<u32>,
    /// Watch programs whose path matches; without a slash, the last part of it
    #[arg(long, value_name = "GLOB", value_parser = executable)]
    pub(super) exe: Vec<GlobMatcher>,
    /// Watch processes that listen on this TCP port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Vec<u16>,
    /// Leave out the routes of requests that a middleware copied: never place the third probe that they take
    ///
    /// It is placed only in programs where spans lack a route, and costs one trap more for a request that passes
    /// http.ServeMux.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_copied_routes: Option<bool>,
    /// Leave out the routes of gin, chi, echo and gorilla/mux: never place the third probe that they take
    ///
    /// It is placed only in programs that have one of these routers, and costs one trap more for a request that it serves.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_router_routes: Option<bool>,
    /// Link no span to the goroutine that started its own: such a parent is inferred, and can be wrong
    ///
    /// A span is linked so only if nothing better is known and the goroutine was started while that span was open. A worker
    /// that is started by a request and serves others later, without their context, is linked to the wrong one.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_inferred_parents: Option<bool>,
    /// Record the queries of URLs; in spans the values of keys that are known to be secret are redacted
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    queries: Option<bool>,
    /// After so many seconds a gRPC call that is still open gets a span for what there was so far, and again after as many; 0 for
    /// never; 600 if nothing else is said
    ///
    /// Such spans are linked to each other, the last one has the status. Nothing of that costs the watched program anything.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    segment_after: Option<u32>,
    /// Count the messages that streams of gRPC send and receive
    ///
    /// That takes one trap more for each message on each side, and two more for each unary call of a client, which sends and
    /// receives in the same way.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    count_messages: Option<bool>,
    /// Add the header `traceparent` to requests that clients send over HTTP/1, so that traces go on in the services that are called
    ///
    /// An experiment, which has been tried on Linux 6.12 alone. It writes to the memory of the programs that are watched, which nothing else here does, and takes CAP_SYS_ADMIN and a kernel
    /// that is not in lockdown. Where that is missing, or a program is not as it must be, nothing is added, and it says why. It takes
    /// one trap more a request.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    propagate: Option<bool>,
    /// Link spans of calls to those of the services that are called, where both are watched here and no `traceparent` does it
    ///
    /// The two are told by their connection, which takes one trap more for each request that a client sends or call that it makes by gRPC, and nothing is
    /// written. Where it could be one of several there is no link.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    join: Option<bool>,
    /// What to do about programs that trace themselves by otelhttp, otelgrpc or the like, and an OpenTelemetry SDK
    ///
    /// fill-gaps, which holds if nothing else is said, leaves to them what these cover, off leaves such programs alone, both watches them like any other: then there are
    /// two spans of each request. Spans of calls are children of the SDK's spans in each case.
    #[arg(long, value_name = "MODE", value_enum, hide_possible_values = false)]
    sdk: Option<Coexistence>,
    /// Probe the returns of client functions until so many seconds after the last new caller; 5 if nothing else is said
    ///
    /// Client spans end behind the call in the caller, which is learned from the first call; until then they end at the return, which
    /// is single-stepped and costs more. The first calls of a caller that comes later have no span, until it is noticed.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    callers_settle: Option<u64>,
    /// Size of the ring buffer between kernel and agent, in KiB; a power of two, 4096 if nothing else is said
    #[arg(long, value_name = "KIB", value_parser = ring_size)]
    ring_size: Option<u32>,
    /// At most so many spans are open at once, of all processes; 4096 if nothing else is said. Each takes 3 KiB of memory, open or not
    #[arg(long, value_name = "SPANS", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_open_spans: Option<u32>,
    /// So many contexts are known to belong to spans; rounded up to four times a power of two
    #[arg(long, hide = true, value_name = "CONTEXTS", default_value_t = Sizes::USUAL.contexts, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_contexts: u32,
    /// At most so many callers of clients wait to be learned
    #[arg(long, hide = true, value_name = "CALLERS", default_value_t = Sizes::USUAL.callers, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_callers: u32,
    /// At most so many processes are watched at once
    #[arg(long, hide = true, value_name = "PROCESSES", default_value_t = Sizes::USUAL.processes)]
    max_processes: u32,
    /// Count reads of the programs' memory; for measurements
    #[arg(long, hide = true)]
    count_reads: bool,
    /// Pause while this file is there: nothing is watched, or, if it has lines, no program that matches one of them. Without it
    /// `pause` in the folder of the mark
    #[arg(long, value_name = "FILE")]
    pause_file: Option<PathBuf>,
    /// How probes are placed: the first of these that works; all are tried in this order if not given
    #[arg(long, value_name = "METHOD", value_delimiter = ',', hide_possible_values = false)]
    attach_method: Vec<Method>,
    /// Start this program under watch, as the user who called sudo; signals go to it, and its exit code comes back. Go
    /// servers that it starts are watched too
    #[arg(last = true, value_name = "COMMAND")]
    pub(in crate::cli) command: Vec<OsString>,
}

/// What flags and file come to.
struct Settled {
    ring_size_kib: u32,
    open_spans: u32,
    attach_methods: Vec<Method>,
    segment_after: Duration,
    settings: watch::Settings,
}

impl WatchingArguments {
    /// What is watched; whoever listens at the endpoint is not.
    pub(super) fn selection(&self, config: &Config, peers: &Peers, endpoint: Vec<SocketAddr>) -> Selection {
        Selection {
            pids: self.pid.iter().copied().collect(),
            executables: self.exe.clone(),
            ports: self.port.iter().copied().collect(),
            ancestor: None,
            endpoint,
            rules: config.rules_after(peers),
            pods: None,
            paused: Paused::Nothing,
        }
    }

    /// Whether queries of URLs are recorded.
    pub(in crate::cli) fn queries(&self, file: &file::Watching) -> bool {
        self.queries.or(file.queries).unwrap_or(false)
    }

    /// What is done about programs that trace themselves.
    pub(in crate::cli) fn coexistence(&self, file: &file::Watching) -> Coexistence {
        self.sdk.or(file.sdk).unwrap_or_default()
    }

    /// Whether trace contexts are added to what processes send about which no rule says anything.
    pub(super) fn propagates(&self, file: &file::Watching) -> bool {
        self.propagate.or(file.propagate).unwrap_or(false)
    }

    /// Whether spans of calls are linked to those of the services that are called.
    pub(super) fn joins(&self, file: &file::Watching) -> bool {
        self.join.or(file.join).unwrap_or(false)
    }

    fn settled(&self, file: &file::Watching, sampler: Sampler) -> Settled {
        let unless = |no: Option<bool>, file: Option<bool>| no.map(|no| !no).or(file).unwrap_or(true);
        let seconds = self.segment_after.map(|seconds| Duration::from_secs(seconds.into()));
        let settle = self.callers_settle.map(Duration::from_secs);
        let methods = Some(&self.attach_method).filter(|methods| !methods.is_empty());
        Settled {
            ring_size_kib: self.ring_size.or(file.ring_size_kib).unwrap_or(Sizes::USUAL.ring_bytes / 1024),
            open_spans: self.max_open_spans.or(file.max_open_spans).unwrap_or(Sizes::USUAL.open_spans),
            attach_methods: methods.or(file.attach_methods.as_ref()).cloned().unwrap_or_default(),
            segment_after: seconds.or(file.segment_after.map(|time| time.0)).unwrap_or(SEGMENT_AFTER),
            settings: watch::Settings {
                sampler,
                copied_routes: unless(self.no_copied_routes, file.copied_routes),
                router_routes: unless(self.no_router_routes, file.router_routes),
                inferred_parents: unless(self.no_inferred_parents, file.inferred_parents),
                queries: self.queries(file),
                messages: self.count_messages.or(file.count_messages).unwrap_or(false),
                join: self.joins(file),
                coexistence: self.coexistence(file),
                propagation: Propagation { is_possible: false, is_usual: self.propagates(file) },
                callers_settle: settle.or(file.callers_settle.map(|time| time.0)).unwrap_or(CALLERS_SETTLE),
            },
        }
    }
}

/// What others see of an agent while it runs.
#[derive(Default)]
pub(in crate::cli) struct Appearance {
    /// What tells of a kill.
    pub(super) mark: Option<Mark>,
    /// What tells how it goes.
    pub(super) status: Option<status::Bound>,
    /// What waits to be delivered, and would be missing after a kill.
    pub(super) delivery: Option<Monitor>,
}

/// Who takes what a session brings, to its end.
pub(in crate::cli) trait Output: session::Sink {
    /// Waits for what is to be known before anything is watched.
    fn prepare(&mut self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
    /// What it knows of pods, if it asks.
    fn pods(&self) -> Option<Directory> {
        None
    }
    /// Takes what a trap costs here, in nanoseconds.
    fn price(&mut self, _trap: f64) {}
    /// Ends it, and says what became of everything.
    async fn finish(self) -> anyhow::Result<()>;
}

/// What watching must know of delivery; nothing if spans go to a file.
#[derive(Debug, Default)]
pub(in crate::cli) struct Delivering {
    /// Where the endpoint is, if it is on this host.
    pub endpoint: Vec<SocketAddr>,
    /// How much waits for it at most.
    pub queue_bytes: usize,
}

/// Watches until a signal comes, the command has ended, or the output is done.
pub(in crate::cli) fn watch<S: Output>(
    arguments: &WatchingArguments,
    (config, peers): (&Config, &Peers),
    program: Option<&Program>,
    sampler: Sampler,
    delivering: Delivering,
    appear: impl FnOnce(&Counts, &S) -> anyhow::Result<Appearance>,
    start: impl FnOnce(&Arc<Counts>) -> anyhow::Result<S>,
) -> anyhow::Result<u8> {
    let object = lightfoot_probes::OBJECT?;
    let settled = arguments.settled(&config.file.watching, sampler);
    capabilities::check()?;
    let mut selection = arguments.selection(config, peers, delivering.endpoint);
    let processes = Proc::default();
    if let Some(pid) = arguments.pid.iter().find(|pid| processes.process(**pid).is_none()) {
        if let Err(error) = fs::metadata(processes.executable(*pid))
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            anyhow::bail!("--pid {pid}: its program cannot be looked at (it takes CAP_SYS_PTRACE): {error}");
        }
        anyhow::bail!("--pid {pid}: there is no such process, or it runs no program");
    }
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // One may be there before rights are given up.
    builder.on_thread_start(|| keep_in_thread(OF_POOL));
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(async {
        let sizes = Sizes {
            ring_bytes: settled.ring_size_kib * 1024,
            open_spans: settled.open_spans,
            contexts: arguments.max_contexts,
            callers: arguments.max_callers,
            processes: arguments.max_processes,
            connected: if settled.settings.join { MAX_CONNECTED } else { 1 },
            counted_streams: if settled.settings.messages { MAX_COUNTED_STREAMS } else { 1 },
            counts_reads: arguments.count_reads,
        };
        memory_limit::check(sizes, delivering.queue_bytes).context("cannot watch anything")?;
        let mut settings = settled.settings;
        let is_asked = settings.propagation.is_usual || selection.rules.ask_to_propagate();
        let writing = is_asked.then(|| propagation::load(&settled.attach_methods, sizes));
        let writing = writing.and_then(|loaded| {
            let refused = |reason: &String| {
                warn!(reason, "trace contexts are not passed on to the services that are called");
            };
            loaded.inspect_err(refused).ok()
        });
        settings.propagation.is_possible = writing.is_some();
        let (mut kernel, ring) = match writing {
            Some(loaded) => loaded,
            None => Kernel::load(object, &settled.attach_methods, sizes).context("cannot watch anything")?,
        };
        // The types of the kernel were read, too.
        sys::give_back_memory();
        let counts = Arc::new(Counts::default());
        let mut sink = start(&counts)?;
        match price::at_start(&mut kernel) {
            Ok(trap) => sink.price(trap),
            Err(error) => debug!(error = %anyhow::Error::from(error), "what a trap costs here is not known"),
        }
        sink.prepare().await;
        selection.pods = sink.pods();
        // Handlers stand before the command runs: a signal that comes early is not lost.
        let reports_asked = signal(SignalKind::user_defined1())?;
        let signals = command::Signals::new()?;
        let pauses = pausing::Signals::new()?;
        let Appearance { mut mark, status, delivery } = appear(&counts, &sink)?;
        let pause_file = arguments.pause_file.clone().or_else(|| config.file.pause_file.clone());
        let pause_file = pause_file.or_else(|| mark.as_ref().map(|mark| mark.folder().join(pausing::NAME)));
        // An agent that starts while the file is there places nothing.
        selection.paused = pausing::now(pause_file.as_deref());
        let is_paused = !matches!(selection.paused, Paused::Nothing);
        // Last of what can fail: whoever sees the command run sees it watched.
        let mut child = program.map(Program::start).transpose()?;
        if let Some(child) = &child {
            selection.pids.insert(child.pid);
            selection.ancestor = Some(child.pid);
        }
        // The command keeps the limit and the rights that it would have without us.
        raise_file_limit();
        let method = kernel.method();
        capabilities::give_up(Needs {
            sys_admin: settings.propagation.is_possible || method.takes_sys_admin(),
            dac_override: method.is_by_tracefs() || mark.as_ref().is_some_and(Mark::is_in_folder_of_others),
            kill: child.is_some(),
        });
        let segment_after = settled.segment_after;
        let open_spans = kernel.take_open_spans().filter(|_| !segment_after.is_zero());
        let segments = open_spans.map(|spans| Segments::new(spans, segment_after));
        let watcher = |events, inbox: &_| Watcher::new(processes, selection, settings, kernel, events, inbox);
        let mut session = Session::start((ring, sizes.ring_bytes), segments, watcher)?;
        if let Some(mark) = &mut mark {
            mark.watches();
        }
        if let (Some(child), Some(program)) = (&mut child, program) {
            child.go_when(session.expect(child.pid, program.path.clone()));
        }
        // Each of these asks once at a time, and finds room.
        let (ask, asked) = mpsc::channel(3);
        let telling = status.map(|status| status.tell(ask.clone(), pause_file.clone(), session.fill()));
        let supervisor = tokio::spawn(supervisor::follow(ask.clone()));
        let reports = tokio::spawn(report_on_signal(ask, reports_asked, Arc::clone(&counts)));
        let hangups = signal(SignalKind::hangup())?;
        let following =
            tokio::spawn(reload::follow(config.clone(), peers.clone(), is_asked, session.orders(), hangups));
        let pausing =
            tokio::spawn(pausing::follow((pause_file, is_paused), pauses, session.orders(), counts));
        let reloads = config.path.is_some();
        let mut ended = None;
        let stop = async {
            signals.wait(child.as_mut(), reloads, &mut ended).await;
            supervisor::ends();
        };
        let run = session.run(&mut sink, stop, asked);
        let result = state::refreshing(mark.as_ref(), delivery.as_ref(), run).await;
        supervisor.abort();
        reports.abort();
        following.abort();
        pausing.abort();
        let finished = sink.finish().await;
        if let Some(telling) = telling {
            telling.finish().await;
        }
        result?;
        finished?;
        if let Some(mark) = mark {
            mark.clear();
        }
        Ok(ended.map_or(SUCCESS, command::exit_code))
    });
    // It would wait for a resolver that does not answer.
    runtime.shutdown_background();
    result
}

/// Prints all counts each time that the signal comes.
async fn report_on_signal(ask: mpsc::Sender<Question>, mut signal: Signal, counts: Arc<Counts>) {
    while signal.recv().await.is_some() {
        let (answer, report) = oneshot::channel();
        if ask.send(Question { answer, with_maps: false }).await.is_err() {
            return;
        }
        let report = report.await.unwrap_or_default();
        counts.print_with(&report);
    }
}

/// Perf events take a file for each site; 1024 in all, as most systems have it, are soon used up.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is not allowed, there is what there is: whoever cannot be watched for it is told.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn ring_size(text: &str) -> Result<u32, String> {
    let kib: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if kib.is_power_of_two() && (4..=1 << 20).contains(&kib) {
        Ok(kib)
    } else {
        Err("it must be a power of two from 4 to 1048576".to_owned())
    }
}
