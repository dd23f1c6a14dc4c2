//! What is told of an agent to whoever asks: what became of processes, kept here, and what others count.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lightfoot_probes_abi::{Counter, Counters};
use rustix::io::Errno;

use super::because::{because, nobody, undelivered};
use super::cost;
use super::memory::memory;
use crate::attach::{self, Group, count};
use crate::cli::counts::Counts;
use crate::counters::{self, Parents, kernel_name};
use crate::deliver::Monitor;
use crate::discover::{Paused, Proc, ProcessKey};
use crate::logs;
use crate::session::RingFill;
use crate::state::shown;
use crate::status::{Delivery, MapFill, Operation, Process, Refused, Ring, Status, TrapPrice};
use crate::watch::report::{Outlook, Report, Verdict, Watched};

/// So many refused processes are remembered, the last ones.
pub(super) const MAX_REFUSED: usize = 1_024;
/// At most so often, when somebody asks, it is looked which of them have ended.
const LOOK: Duration = Duration::from_secs(1);
/// More processes are never watched; beyond that nothing is kept of one.
const MAX_PROCESSES: usize = 4_096;
/// Characters of a path, a name or a reason, which come from strangers.
const MAX_TEXT: usize = 512;

/// What is told.
pub(in crate::cli::run) struct Board {
    /// When the agent began.
    pub(super) began: SystemTime,
    /// The same, by a clock that nobody sets.
    since: Instant,
    counts: Arc<Counts>,
    delivery: OnceLock<Monitor>,
    pause_file: OnceLock<PathBuf>,
    ring: OnceLock<Arc<RingFill>>,
    /// Nanoseconds of a trap, as measured at the start.
    trap: OnceLock<f64>,
    proc: Proc,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    processes: HashMap<ProcessKey, About>,
    refused: VecDeque<(ProcessKey, Refused)>,
    forgotten: u64,
    /// When it was looked which of the refused ones have ended.
    looked: Option<Instant>,
    is_over: bool,
}

/// What is known of a process beside what is counted.
struct About {
    executable: String,
    service: Option<String>,
    since: String,
    parents: Arc<Parents>,
}

impl Board {
    pub(in crate::cli::run) fn new(counts: &Arc<Counts>) -> Self {
        Self {
            began: SystemTime::now(),
            since: Instant::now(),
            counts: Arc::clone(counts),
            delivery: OnceLock::new(),
            pause_file: OnceLock::new(),
            ring: OnceLock::new(),
            trap: OnceLock::new(),
            proc: Proc::default(),
            known: Mutex::default(),
        }
    }

    /// What a trap costs here, in nanoseconds.
    pub(in crate::cli::run) fn priced(&self, trap: f64) {
        // It is measured once.
        let _ = self.trap.set(trap);
    }

    /// Where spans go.
    pub(in crate::cli::run) fn delivers(&self, monitor: Monitor) {
        // There is but one delivery.
        let _ = self.delivery.set(monitor);
    }

    /// Where records come from.
    pub(super) fn reads(&self, ring: &Arc<RingFill>) {
        // There is but one ring.
        let _ = self.ring.set(Arc::clone(ring));
    }

    /// What pauses it while it is there.
    pub(super) fn is_paused_by(&self, file: Option<PathBuf>) {
        if let Some(file) = file {
            // It is said once.
            let _ = self.pause_file.set(file);
        }
    }

    /// A process is watched; its service is not known if it ended before. Returns where to count the parents of its spans.
    pub(in crate::cli::run) fn started(
        &self,
        key: ProcessKey,
        executable: &Path,
        service: Option<&str>,
    ) -> Arc<Parents> {
        let parents = Arc::new(Parents::default());
        let mut known = self.known();
        known.replaced(key.pid);
        if known.processes.len() < MAX_PROCESSES {
            let executable = cut(&executable.display().to_string());
            let (service, since, parents) = (service.map(cut), now(), Arc::clone(&parents));
            known.processes.insert(key, About { executable, service, since, parents });
        }
        parents
    }

