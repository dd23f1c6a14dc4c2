//! Processes are found the moment that they execute a program, and left the moment that they end.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::{PoisonError, RwLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::code::{BREAKPOINT, code_at, probes};
use lightfoot_tests::live::{
    Agent, Client, Folder, PATIENCE, Target, binary, lightfoot, skip, text, unused_addresses, wait_for,
    wait_within, watching,
};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process, setpriority_process};

/// Sweeps come every ten seconds: what takes less was told by the kernel. Some milliseconds are meant.
const WITHOUT_A_SWEEP: Duration = Duration::from_secs(4);

/// The numbers of processes: one test chooses which comes next, while the others start none.
static NUMBERS: RwLock<()> = RwLock::new(());

/// Waits for a process to be watched, for less time than a sweep takes to come.
fn watches_soon(agent: &Agent, target: &Target) {
    let started = Instant::now();
    let is_watched = || agent.messages().contains(&watching(target.pid())).then_some(());
    wait_within(WITHOUT_A_SWEEP, "it to be watched", is_watched).unwrap();
    println!("watched after {:?}", started.elapsed());
    // It says so just before the kernel is told, and tells the kernel before it answers.
    agent.counts().unwrap();
}

fn is_watching(agent: &Agent, number: usize) -> bool {
    agent.counts().is_ok() && agent.messages().ends_with(&format!("which watches {number} processes now\n"))
}

/// The thread that analyses programs, and its niceness, as proc_pid_stat(5) has both.
fn analyses(agent: u32) -> (Pid, i32) {
    let threads = fs::read_dir(format!("/proc/{agent}/task")).unwrap();
    // Another thread may have ended since.
    let mut stats = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    let stat = stats.find(|stat| stat.contains("(analyse)")).unwrap();
    let (number, _) = stat.split_once(' ').unwrap();
    let (_, after) = stat.rsplit_once(')').unwrap();
    let niceness = after.split_whitespace().nth(16).unwrap().parse().unwrap();
    (Pid::from_raw(number.parse().unwrap()).unwrap(), niceness)
}

/// A server that listens where the first request waits for it.
fn start_and_get_at_once(path: &Path, request: &str) -> Target {
    let [address] = unused_addresses();
    let target = Target::spawn(Command::new(path).args(["-listen", &address.to_string()])).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens");
        // The agent is to get its turn, too.
        sleep(Duration::from_micros(200));
    }
    assert_eq!(Client::tcp(address).status(request, "").unwrap(), 200);
    target
}

#[test]
fn a_process_of_a_known_binary_is_watched_before_its_first_request() {
    let Some(folder) = Folder::for_test("the first request of a known binary") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let path = folder.server().unwrap();
    // What else the machine does is not to take its turn.
    let mut command = Command::new("nice");
    command.args(["-n", "-10"]).arg(lightfoot()).args(["run", "--format", "otlp-json", "--exe", text(&path)]);
    let agent = Agent::spawn(command, &[]).unwrap();
    let first = Target::start(&path).unwrap();
    agent.watches(first.pid()).unwrap();
    // As a supervisor does, it is started again and again; nobody watches the file in between.
    drop(first);
    let rounds = 50;
    for round in 0..rounds {
        let mut target = start_and_get_at_once(&path, &format!("/{round}"));
        target.signal(Signal::KILL);
        target.wait().unwrap();
    }
    wait_for("all to be left", || is_watching(&agent, 0).then_some(())).unwrap();
    let outcome = agent.stop().unwrap();
    let seen = outcome.spans.len() as u64 + outcome.count("spans_open_at_end");
    println!("{seen} first requests of {rounds} were seen");
    // Nothing holds a process up until it is watched; on a busy machine the agent may get its turn too late.
    assert!(seen >= rounds * 4 / 5, "{}", outcome.messages);
    assert!(seen == rounds || outcome.count("unselected_process") > 0, "{}", outcome.messages);
    // However short its life was.
    assert_eq!(outcome.count("processes_unidentified"), 0, "{}", outcome.messages);
    assert_eq!(outcome.count("records_without_process"), 0, "{}", outcome.messages);
}

