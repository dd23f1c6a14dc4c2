//! With which rights, under which settings of the kernel and within how much memory an agent works.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightfoot::capabilities::PURPOSES;
use lightfoot::memory_limit::RECOMMENDED;
use lightfoot::quirks::{Release, VERIFIER_MEMORY};
use lightfoot::seccomp::REFUSED;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{
    Agent, Cgroup, Crowd, DOCUMENTED, Driven, Folder, Target, as_nobody, binary, is_privileged, lightfoot,
    lockdown, text, wait_for, with_securityfs,
};

const MIB: u64 = 1 << 20;

/// Root that can never get more than these capabilities.
fn as_root(capabilities: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps", capabilities, "--bounding-set", capabilities]).arg(program);
    command
}

/// A server, and the agent's program where every user may run it.
struct Stage {
    target: Target,
    program: PathBuf,
    _folder: Folder,
}

impl Stage {
    fn set(test: &str) -> Option<Self> {
        let folder = Folder::for_test(test)?;
        let program = folder.copy(&lightfoot(), "lightfoot").unwrap();
        let target = Target::start(&folder.server().unwrap()).unwrap();
        target.address().unwrap();
        Some(Self { target, program, _folder: folder })
    }

    /// Has an agent watch the server, and a request have its span.
    fn serves(&self, mut agent: Command, path: &str) {
        agent.args(["run", "--format", "otlp-json", "--pid", &self.target.pid().to_string()]);
        let agent = Agent::spawn(agent, &[]).unwrap();
        agent.watches(self.target.pid()).unwrap();
        assert_eq!(self.target.get(path).unwrap(), 200);
        agent.span(path).unwrap();
        let outcome = agent.stop().unwrap();
        assert_eq!(outcome.paths(), [path]);
        assert!(!outcome.messages.contains("missing="), "{}", outcome.messages);
    }
}

#[test]
fn the_documented_capabilities_are_enough_for_root_and_for_a_user_of_no_name() {
    let Some(stage) = Stage::set("the documented capabilities") else { return };
    stage.serves(as_root(DOCUMENTED, &stage.program), "/root");
    stage.serves(as_nobody(DOCUMENTED, &stage.program), "/nobody");
}

/// As docs/privileges.md says: without one of the first two there is nothing, without the others nothing of other users.
#[test]
fn what_is_lost_without_each_is_what_is_documented() {
    let Some(stage) = Stage::set("capabilities that are missing") else { return };
    let without = |capability: &str| DOCUMENTED.replace(&format!(",+{capability}"), "");
    for (capability, name) in [("bpf", "CAP_BPF"), ("perfmon", "CAP_PERFMON")] {
        for mut command in
            [as_root(&without(capability), lightfoot()), as_nobody(&without(capability), &stage.program)]
        {
            let output = command.args(["run", "--pid", &stage.target.pid().to_string()]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
            assert!(said.contains(&format!("cannot watch anything without {name}: ")), "{said}");
        }
    }
    let server = fs::read_link(format!("/proc/{}/exe", stage.target.pid())).unwrap();
    let own = Target::spawn(&mut as_nobody("-all", &server)).unwrap();
    for (capability, name) in [("sys_ptrace", "CAP_SYS_PTRACE"), ("dac_read_search", "CAP_DAC_READ_SEARCH")] {
        let start = |pid: u32| {
            let mut agent = as_nobody(&without(capability), &stage.program);
            agent.args(["run", "--format", "otlp-json", "--pid", &pid.to_string()]);
            let agent = Agent::spawn(agent, &[]).unwrap();
            agent
                .says(&format!("missing={name} lost=\"the processes of other users cannot be watched\""))
                .unwrap();
            agent
        };
        let agent = start(own.pid());
        agent.watches(own.pid()).unwrap();
        let path = format!("/without-{capability}");
        assert_eq!(own.get(&path).unwrap(), 200);
        agent.span(&path).unwrap();
        agent.stop().unwrap();

        let pid = stage.target.pid();
        let agent = start(pid);
        if capability == "sys_ptrace" {
            let outcome = agent.wait().unwrap();
            let expected = format!(
                "lightfoot: --pid {pid}: its program cannot be looked at (it takes CAP_SYS_PTRACE): "
            );
            assert_eq!(outcome.status.code(), Some(1));
            assert!(outcome.messages.contains(&expected), "{}", outcome.messages);
        } else {
            agent
                .says(&format!(
                    "the memory of process {pid} cannot be read (it takes CAP_SYS_PTRACE, and {name} "
                ))
                .unwrap();
            assert_eq!(stage.target.get("/unseen").unwrap(), 200);
            assert!(agent.stop().unwrap().spans.is_empty());
        }
    }
}

/// Of each thread, by its name: what it may have, what it has, what it could get, what it passes on to what it executes, by itself and
/// in the ambient set, and whether it can get more by that.
fn rights_of_threads(pid: u32) -> Vec<(String, [u64; 6])> {
    let folders = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let threads = folders.filter_map(|folder| {
        // One of the pool's may end at any time: then there is nothing to read (ENOENT), or nobody it is about (ESRCH).
        let status = fs::read_to_string(folder.unwrap().path().join("status")).ok()?;
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
        let sets = ["CapPrm:", "CapEff:", "CapBnd:", "CapInh:", "CapAmb:", "NoNewPrivs:"];
        Some((value("Name:").to_owned(), sets.map(|key| u64::from_str_radix(value(key), 16).unwrap())))
    });
    threads.collect()
}

/// CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
const USUAL: u64 = 1 << 39 | 1 << 38 | 1 << 19 | 1 << 2;
const SYS_ADMIN: u64 = 1 << 21;
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;

#[test]
fn each_call_that_is_refused_is_documented() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/privileges.md")).unwrap();
    for (reason, calls) in REFUSED {
        let calls: Vec<_> = calls.iter().map(|(name, _)| format!("`{name}`")).collect();
        let row = format!("| {reason} | {} |", calls.join(", "));
        assert!(page.contains(&row), "{row} is not in docs/privileges.md");
    }
}