    /// Its service has another name from now on.
    pub(in crate::cli::run) fn named(&self, key: ProcessKey, service: &str) {
        if let Some(about) = self.known().processes.get_mut(&key) {
            about.service = Some(cut(service));
        }
    }

    /// It is watched no more; what it has counted goes to the totals meanwhile, so that nobody sees it there twice, or not at all.
    pub(in crate::cli::run) fn ended(&self, key: ProcessKey, count: impl FnOnce()) {
        let mut known = self.known();
        count();
        known.processes.remove(&key);
    }

    /// Nothing is watched any more; likewise.
    pub(in crate::cli::run) fn is_over(&self, count: impl FnOnce()) {
        let mut known = self.known();
        count();
        known.is_over = true;
    }

    /// That it was refused holds no longer.
    pub(in crate::cli::run) fn settled(&self, key: ProcessKey) {
        self.known().refused.retain(|(refused, _)| *refused != key);
    }

    /// It was to be watched, and cannot be.
    pub(in crate::cli::run) fn refused(&self, key: ProcessKey, executable: &Path, reason: &str) {
        let mut known = self.known();
        known.replaced(key.pid);
        if known.refused.len() >= MAX_REFUSED {
            known.refused.pop_front();
            known.forgotten = known.forgotten.saturating_add(1);
        }
        let executable = cut(&executable.display().to_string());
        let refused = Refused { pid: key.pid, executable, time: now(), reason: cut(reason) };
        known.refused.push_back((key, refused));
    }