#[test]
fn a_new_binary_is_watched_when_it_is_analysed_and_left_when_it_ends() {
    let Some(folder) = Folder::for_test("a new binary") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    // Nothing of this takes tracefs: it is hidden, wherever it may be.
    let mut command = Command::new("unshare");
    let script = "umount -l /sys/kernel/tracing /sys/kernel/debug/tracing 2>/dev/null; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(lightfoot());
    command.args(["run", "--format", "otlp-json", "--exe", &format!("{}/*", text(folder.path()))]);
    let agent = Agent::spawn(command, &[]).unwrap();
    for round in 0..4 {
        let target =
            Target::start(&folder.copy_of(Program::Lifecycle, &format!("{round}")).unwrap()).unwrap();
        // The agent has to start first.
        if round == 0 {
            agent.watches(target.pid()).unwrap();
            let tracefs = format!("/proc/{}/root/sys/kernel/tracing/events", agent.pid());
            assert!(!Path::new(&tracefs).exists(), "{tracefs} is there");
            let (thread, niceness) = analyses(agent.pid());
            assert_eq!(niceness, 10);
            // How soon is asked below, not how much others want the processors.
            setpriority_process(Some(thread), 0).unwrap();
        } else {
            watches_soon(&agent, &target);
        }
        assert_eq!(target.get(&format!("/{round}")).unwrap(), 200);
        agent.span(&format!("/{round}")).unwrap();
        drop(target);
        wait_within(WITHOUT_A_SWEEP, "it to be left", || is_watching(&agent, 0).then_some(())).unwrap();
    }
    assert_eq!(agent.stop().unwrap().paths(), ["/0", "/1", "/2", "/3"]);
}

#[test]
fn what_is_not_told_in_time_is_counted_and_found_by_a_sweep_at_once() {
    let Some(folder) = Folder::for_test("more processes than can be told of") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let path = folder.server().unwrap();
    let agent = Agent::watching(&path).unwrap();
    let first = Target::start(&path).unwrap();
    // The agent has to start first.
    agent.watches(first.pid()).unwrap();
    agent.signal(Signal::STOP);
    // The ring has room for 1024.
    for _ in 0..1_100 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    let second = Target::start(&path).unwrap();
    second.address().unwrap();
    agent.signal(Signal::CONT);
    watches_soon(&agent, &second);
    assert_eq!(second.get("/second").unwrap(), 200);
    agent.span("/second").unwrap();
    let outcome = agent.stop().unwrap();
    assert!(outcome.count("process_events_full") > 0, "{}", outcome.messages);
}

#[test]
fn more_new_files_than_wait_for_an_analysis_are_all_looked_at() {
    let Some(folder) = Folder::for_test("many new files") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    // No Go programs: that is found out of each by itself.
    let sleep = fs::canonicalize("/bin/sleep").unwrap();
    let start = |number: usize| {
        let path = folder.copy(&sleep, &format!("sleep-{number}")).unwrap();
        Target::spawn(Command::new(path).arg("1000")).unwrap()
    };
    let others: Vec<_> = (0..150).map(start).collect();
    let target = Target::start(&folder.server().unwrap()).unwrap();
    target.address().unwrap();
    let agent = Agent::start(["--exe", &format!("{}/*", text(folder.path()))], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    agent.says_times("not watching", others.len()).unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.messages.matches("not watching").count(), others.len());
}

