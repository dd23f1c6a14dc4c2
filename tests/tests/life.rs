//! What happens to processes while the agent runs: they start, end, execute other programs, change.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::lifecycle::target::{address_in, code_at, probes, request};
use lightfoot_tests::lifecycle::{Agent, Target, agent, copy_of, get, is_privileged, wait_for, wait_within};
use rustix::process::Signal;

/// Within which everything must be detached (issue: "detached within two seconds").
const DETACHED: Duration = Duration::from_secs(2);
/// The kernel closes one perf event after the other, each in some 0.1 s: here there are two dozen.
const DETACHED_PERF: Duration = Duration::from_secs(15);
#[cfg(target_arch = "x86_64")]
const BREAKPOINT: u8 = 0xcc;
#[cfg(target_arch = "aarch64")]
const BREAKPOINT: u8 = 0xa0;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The agent watches by path, so that later processes of it are watched too.
fn watching(path: &Path) -> Agent {
    Agent::start(["--exe", text(path)], &[]).unwrap()
}

#[test]
fn processes_and_connections_from_before_the_agent_are_watched() {
    if !is_privileged("processes and connections from before the agent") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let target = Target::start(&path).unwrap();
    let mut connection = TcpStream::connect(target.address().unwrap()).unwrap();
    assert_eq!(request(&mut connection, "/before", "keep-alive").unwrap(), 200);
    let agent = Agent::start(["--pid", &target.pid().to_string()], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(request(&mut connection, "/after", "keep-alive").unwrap(), 200);
    agent.span("/after").unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/after"]);
    assert!(outcome.status.success());
}

#[test]
fn a_restarted_process_is_watched_again_and_a_deleted_file_still_is() {
    if !is_privileged("restarts") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let agent = watching(&path);
    let mut expected = Vec::new();
    for round in 0..3 {
        let target = Target::start(&path).unwrap();
        if round == 2 {
            fs::remove_file(&path).unwrap();
        }
        agent.watches(target.pid()).unwrap();
        let path = format!("/round/{round}");
        assert_eq!(target.get(&path).unwrap(), 200);
        assert_eq!(agent.span(&path).unwrap().json["process.pid"], target.pid());
        expected.push(path);
    }
    assert_eq!(agent.stop().unwrap().paths(), expected);
}

#[test]
fn a_file_replaced_on_disk_is_right_for_the_old_process_and_the_new_one() {
    if !is_privileged("a file replaced on disk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let agent = watching(&path);
    let old = Target::start(&path).unwrap();
    agent.watches(old.pid()).unwrap();
    // Another program, whose probes stand elsewhere.
    let other = copy_of(Program::Backend, folder.path(), "new").unwrap();
    assert_ne!(probes(&path).unwrap(), probes(&other).unwrap());
    fs::rename(&other, &path).unwrap();
    let new = Target::start(&path).unwrap();
    agent.watches(new.pid()).unwrap();
    for (target, path) in [(&old, "/old"), (&new, "/new"), (&old, "/old/again")] {
        assert_eq!(target.get(path).unwrap(), 200);
        assert_eq!(agent.span(path).unwrap().json["process.pid"], target.pid());
    }
    assert_eq!(agent.stop().unwrap().paths(), ["/new", "/old", "/old/again"]);
}

#[test]
fn a_process_that_executes_another_program_is_watched_as_that() {
    if !is_privileged("exec in place") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let first = copy_of(Program::Lifecycle, folder.path(), "first").unwrap();
    let second = copy_of(Program::Backend, folder.path(), "second").unwrap();
    let target = Target::start(&first).unwrap();
    let pid = target.pid();
    let agent = Agent::start(["--pid", &pid.to_string()], &[]).unwrap();
    agent.watches(pid).unwrap();
    assert_eq!(target.get("/first").unwrap(), 200);
    // Its own file again, then another one; in both cases the request that does it has no end.
    for (round, next) in [&first, &second].into_iter().enumerate() {
        let address = target.address_of(round).unwrap();
        assert!(get(address, &format!("/exec?path={}", text(next))).is_err());
        agent.says_times(&format!("(process {pid}, "), round + 2).unwrap();
        agent.counts().unwrap();
        let path = format!("/after/{round}");
        assert_eq!(get(target.address_of(round + 1).unwrap(), &path).unwrap(), 200);
        let span = agent.span(&path).unwrap();
        assert_eq!(span.text("service.name"), ["lifecycle", "lookalike"][round]);
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/after/0", "/after/1", "/first"]);
    assert_eq!(outcome.count("spans_open_at_end"), 2, "{}", outcome.messages);
    assert_eq!(outcome.count("records_without_process"), 0, "{}", outcome.messages);
}

#[test]
fn of_two_processes_of_one_file_only_the_selected_one_is_watched() {
    if !is_privileged("two processes of one file") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let (selected, other) = (Target::start(&path).unwrap(), Target::start(&path).unwrap());
    let agent = Agent::start(["--pid", &selected.pid().to_string()], &[]).unwrap();
    agent.watches(selected.pid()).unwrap();
    for number in 0..10 {
        assert_eq!(selected.get(&format!("/selected/{number}")).unwrap(), 200);
        assert_eq!(other.get(&format!("/other/{number}")).unwrap(), 200);
    }
    agent.span("/selected/9").unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), (0..10).map(|number| format!("/selected/{number}")).collect::<Vec<_>>());
    // The start and the end of each, and the connection's.
    assert_eq!(outcome.count("unselected_process"), 30, "{}", outcome.messages);
}

#[test]
fn processes_in_other_mount_and_pid_namespaces_are_watched() {
    if !is_privileged("namespaces") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let agent = watching(&path);
    let mut target = Target::spawn(
        Command::new("unshare").args(["--pid", "--mount", "--fork", "--kill-child"]).arg(&path),
    )
    .unwrap();
    let address = target.address().unwrap();
    agent.says(text(&path)).unwrap();
    agent.counts().unwrap();
    assert_eq!(get(address, "/namespace").unwrap(), 200);
    let span = agent.span("/namespace").unwrap();
    assert_ne!(span.json["process.pid"], target.pid(), "that is unshare's");
    target.signal(Signal::KILL);
    target.wait().unwrap();
    assert_eq!(agent.stop().unwrap().paths(), ["/namespace"]);
}

#[test]
fn an_agent_in_a_pid_namespace_watches_its_own_and_says_what_it_cannot() {
    if !is_privileged("an agent in a PID namespace") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let beside = copy_of(Program::Lifecycle, folder.path(), "beside").unwrap();
    let below = copy_of(Program::Lifecycle, folder.path(), "below").unwrap();
    let script = format!(
        "{} & unshare --pid --fork --kill-child {} & exec {} run --format json --exe '{}/*'",
        text(&beside),
        text(&below),
        text(&agent()),
        text(folder.path())
    );
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.says(&format!("not watching {} (process", text(&below))).unwrap();
    agent.says("in a PID namespace below Lightfoot's own").unwrap();
    agent.says(&format!(", {})", text(&beside))).unwrap();
    let addresses = wait_for("both servers", || {
        let output = agent.other_output();
        let addresses: Vec<_> =
            output.lines().filter_map(|line| line.strip_prefix("listening ")?.parse().ok()).collect();
        (addresses.len() == 2).then_some(addresses)
    });
    wait_for("a span", || {
        for address in addresses.as_ref().unwrap() {
            get(*address, "/any").unwrap();
        }
        agent.spans().into_iter().next()
    })
    .unwrap();
    assert!(agent.spans().iter().all(|span| span.json["process.pid"].as_u64() < Some(10)), "numbers of its own");
}

#[test]
fn one_file_in_two_overlay_mounts_gives_each_span_once() {
    if !is_privileged("overlay mounts") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let lower = make("lower");
    copy_of(Program::Lifecycle, &lower, "server").unwrap();
    let start = |name: &str| {
        let (upper, work, merged) =
            (make(&format!("{name}-upper")), make(&format!("{name}-work")), make(name));
        let script = format!(
            "mount -t overlay overlay -o lowerdir={},upperdir={},workdir={} {} && exec {}/server",
            text(&lower),
            text(&upper),
            text(&work),
            text(&merged),
            text(&merged)
        );
        // The mount ends with its namespace.
        Target::spawn(Command::new("unshare").args(["--mount", "sh", "-c", &script])).unwrap()
    };
    let targets = ["one", "two"].map(start);
    let Ok(addresses) = targets.iter().map(Target::address).collect::<Result<Vec<_>, _>>() else {
        println!("skipped: overlay mounts: this kernel or file system has none");
        return;
    };
    let agent = Agent::start(["--exe", &format!("{}/*/server", text(folder.path()))], &[]).unwrap();
    for target in &targets {
        agent.watches(target.pid()).unwrap();
    }
    for (address, path) in addresses.iter().zip(["/one", "/two"]) {
        assert_eq!(get(*address, path).unwrap(), 200);
        agent.span(path).unwrap();
    }
    let [one, two] = targets;
    // What is shared stays while one of them runs.
    drop(one);
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(two.get("/two/alone").unwrap(), 200);
    agent.span("/two/alone").unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/one", "/two", "/two/alone"]);
    assert_eq!(
        outcome.count("foreign_binary"),
        0,
        "each request costs two traps, not four: {}",
        outcome.messages
    );
}

#[test]
fn a_hundred_short_lived_processes_leave_nothing_behind() {
    if !is_privileged("short-lived processes") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let agent = watching(&path);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    let first = Target::start(&path).unwrap();
    agent.watches(first.pid()).unwrap();
    drop(first);
    let is_watching =
        |number: usize| agent.messages().ends_with(&format!("which watches {number} processes now\n"));
    let nothing_watched = || agent.counts().is_ok_and(|_| is_watching(0)).then_some(());
    wait_for("the first one to be left", nothing_watched).unwrap();
    let before = descriptors();
    for _ in 0..20 {
        let processes: Vec<_> = (0..5).map(|_| Target::start(&path).unwrap()).collect();
        for process in &processes {
            assert_eq!(process.get("/short").unwrap(), 200);
        }
    }
    wait_for("all of them to be left", nothing_watched).unwrap();
    assert_eq!(descriptors(), before, "links are open");
    let last = Target::start(&path).unwrap();
    agent.watches(last.pid()).unwrap();
    assert_eq!(last.get("/last").unwrap(), 200);
    agent.span("/last").unwrap();
    let outcome = agent.stop().unwrap();
    assert!(outcome.status.success());
    let spans = outcome.spans.len() as u64;
    assert_eq!(
        outcome.count("ended"),
        spans + outcome.count("records_without_process"),
        "{}",
        outcome.messages
    );
}

#[test]
fn a_process_that_changed_its_code_is_refused_and_others_go_on() {
    if !is_privileged("changed code") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "changed").unwrap();
    let other = copy_of(Program::Lifecycle, folder.path(), "other").unwrap();
    let (changed, same_file, other) =
        (Target::start(&path).unwrap(), Target::start(&path).unwrap(), Target::start(&other).unwrap());
    let offsets = probes(&path).unwrap();
    // The start of a request: this one is past it, and there is no other.
    let site = offsets[0];
    let address = address_in(changed.pid(), site).unwrap();
    assert_eq!(changed.get(&format!("/patch?address={address:x}")).unwrap(), 200);
    assert_eq!(code_at(changed.pid(), &[site]).unwrap(), [0x90]);
    let agent = Agent::start(["--exe", &format!("{}/*", text(folder.path()))], &[]).unwrap();
    agent.watches(other.pid()).unwrap();
    agent.says_times("was changed after loading", 2).unwrap();
    assert_eq!(other.get("/other").unwrap(), 200);
    agent.span("/other").unwrap();
    // A breakpoint for the sake of one would act on the other.
    assert_eq!(code_at(changed.pid(), &[site]).unwrap(), [0x90]);
    assert!(!code_at(same_file.pid(), &offsets).unwrap().contains(&BREAKPOINT));
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/other"]);
    let refusals: Vec<_> = outcome.messages.lines().filter(|line| line.starts_with("not watching")).collect();
    assert_eq!(refusals.len(), 2, "{}", outcome.messages);
    assert!(refusals.iter().all(|line| line.contains(&format!("process {} has other code", changed.pid()))));
}