    /// All of it, with the counts of a report of that age.
    pub(super) fn status(&self, age: Option<Duration>, report: Option<&Report>) -> Status {
        self.forget_ended();
        let none = Report::default();
        let (told, report) = (report, report.unwrap_or(&none));
        let snapshot = self.counts.delivery.snapshot();
        let (known, price) = (self.known(), cost::price(self.trap.get().copied()));
        // A report may be older than what is known by now: of those who have ended the totals tell.
        let watched: Vec<_> =
            report.processes.iter().filter(|one| known.processes.contains_key(&one.key)).collect();
        let counted: HashSet<_> = watched.iter().map(|one| one.key).collect();
        let unwatched = report.unwatched.as_ref().filter(|_| !known.is_over);
        let counters = watched.iter().map(|one| &one.counters).chain(unwatched);
        let counts = self.counts.all_by_name(counters, &snapshot);
        let mut processes: Vec<_> =
            watched.into_iter().filter_map(|one| known.process(one, &price)).collect();
        let uncounted = known.processes.iter().filter(|(key, _)| !counted.contains(key));
        processes.extend(uncounted.map(|(key, about)| about.uncounted(key.pid)));
        processes.sort_by_key(|process| process.pid);
        let because = processes.is_empty().then(|| nobody(told, known.refused.len()));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            started: shown(self.began).to_string(),
            now: now(),
            uptime_seconds: self.since.elapsed().as_secs_f64(),
            ready: report.has_looked,
            paused: match report.paused {
                Paused::Nothing => "nothing",
                Paused::Executables(_) => "some programs",
                Paused::Everything => "everything",
            }
            .to_owned(),
            paused_patterns: match &report.paused {
                Paused::Executables(patterns) => {
                    patterns.iter().map(|pattern| pattern.glob().to_string()).collect()
                }
                _ => Vec::new(),
            },
            pause_file: self.pause_file.get().cloned(),
            log_level: logs::current().unwrap_or_default().name().to_owned(),
            counts_age_seconds: age.map(|age| age.as_secs_f64()),
            processes,
            because,
            refused: known.refused.iter().map(|(_, refused)| refused.clone()).collect(),
            refused_forgotten: known.forgotten,
            delivery: self
                .delivery
                .get()
                .map_or_else(Delivery::default, |monitor| delivery(monitor, &snapshot, &counts)),
            trap_price: price,
            estimated_traps: cost::traps(|one| counts.get(&kernel_name(one)).copied().unwrap_or(0)),
            ring: self.ring.get().map_or_else(Ring::default, |fill| ring(fill)),
            maps: report.maps.iter().map(map).collect(),
            memory: memory(told.map(|report| report.map_bytes)),
            parents: self.counts.parents.by_name(),
            counts,
        }
    }

    /// Leaves out refused processes that have ended, of which nobody tells.
    fn forget_ended(&self) {
        let Some(refused) = self.known().next_look() else { return };
        // Whoever has more to tell need not wait meanwhile.
        let ended = ended(&self.proc, refused);
        self.known().refused.retain(|(refused, _)| !ended.contains(refused));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whoever had that number and was refused has ended, or has executed another program.
    fn replaced(&mut self, pid: u32) {
        self.refused.retain(|(refused, _)| refused.pid != pid);
    }

    /// The refused processes, if it is time to look whether they still run.
    fn next_look(&mut self) -> Option<Vec<ProcessKey>> {
        if self.refused.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return None;
        }
        self.looked = Some(Instant::now());
        Some(self.refused.iter().map(|(key, _)| *key).collect())
    }

    fn process(&self, watched: &Watched, price: &TrapPrice) -> Option<Process> {
        let Watched { key, rule, counters, build_info, outlooks, modules, groups, sites, not_propagated } =
            watched;
        let About { executable, service, since, parents } = self.processes.get(key)?;
        let of = |counter| count(counters, counter);
        let settled = [Counter::Ended, Counter::Unsampled, Counter::RingFull, Counter::Abandoned].map(of);
        let operations: Vec<_> = outlooks
            .iter()
            .map(|outlook| {
                let absent = outlook.group.filter(|group| !groups.contains(group));
                operation(outlook, absent, not_propagated.as_deref())
            })
            .collect();
        let open = settled.into_iter().fold(of(Counter::Started), u64::saturating_sub);
        let (lost, traps) = (lost(counters), cost::traps(of));
        Some(Process {
            pid: key.pid,
            rule: rule.as_ref().map(|rule| cut(&rule.to_string())),
            executable: executable.clone(),
            service: service.clone(),
            go: build_info.as_ref().map(|info| cut(&info.go_version)),
            modules: modules.iter().map(|(path, version)| ((*path).to_owned(), cut(version))).collect(),
            spans: of(Counter::Ended),
            lost,
            open,
            estimated_traps: traps,
            estimated_trap_seconds: cost::seconds(traps, price),
            because: because(counters, (lost, open), &operations, since),
            since: since.clone(),
            sites: *sites,
            operations,
            parents: parents.by_name(),
            counts: by_name(counters),
        })
    }
}

impl About {
    /// A process that has just come, or of which a busy agent cannot say more now.
    fn uncounted(&self, pid: u32) -> Process {
        Process {
            pid,
            executable: self.executable.clone(),
            service: self.service.clone(),
            since: self.since.clone(),
            because: Some("its counts have not been read yet".to_owned()),
            ..Process::default()
        }
    }
}

/// Those of them that run no more, by what anybody may read: whoever answers has no rights.
fn ended(proc: &Proc, processes: Vec<ProcessKey>) -> HashSet<ProcessKey> {
    // Where the processes of others are hidden (proc(5), `hidepid`), the first one is, too, and nobody knows.
    if !matches!(started(proc, 1), Ok(Some(_))) {
        return HashSet::new();
    }
    let has_ended = |key: &ProcessKey| started(proc, key.pid).is_ok_and(|found| found != Some(key.started));
    processes.into_iter().filter(has_ended).collect()
}