/// Has an agent watch a process of another user by that method, and its threads keep no more than this; what they could get by
/// executing anything is the same, unless it stays as it was.
fn keeps_only(folder: &Folder, mut agent: Command, method: &str, kept: u64, stays: Option<u64>) {
    let server = folder.server().unwrap();
    let [configuration, state] = ["config.yaml", "state"].map(|name| folder.path().join(name));
    let rule = |pattern: &str| {
        let text = format!("rules:\n- match: {{exe: {pattern}}}\n  action: watch\n");
        fs::write(&configuration, text).unwrap();
    };
    rule("/nowhere");
    agent.args(["run", "--format", "otlp-json", "--attach-method", method, "--state-dir"]);
    agent.args([&state, Path::new("--config"), &configuration]);
    let agent = Agent::spawn(agent, &[]).unwrap();
    let threads = wait_for("threads", || {
        let threads = rights_of_threads(agent.pid());
        let has = |name| threads.iter().any(|(own, _)| own == name);
        let are_there = ["watch", "analyse", "printer", "log", "status"].into_iter().all(has);
        // It is the last step of each.
        (are_there && threads.iter().all(|(_, [.., no_new_privs])| *no_new_privs == 1)).then_some(())
    });
    // The first one that has another right, or nothing.
    let wrong = |threads: Vec<(String, [u64; 6])>| {
        assert_eq!(threads.iter().any(|(name, _)| name == "closer"), method != "uprobe-multi");
        threads.into_iter().find(|(name, sets)| {
            let (own, could_get) = match name.as_str() {
                "log" | "printer" => (0, 0),
                // It begins when nobody may make the last one smaller any more.
                "status" => (0, kept),
                "closer" => (DAC_OVERRIDE, DAC_OVERRIDE),
                "tokio-rt-worker" => (DAC_READ_SEARCH, DAC_READ_SEARCH),
                _ => (kept, kept),
            };
            *sets != [own, own, stays.unwrap_or(could_get), 0, 0, 1]
        })
    };
    // A thread that begins has the rights of the one that it comes from until it gives them up.
    let check = || {
        let mut last = None;
        let settled = wait_for("rights", || {
            last = wrong(rights_of_threads(agent.pid()));
            last.is_none().then_some(())
        });
        assert!(settled.is_ok(), "{method}: {last:x?}");
    };
    threads.unwrap();
    check();
    let filtered = wait_for("filters of system calls", || {
        let modes = fs::read_dir(format!("/proc/{}/task", agent.pid())).ok()?.flatten().map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(|mode| mode.trim().to_owned())
        });
        // SECCOMP_MODE_FILTER (include/uapi/linux/seccomp.h).
        modes.into_iter().all(|mode| mode.as_deref() == Some("2")).then_some(())
    });
    filtered.unwrap();
    rule(text(&server));
    agent.says("following the configuration anew").unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups"]).arg(&server);
    let target = Target::spawn(&mut command).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(target.get("/later").unwrap(), 200);
    agent.span("/later").unwrap();
    check();
    let outcome = agent.stop().unwrap();
    assert!(!outcome.messages.contains("cannot be given up"), "{}", outcome.messages);
    assert_eq!(fs::read_dir(state).unwrap().count(), 0, "the mark is taken away");
}