#[test]
fn copies_of_a_file_are_analysed_once_and_watched_each() {
    let Some(folder) = Folder::for_test("copies of a file") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let copy = |name| folder.copy_of(Program::Lifecycle, name).unwrap();
    let (one, two, three, other) = (copy("one"), copy("two"), copy("three"), copy("other"));
    File::options().append(true).open(&other).unwrap().write_all(b"no copy").unwrap();
    let pattern = format!("{}/*", text(folder.path()));
    let agent = Agent::start(["--exe", &pattern, "--log-level", "debug"], &[]).unwrap();
    let mut running = Vec::new();
    for (path, request, copies) in
        [(&one, "/one", 0), (&two, "/two", 1), (&other, "/other", 1), (&three, "/three", 2)]
    {
        if request == "/three" {
            // What was read once need not be there any more.
            running.clear();
        }
        let target = Target::start(path).unwrap();
        agent.watches(target.pid()).unwrap();
        assert_eq!(target.get(request).unwrap(), 200);
        assert_eq!(agent.span(request).unwrap().pid(), u64::from(target.pid()));
        assert_eq!(agent.messages().matches("whose analysis serves both").count(), copies, "{request}");
        running.push(target);
    }
    assert_eq!(agent.stop().unwrap().paths(), ["/one", "/other", "/three", "/two"]);
}

#[test]
fn what_nobody_tells_a_sweep_finds() {
    let Some(folder) = Folder::for_test("processes that nobody tells of") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let path = folder.server().unwrap();
    let mut command = Command::new(binary(Program::Untold).unwrap());
    command.arg(lightfoot()).args(["run", "--format", "otlp-json", "--exe", text(&path)]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.says("new processes are found by a look each second").unwrap();
    for request in ["/one", "/two"] {
        let target = Target::start(&path).unwrap();
        // The first one's file has to be analysed, which may take its time.
        if request == "/one" {
            agent.watches(target.pid()).unwrap();
        } else {
            watches_soon(&agent, &target);
        }
        assert_eq!(target.get(request).unwrap(), 200);
        agent.span(request).unwrap();
        drop(target);
        wait_within(WITHOUT_A_SWEEP, "it to be left", || is_watching(&agent, 0).then_some(())).unwrap();
    }
    assert_eq!(agent.stop().unwrap().paths(), ["/one", "/two"]);
}

#[test]
fn what_a_supervisor_starts_again_is_watched_again() {
    let Some(folder) = Folder::for_test("a supervisor") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let path = folder.server().unwrap();
    let agent = Agent::watching(&path).unwrap();
    let [address] = unused_addresses();
    let script = "while sleep 1; do \"$1\" -listen \"$2\"; done";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "supervisor", text(&path), &address.to_string()]);
    let supervisor = Target::spawn(&mut shell).unwrap();
    let mut pids = Vec::new();
    for round in 1..=3 {
        agent.says_times(" INFO watching  service=", round).unwrap();
        wait_for("a server", || TcpStream::connect(address).ok()).unwrap();
        agent.counts().unwrap();
        let request = format!("/{round}");
        assert_eq!(Client::tcp(address).status(&request, "").unwrap(), 200);
        pids.push(agent.span(&request).unwrap().pid());
        // The last one must not come again.
        if round == 3 {
            supervisor.signal(Signal::KILL);
        }
        let pid = pids.last().and_then(|pid| Pid::from_raw(i32::try_from(*pid).unwrap())).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        wait_for("it to be left", || is_watching(&agent, 0).then_some(())).unwrap();
    }
    pids.dedup();
    assert_eq!(pids.len(), 3, "{pids:?}");
    assert_eq!(agent.stop().unwrap().paths(), ["/1", "/2", "/3"]);
}

#[test]
fn a_large_program_keeps_no_known_one_waiting() {
    let Some(folder) = Folder::for_test("a large program beside small ones") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let small = folder.server().unwrap();
    // More than 30 MB, which take a while; the small one is known by then.
    let large = folder.copy_of(Program::Datadog, "large").unwrap();
    let pattern = format!("{}/*", text(folder.path()));
    let agent = Agent::start(["--exe", &pattern, "--sdk", "both"], &[]).unwrap();
    let first = Target::start(&small).unwrap();
    agent.watches(first.pid()).unwrap();
    let slow = Target::start(&large).unwrap();
    let second = Target::start(&small).unwrap();
    agent.watches(second.pid()).unwrap();
    assert_eq!(first.get("/first").unwrap(), 200);
    assert_eq!(second.get("/second").unwrap(), 200);
    for request in ["/first", "/second"] {
        agent.span(request).unwrap();
    }
    agent.watches(slow.pid()).unwrap();
    let messages = agent.messages();
    let [second, slow] = [&second, &slow].map(|target| messages.find(&watching(target.pid())).unwrap());
    assert!(second < slow, "{messages}");
    agent.stop().unwrap();
}