/// When the process of that number started, unless it is dead and only its parent has not asked yet (proc_pid_stat(5): the fields 3 and 22).
///
/// # Errors
/// It cannot be looked at, which says nothing of it.
fn started(proc: &Proc, pid: u32) -> io::Result<Option<u64>> {
    let stat = match fs::read(proc.folder(pid).join("stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // It has ended since the file was opened.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The name before them may be anything.
    let fields = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    let fields: Vec<_> = str::from_utf8(fields).unwrap_or_default().split_ascii_whitespace().collect();
    let (Some(state), Some(Ok(started))) = (fields.first(), fields.get(19).map(|field| field.parse())) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok((!matches!(*state, "Z" | "X")).then_some(started))
}

/// Of an operation whose group of probes may be absent; those that add trace contexts may have failed.
fn operation(outlook: &Outlook, absent: Option<Group>, not_propagated: Option<&str>) -> Operation {
    let (state, reasons) = match (&outlook.verdict, absent) {
        (Verdict::Watched, None) => ("watched", Vec::new()),
        (Verdict::Watched, Some(group)) => {
            let (state, reason) = off(group, not_propagated);
            (state, vec![reason])
        }
        (Verdict::Left(by), _) => ("left", vec![cut(&format!("left to {by}"))]),
        (Verdict::Cannot(reasons), _) => ("cannot", reasons.iter().map(|reason| cut(reason)).collect()),
    };
    Operation {
        library: outlook.library.to_owned(),
        title: outlook.title.to_owned(),
        state: state.to_owned(),
        traps: outlook.traps,
        reasons,
    }
}

/// What is said where a group of probes that could be there is not.
fn off(group: Group, not_propagated: Option<&str>) -> (&'static str, String) {
    let reason = match (group, not_propagated) {
        (Group::Propagation, Some(reason)) => {
            return ("cannot", cut(&format!("its probes could not be placed: {reason}")));
        }
        (Group::Propagation, None) => {
            "it was not asked for (--propagate), or the kernel lets nobody write, as was said at the start"
        }
        (Group::Messages, _) => "it was not asked for (--count-messages)",
        (Group::Join, _) => "it was not asked for (--join)",
        (Group::Routers, _) => "it is switched off (--no-router-routes)",
        // These come and go as requests need them.
        (Group::Base | Group::Routes | Group::Returns(_) | Group::CallSite(_), _) => "nothing needs it now",
    };
    ("off", reason.to_owned())
}

fn delivery(monitor: &Monitor, snapshot: &counters::Snapshot, counts: &BTreeMap<String, u64>) -> Delivery {
    let progress = monitor.progress();
    let mut services: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for counter in counters::Counter::ALL {
        for (service, count) in snapshot.of(counter) {
            services.entry(cut(service)).or_default().insert(counter.name().to_owned(), count);
        }
    }
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut delivery = Delivery {
        endpoint: progress.endpoint,
        down: progress.is_down,
        refuses: progress.refuses,
        last_error: progress.last_error.as_deref().map(cut),
        printed: progress.is_printed,
        waiting_spans: wide(progress.spans),
        waiting_bytes: wide(progress.bytes),
        max_bytes: wide(progress.max_bytes),
        services,
        because: None,
    };
    delivery.because = undelivered(&delivery, |name| counts.get(name).copied().unwrap_or(0));
    delivery
}

fn ring(fill: &RingFill) -> Ring {
    Ring { size_bytes: fill.size, last_bytes: fill.last(), most_bytes: fill.most() }
}

fn map(fill: &attach::MapFill) -> MapFill {
    let attach::MapFill { name, entries, limit } = *fill;
    MapFill { name: name.to_owned(), entries, limit }
}

/// Spans that were lost before they came to the agent.
fn lost(counters: &Counters) -> u64 {
    let losses = Counter::ALL.iter().filter(|counter| counter.help().trim_start().starts_with("Lost:"));
    losses.map(|counter| count(counters, *counter)).fold(0, u64::saturating_add)
}

fn by_name(counters: &Counters) -> BTreeMap<String, u64> {
    let all = Counter::ALL.iter().map(|counter| (kernel_name(*counter), count(counters, *counter)));
    all.filter(|(_, count)| *count != 0).collect()
}

fn now() -> String {
    shown(SystemTime::now()).to_string()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::FileIdentity;

    fn key(pid: usize) -> ProcessKey {
        let file = FileIdentity::of(Path::new("/proc/self/exe")).unwrap();
        ProcessKey { pid: u32::try_from(pid).unwrap(), started: 1, stack: 1, file }
    }

    /// One to which processes are hidden.
    fn board() -> Board {
        Board { proc: Proc::at("/nowhere"), ..Board::new(&Arc::new(Counts::default())) }
    }

    #[test]
    fn the_last_refused_processes_are_remembered_and_the_others_counted() {
        let board = board();
        for pid in 1..=MAX_REFUSED + 3 {
            board.refused(key(pid), Path::new("/srv/shop"), &"x".repeat(2 * MAX_TEXT));
        }
        board.refused(key(4), Path::new("/srv/shop"), "again");
        let status = board.status(None, None);
        let pids: Vec<_> = status.refused.iter().map(|refused| refused.pid as usize).collect();
        assert_eq!(pids, (5..=MAX_REFUSED + 3).chain([4]).collect::<Vec<_>>());
        assert_eq!(status.refused_forgotten, 3);
        assert_eq!(status.refused[0].reason.len(), MAX_TEXT);
        board.started(key(4), Path::new("/srv/shop"), Some("shop"));
        assert_eq!(board.status(None, None).refused.len(), MAX_REFUSED - 1);
        board.settled(key(5));
        assert_eq!(board.status(None, None).refused.len(), MAX_REFUSED - 2);
    }

    #[test]
    fn a_refused_process_is_told_of_as_long_as_it_runs() {
        let root = tempfile::tempdir().unwrap();
        let is_there = |pid: u32, state: &str, started: u64| {
            let stat = format!(
                "{pid} (a) b (\u{e9}) {state} 1 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {started} 1 2 3\n"
            );
            fs::create_dir(root.path().join(pid.to_string())).unwrap();
            fs::write(root.path().join(format!("{pid}/stat")), stat).unwrap();
        };
        let board = Board { proc: Proc::at(root.path()), ..board() };
        // The first one runs, the number of the second is another's by now, the third is dead, the fourth is gone.
        for (pid, state, started) in [(2, "S", 1), (3, "R", 700), (4, "Z", 1)] {
            is_there(pid, state, started);
        }
        for pid in 2..=5 {
            board.refused(key(pid), Path::new("/srv/shop"), "no Go program");
        }
        let report = Report { has_looked: true, ..Report::default() };
        let told = || {
            board.known().looked = None;
            let status = board.status(None, Some(&report));
            (status.refused.iter().map(|one| one.pid).collect::<Vec<_>>(), status.because.unwrap())
        };
        let cannot = |count| format!("what was to be watched cannot be ({count} processes)");
        assert_eq!(told(), (vec![2, 3, 4, 5], cannot(4)), "where not even the first process is seen");
        is_there(1, "S", 7);
        assert_eq!(told(), (vec![2], cannot(1)));
        fs::remove_file(root.path().join("2/stat")).unwrap();
        // It is not looked for at each question.
        board.known().looked = Some(Instant::now() + LOOK);
        assert_eq!(board.status(None, None).refused.len(), 1);
        let none = "none that runs is to be watched; `lightfoot targets` shows why".to_owned();
        assert_eq!(told(), (Vec::new(), none));
    }

    #[test]
    fn a_refused_process_that_executes_something_else_is_told_of_once() {
        let board = board();
        let executed = ProcessKey { stack: 2, ..key(7) };
        board.refused(key(7), Path::new("/bin/sh"), "no Go program");
        board.refused(executed, Path::new("/srv/old"), "too old");
        let refused = board.status(None, None).refused;
        assert_eq!(refused.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(), ["too old"]);
        board.started(ProcessKey { stack: 3, ..key(7) }, Path::new("/srv/shop"), None);
        assert_eq!(board.status(None, None).refused, []);
    }

    /// What has counted `started` so often.
    fn counters(started: u64) -> Counters {
        let mut counters = Counters([0; Counters::CAPACITY]);
        counters.0[Counter::Started as usize] = started;
        counters
    }

    #[test]
    fn what_a_process_has_counted_is_in_the_totals_once() {
        let counts = Arc::new(Counts::default());
        let board = Board::new(&counts);
        let watched = Watched {
            key: key(7),
            rule: None,
            counters: counters(5),
            build_info: None,
            outlooks: Arc::new([]),
            modules: Arc::new([]),
            groups: Vec::new(),
            sites: 0,
            not_propagated: None,
        };
        let report = Report { processes: vec![watched], unwatched: Some(counters(1)), ..Report::default() };
        let started = || board.status(None, Some(&report)).counts.get("started").copied();
        // The report may be before or behind what is known.
        assert_eq!(started(), Some(1));
        board.started(key(7), Path::new("/srv/shop"), None);
        assert_eq!(started(), Some(6));
        board.ended(key(7), || counts.add_kernel(&counters(8)));
        assert_eq!(started(), Some(9));
        board.is_over(|| counts.add_kernel(&counters(2)));
        assert_eq!(started(), Some(10));
    }

    #[test]
    fn probes_that_are_not_there_have_a_reason() {
        let outlook = |group| Outlook {
            library: "net/http",
            title: "what is asked for",
            is_span: false,
            traps: 1,
            verdict: Verdict::Watched,
            group: Some(group),
        };
        let said = |group, absent, failed| {
            let operation = operation(&outlook(group), absent, failed);
            (operation.state, operation.reasons.join("; "))
        };
        for (group, failed, state, reason) in [
            (Group::Messages, None, "off", "it was not asked for (--count-messages)"),
            (Group::Join, Some("a reason"), "off", "it was not asked for (--join)"),
            (Group::Routers, None, "off", "it is switched off (--no-router-routes)"),
            (Group::Propagation, Some("a reason"), "cannot", "its probes could not be placed: a reason"),
        ] {
            assert_eq!(said(group, Some(group), failed), (state.to_owned(), reason.to_owned()));
            assert_eq!(said(group, None, failed), ("watched".to_owned(), String::new()));
        }
        let (state, reason) = said(Group::Propagation, Some(Group::Propagation), None);
        assert!(state == "off" && reason.starts_with("it was not asked for (--propagate), or "), "{reason}");
        let long = "x".repeat(2 * MAX_TEXT);
        assert_eq!(said(Group::Propagation, Some(Group::Propagation), Some(&long)).1.len(), MAX_TEXT);
    }

    #[test]
    fn a_process_of_which_nothing_is_counted_yet_is_told_of() {
        let board = board();
        board.started(key(7), Path::new("/srv/shop"), Some("shop"));
        board.named(key(7), "cart");
        let Status { processes, counts_age_seconds, .. } = board.status(None, None);
        let [process] = &processes[..] else { panic!("{processes:?}") };
        assert_eq!((process.pid, process.service.as_deref()), (7, Some("cart")));
        assert_eq!(process.because.as_deref(), Some("its counts have not been read yet"));
        assert_eq!(counts_age_seconds, None);
        for pid in 0..2 * MAX_PROCESSES {
            board.started(key(pid), Path::new("/srv/shop"), None);
        }
        assert_eq!(board.status(None, None).processes.len(), MAX_PROCESSES);
        (0..2 * MAX_PROCESSES).for_each(|pid| board.ended(key(pid), || ()));
        assert_eq!(board.status(None, None).processes, []);
    }
}