#[test]
fn root_keeps_in_each_thread_only_what_is_used() {
    for (method, kept) in [("uprobe-multi", USUAL), ("perf-event", USUAL | SYS_ADMIN)] {
        let Some(folder) = Folder::for_test("rights that are given up") else { return };
        keeps_only(&folder, Command::new(lightfoot()), method, kept, None);
    }
}

/// Without CAP_SETPCAP it cannot make the bounding set smaller, which is of no use to it.
#[test]
fn a_user_of_no_name_keeps_what_is_used_and_nothing_inheritable() {
    let Some(folder) = Folder::for_test("rights of a user that are given up") else { return };
    let program = folder.copy(&lightfoot(), "lightfoot").unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(65534), Some(65534)).unwrap();
    // One that it gets in vain.
    let agent = as_nobody(&format!("{DOCUMENTED},+net_raw"), program);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    keeps_only(&folder, agent, "uprobe-multi", USUAL, u64::from_str_radix(bounding.trim(), 16).ok());
}

/// It may do whatever it could without us: programs that are set-user-ID work.
#[test]
fn a_command_keeps_all_rights() {
    if !is_privileged("the rights of a command") {
        return;
    }
    let script = ["-E", "^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs):", "/proc/self/status"];
    let said =
        |command: &mut Command| String::from_utf8(command.args(script).output().unwrap().stdout).unwrap();
    let alone = said(&mut Command::new("grep"));
    assert_eq!(alone.lines().count(), 6);
    let watched = said(Command::new(lightfoot()).args(["run", "--", "grep"]));
    assert!(watched.contains(&alone), "{watched}\nand alone\n{alone}");
}