#[test]
fn the_breakpoints_of_another_agent_are_no_changed_code() {
    if !is_privileged("two agents") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let target = Target::start(&path).unwrap();
    let first = watching(&path);
    first.watches(target.pid()).unwrap();
    let second = watching(&path);
    second.watches(target.pid()).unwrap();
    assert_eq!(target.get("/both").unwrap(), 200);
    first.span("/both").unwrap();
    second.span("/both").unwrap();
    assert_eq!(first.stop().unwrap().paths(), ["/both"]);
    assert_eq!(target.get("/second").unwrap(), 200);
    second.span("/second").unwrap();
    assert_eq!(second.stop().unwrap().paths(), ["/both", "/second"]);
}

#[test]
fn nothing_stays_attached_when_the_agent_ends_or_is_killed() {
    if !is_privileged("detaching") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let targets: Vec<_> = (0..8)
        .map(|number| {
            let path = copy_of(Program::Lifecycle, folder.path(), &format!("server-{number}")).unwrap();
            Target::start(&path).unwrap()
        })
        .collect();
    let offsets = probes(&folder.path().join("server-0")).unwrap();
    let code = || targets.iter().map(|target| code_at(target.pid(), &offsets).unwrap()).collect::<Vec<_>>();
    let original = code();
    assert!(!original.concat().contains(&BREAKPOINT));
    for (method, within) in [("uprobe-multi", DETACHED), ("perf-event", DETACHED_PERF)] {
        for signal in [Signal::TERM, Signal::KILL] {
            let pattern = format!("{}/server-*", text(folder.path()));
            let agent = Agent::start(["--exe", &pattern, "--attach-method", method], &[]).unwrap();
            for target in &targets {
                agent.watches(target.pid()).unwrap();
            }
            let attached = code();
            assert!(attached.concat().iter().all(|byte| *byte == BREAKPOINT), "{method}: {attached:?}");
            let asked = Instant::now();
            agent.signal(signal);
            wait_within(within, "the original code", || (code() == original).then_some(())).unwrap();
            println!("{method}, {signal:?}: 8 binaries detached after {:?}", asked.elapsed());
            agent.wait().unwrap();
        }
    }
    for target in &targets {
        assert_eq!(target.get("/after").unwrap(), 200);
    }
}