#[test]
fn probes_stay_for_a_while_after_the_last_process_and_go_then() {
    let Some(folder) = Folder::for_test("probes without a process") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let path = folder.server().unwrap();
    let offsets = probes(&path).unwrap();
    let (target, other) = (Target::start(&path).unwrap(), Target::start(&path).unwrap());
    let has_probes = || code_at(other.pid(), &offsets).unwrap().contains(&BREAKPOINT);
    let agent = Agent::start(["--pid", &target.pid().to_string()], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    assert!(has_probes());
    drop(target);
    wait_within(WITHOUT_A_SWEEP, "it to be left", || is_watching(&agent, 0).then_some(())).unwrap();
    assert!(has_probes(), "it may be started again");
    wait_for("the probes to go", || (!has_probes()).then_some(())).unwrap();
    agent.stop().unwrap();
}

#[test]
fn a_program_without_a_file_is_watched() {
    let Some(folder) = Folder::for_test("a program in memory, and a deleted one") else { return };
    let _numbers = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
    let path = folder.server().unwrap();
    let mut memory = File::from(memfd_create(c"server", MemfdFlags::empty()).unwrap());
    memory.write_all(&fs::read(&path).unwrap()).unwrap();
    // Nobody can execute what is open for writing.
    let in_memory = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
    let read_only = File::open(in_memory).unwrap();
    drop(memory);
    let in_memory = format!("/proc/{}/fd/{}", std::process::id(), read_only.as_raw_fd());
    let deleted = Target::start(&path).unwrap();
    deleted.address().unwrap();
    fs::remove_file(&path).unwrap();
    let in_memory = Target::start(Path::new(&in_memory)).unwrap();
    for (target, request) in [(&deleted, "/deleted"), (&in_memory, "/in-memory")] {
        let agent = Agent::start(["--pid", &target.pid().to_string()], &[]).unwrap();
        agent.watches(target.pid()).unwrap();
        assert_eq!(target.get(request).unwrap(), 200);
        agent.span(request).unwrap();
        agent.stop().unwrap();
    }
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    let Some(folder) = Folder::for_test("a number that is used again") else { return };
    let _numbers = NUMBERS.write().unwrap_or_else(PoisonError::into_inner);
    let last = Path::new("/proc/sys/kernel/ns_last_pid");
    let (one, two) = (
        folder.copy_of(Program::Lifecycle, "one").unwrap(),
        folder.copy_of(Program::Backend, "two").unwrap(),
    );
    let agent = Agent::start(["--exe", &format!("{}/*", text(folder.path()))], &[]).unwrap();
    let first = Target::start(&one).unwrap();
    agent.watches(first.pid()).unwrap();
    let pid = first.pid();
    // It learns of the end and of the new one together.
    agent.signal(Signal::STOP);
    drop(first);
    let again = wait_for("the number to come again", || {
        if fs::write(last, (pid - 1).to_string()).is_err() {
            return Some(None);
        }
        let target = Target::start(&two).unwrap();
        (target.pid() == pid).then_some(Some(target))
    });
    agent.signal(Signal::CONT);
    let Some(second) = again.unwrap() else {
        return skip("a number that is used again", "the next one cannot be chosen here");
    };
    agent.says_times(&watching(pid), 2).unwrap();
    agent.counts().unwrap();
    assert_eq!(second.get("/second").unwrap(), 200);
    let span = agent.span("/second").unwrap();
    assert_eq!((span.pid(), span.service()), (u64::from(pid), "lookalike"));
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.count("foreign_binary"), 0, "{}", outcome.messages);
}