#[test]
fn what_each_is_for_is_told_with_whether_it_is_held() {
    if !is_privileged("capabilities that are told") {
        return;
    }
    let output = as_root(DOCUMENTED, lightfoot()).args(["privileges", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report.get("capabilities").and_then(serde_json::Value::as_array).unwrap();
    let held: Vec<_> = rows.iter().filter(|row| row.get("is_held").unwrap() == true).collect();
    let names: Vec<_> = held.iter().map(|row| row.get("name").unwrap().as_str().unwrap()).collect();
    assert_eq!(names, ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    assert_eq!((report.get("schema").unwrap().as_u64(), rows.len()), (Some(1), PURPOSES.len()));
}

/// A setting of the kernel, which is as it was once this is dropped.
struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    fn new(name: &str) -> Self {
        let path = Path::new("/proc/sys/kernel").join(name);
        let before = fs::read_to_string(&path).unwrap();
        Self { path, before }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.before);
    }
}

/// These bind whoever lacks CAP_PERFMON or CAP_BPF. Values of 3 and more mean something on Debian's kernels alone.
#[test]
fn settings_that_bind_others_do_not_bind_who_has_the_capabilities() {
    let Some(stage) = Stage::set("settings of the kernel") else { return };
    let paranoid = Setting::new("perf_event_paranoid");
    for value in ["2", "3"] {
        fs::write(&paranoid.path, value).unwrap();
        stage.serves(as_nobody(DOCUMENTED, &stage.program), &format!("/paranoid-{value}"));
    }
    drop(paranoid);
    // It is not set: 1 stays until the next start.
    let disabled = Setting::new("unprivileged_bpf_disabled");
    println!("unprivileged_bpf_disabled is {}", disabled.before.trim());
}

#[test]
fn lockdown_for_integrity_takes_nothing_away() {
    let Some(stage) = Stage::set("lockdown") else { return };
    let lockdown = lockdown().unwrap();
    if lockdown != "integrity" {
        println!("skipped: lockdown here is {lockdown:?}");
        return;
    }
    let report = with_securityfs(&stage.program).args(["doctor", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let checks = report.get("checks").and_then(serde_json::Value::as_array).unwrap();
    let of = |id| checks.iter().find(|check| check.get("id").unwrap() == id).unwrap();
    assert_eq!(of("lockdown").get("status").unwrap(), "good", "{report:#}");
    assert_eq!(of("lockdown").get("found").unwrap(), "lockdown is integrity");
    assert_eq!(of("uprobe_multi").get("status").unwrap(), "good", "{report:#}");
    stage.serves(with_securityfs(&stage.program), "/locked-down");
}

/// Before Linux 6.6, which has uprobe_multi. Newer kernels go through all that virtual machines do (tests/src/bin/vm).
#[test]
fn lockdown_for_confidentiality_is_refused_in_a_sentence_where_it_leaves_no_way() {
    if !is_privileged("lockdown for confidentiality") {
        return;
    }
    let (lockdown, release) = (lockdown().unwrap(), Release::running());
    if lockdown != "confidentiality" || release.is_none_or(|release| release >= Release(6, 6)) {
        println!("skipped: lockdown here is {lockdown:?}, Linux is {release:?}");
        return;
    }
    let output = Command::new(lightfoot()).arg("run").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("locked down for confidentiality"), "{said}");
}

/// What is recommended is enough for ten processes, programs of both families and some load.
#[test]
fn an_agent_works_within_the_recommended_memory() {
    if !is_privileged("an agent with little memory") {
        return;
    }
    let Some(cgroup) = Cgroup::limited(RECOMMENDED) else { return };
    let crowd = Crowd::start().unwrap();
    let mut command = cgroup.command(&lightfoot());
    command.args(["run", "--format", "otlp-json"]);
    command.args(crowd.pids().iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
    let agent = Agent::spawn(command, &[]).unwrap();
    for pid in crowd.pids() {
        agent.watches(pid).unwrap();
    }
    // An emulated machine takes minutes for so many.
    let each = if Extent::of_environment() == Extent::Least { 100 } else { 1000 };
    let sent = crowd.ask(each).unwrap();
    agent.wait_for_spans(usize::try_from(sent).unwrap(), |span| span.path() == "/asked").unwrap();
    println!("{:?} KiB at most", cgroup.peak());
    agent.stop().unwrap();
    assert_eq!(cgroup.kills(), 0);
}

/// With how many MiB it does not start, and with how many it does, as README.md says.
fn bounds() -> (&'static [u64], u64) {
    if VERIFIER_MEMORY.holds_on(Release::running()) { (&[8, 40, 80, 104], 108) } else { (&[8, 40, 48], 52) }
}

/// What is refused is what would not do: with little more than that all programs load, those of gRPC too.
#[test]
fn within_little_more_than_it_asks_for_it_loads_everything() {
    if !is_privileged("an agent with just enough memory") {
        return;
    }
    let Some(cgroup) = Cgroup::limited(bounds().1 * MIB) else { return };
    let program = Driven::start(&binary(Program::Rpc).unwrap()).unwrap();
    let mut command = cgroup.command(&lightfoot());
    command.args(["run", "--format", "otlp-json", "--pid", &program.pid().to_string()]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.watches(program.pid()).unwrap();
    println!("{:?} KiB at most", cgroup.peak());
    agent.stop().unwrap();
    assert_eq!(cgroup.kills(), 0);
}

/// Instead of being killed while it loads.
#[test]
fn within_too_little_memory_it_says_so_in_one_sentence() {
    let Some(stage) = Stage::set("an agent with too little memory") else { return };
    for &mib in bounds().0 {
        let Some(cgroup) = Cgroup::limited(mib * MIB) else { return };
        let mut command = cgroup.command(&stage.program);
        let output = command.args(["run", "--pid", &stage.target.pid().to_string()]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        println!("{mib} MiB: {said}");
        assert_eq!((output.status.code(), cgroup.kills()), (Some(1), 0), "{mib} MiB: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("this cgroup may use {mib} MiB of memory")), "{said}");
        assert!(said.contains("permit 160 MiB"), "{said}");
        if mib < 40 {
            // Unoptimised, it has no room in that even for itself.
            continue;
        }
        let report = cgroup.command(&stage.program).args(["doctor", "--json"]).output().unwrap();
        assert_eq!((report.status.code(), cgroup.kills()), (Some(3), 0), "{mib} MiB: {report:?}");
    }
}