#[test]
fn four_capabilities_are_enough() {
    if !is_privileged("giving most capabilities up") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let program = folder.path().join("lightfoot");
    fs::copy(agent(), &program).unwrap();
    let target = Target::start(&path).unwrap();
    target.address().unwrap();
    let start = |capabilities: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]).arg(&program);
        command.args(["run", "--format", "json", "--pid", &target.pid().to_string()]);
        Agent::spawn(command, &[]).unwrap()
    };
    let agent = start("-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search");
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/four").unwrap(), 200);
    assert_eq!(agent.span("/four").unwrap().text("service.name"), "lifecycle");
    agent.stop().unwrap();
    // One less: it is said at once, and of the process too.
    let agent = start("-all,+bpf,+perfmon,+sys_ptrace");
    agent.says("without CAP_DAC_READ_SEARCH the processes of other users").unwrap();
    agent.says(&format!("not watching {} (process {})", text(&path), target.pid())).unwrap();
    agent.stop().unwrap();
}

#[test]
fn a_closed_output_ends_the_agent() {
    if !is_privileged("a closed output") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of(Program::Lifecycle, folder.path(), "server").unwrap();
    let target = Target::start(&path).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(agent());
    command
        .args(["run", "--format", "json", "--exe", text(&path)])
        .stdout(writer.as_fd().try_clone_to_owned().unwrap());
    let mut agent = command.spawn().unwrap();
    drop((reader, writer, command));
    let ended = wait_for("its end", || {
        let _ = target.get("/into/the/void");
        agent.try_wait().unwrap()
    });
    let _ = agent.kill();
    assert!(ended.unwrap().success());
}
