//! Each way to place probes that older kernels need, with spans of several processes to show for it.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use aya::maps::{HashMap, MapData};
use lightfoot_probes_abi::Site;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::code::{address_in, probes};
use lightfoot_tests::live::target::addresses;
use lightfoot_tests::live::{
    Agent, Folder, Target, get, hash_map, is_privileged, lightfoot, text, wait_for, wait_within, watching,
    with_tracefs,
};
use rustix::process::Signal;

const METHODS: [&str; 4] = ["perf-event", "perf-event-by-address", "tracefs", "tracefs-by-address"];

/// Whoever starts with tracefs takes away what killed agents have left: nobody does while that is looked at.
static LEFT_BEHIND: RwLock<()> = RwLock::new(());

/// To be held while an agent starts.
fn starting() -> RwLockReadGuard<'static, ()> {
    LEFT_BEHIND.read().unwrap_or_else(PoisonError::into_inner)
}

/// A copy of the server in a folder, loaded wherever the kernel likes.
fn copy_of(folder: &Path, mode: Mode) -> PathBuf {
    let build = Build::here(Program::Lifecycle, GoVersion::of_minor(26).unwrap(), mode);
    let path = folder.join("server");
    fs::copy(build.path().unwrap(), &path).unwrap();
    path
}

/// What the agent has told its programs of addresses.
fn sites(agent: &Agent) -> BTreeSet<(u32, u64)> {
    let map: HashMap<MapData, Site, u64> = hash_map(agent.pid(), "SITES").unwrap();
    map.keys().map(|site| site.unwrap()).map(|site| (site.tgid, site.address)).collect()
}

#[test]
fn processes_of_one_file_at_different_addresses_are_told_apart() {
    if !is_privileged("processes of one file") {
        return;
    }
    for mode in [Mode::Pie, Mode::Plain] {
        let folder = tempfile::tempdir().unwrap();
        let path = copy_of(folder.path(), mode);
        let offsets = probes(&path).unwrap();
        for method in METHODS {
            let mut targets: Vec<_> = (0..3).map(|_| Target::start(&path).unwrap()).collect();
            let addresses: BTreeSet<_> = targets
                .iter()
                .map(|target| {
                    target.address().unwrap();
                    address_in(target.pid(), offsets[0]).unwrap()
                })
                .collect();
            assert_eq!(addresses.len(), if mode == Mode::Pie { 3 } else { 1 });
            let starting = starting();
            let agent =
                Agent::start(["--exe", path.to_str().unwrap(), "--attach-method", method], &[]).unwrap();
            for target in &targets {
                agent.watches(target.pid()).unwrap();
            }
            drop(starting);
            // One that comes later, and one that executes its own file again: elsewhere, if the kernel may choose.
            targets.push(Target::start(&path).unwrap());
            let newest = targets.last().unwrap();
            agent.watches(newest.pid()).unwrap();
            let first = &targets[0];
            let again = format!("/exec?path={}", path.display());
            assert!(get(first.address().unwrap(), &again).is_err(), "the request that does it has no end");
            agent.says_times(&watching(first.pid()), 2).unwrap();
            agent.counts().unwrap();
            for (number, target) in targets.iter().enumerate() {
                let path = format!("/{number}");
                let address = target.address_of(usize::from(number == 0)).unwrap();
                assert_eq!(get(address, &path).unwrap(), 200);
                assert_eq!(agent.span(&path).unwrap().pid(), u64::from(target.pid()));
            }
            if method.ends_with("by-address") {
                let known: BTreeSet<_> = targets
                    .iter()
                    .flat_map(|target| {
                        offsets
                            .iter()
                            .map(|offset| (target.pid(), address_in(target.pid(), *offset).unwrap()))
                    })
                    .collect();
                assert_eq!(sites(&agent), known);
                targets.truncate(1);
                let left = targets[0].pid();
                let is_one = || sites(&agent).iter().all(|(pid, _)| *pid == left).then_some(());
                wait_for("the others to be forgotten", is_one).unwrap();
                assert_eq!(sites(&agent).len(), offsets.len());
            }
            let outcome = agent.stop().unwrap();
            assert_eq!(outcome.paths(), ["/0", "/1", "/2", "/3"], "{method} {mode:?}");
            for loss in ["end_without_start", "unselected_process", "foreign_binary", "abandoned"] {
                assert_eq!(outcome.count(loss), 0, "{method} {mode:?}: {}", outcome.messages);
            }
        }
    }
}

#[test]
fn a_command_is_watched_from_its_start() {
    if !is_privileged("a command") {
        return;
    }
    for method in METHODS {
        let folder = tempfile::tempdir().unwrap();
        let path = copy_of(folder.path(), Mode::Pie);
        let starting = starting();
        let agent = Agent::start(["--attach-method", method, "--", text(&path)], &[]).unwrap();
        let address = wait_for("its address", || addresses(&agent.other_output()).first().copied());
        drop(starting);
        if method.ends_with("by-address") {
            // A request before these are known is not seen (docs/kernels.md, `quirk_no_cookies`).
            agent.says(" INFO watching ").unwrap();
        }
        assert_eq!(get(address.unwrap(), "/first").unwrap(), 200);
        agent.span("/first").unwrap();
        assert_eq!(agent.stop().unwrap().paths(), ["/first"], "{method}");
    }
}

/// The kernel takes 0.1 s for each. An agent that waited for that would answer before and after it only.
#[test]
fn an_agent_answers_while_probes_are_taken_away() {
    let Some(folder) = Folder::for_test("probes that are taken away") else { return };
    let pattern = folder.path().join("leaving-*");
    for method in ["perf-event-by-address", "tracefs"] {
        let starting = starting();
        let agent = Agent::start(["--exe", text(&pattern), "--attach-method", method], &[]).unwrap();
        let files = || fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
        let copies = (0..6).map(|number| folder.copy_of(Program::Lifecycle, &format!("leaving-{number}")));
        let paths: Vec<_> = copies.map(Result::unwrap).collect();
        let targets: Vec<_> = paths.iter().map(|path| Target::start(path).unwrap()).collect();
        for target in &targets {
            agent.watches(target.pid()).unwrap();
        }
        drop(starting);
        let with_probes = files();
        let without = with_probes - targets.len() * probes(&paths[0]).unwrap().len();
        drop(targets);
        let mut seen = BTreeSet::new();
        let are_gone = || {
            agent.counts().unwrap();
            seen.insert(files());
            seen.first().is_some_and(|least| *least <= without).then_some(())
        };
        // Ten seconds after the last process, and then 0.1 s for each where nobody else wants the processors (README.md).
        wait_within(Duration::from_secs(120), "all probes to be gone", are_gone).unwrap();
        // Each has a file.
        let between = seen.range(without + 1..with_probes).count();
        assert!(between > 1, "{method}: {seen:?} of {without} to {with_probes}");
        agent.stop().unwrap();
    }
}

/// Our events in the list of tracefs.
fn events() -> Vec<String> {
    let output = with_tracefs("cat").arg("/sys/kernel/tracing/uprobe_events").output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    list.lines().filter(|line| line.starts_with("p:lightfoot/agent_")).map(str::to_owned).collect()
}

/// Those that an agent has made.
fn events_of(agent: &Agent) -> Vec<String> {
    let prefix = format!("p:lightfoot/agent_{}_", agent.pid());
    events().into_iter().filter(|line| line.starts_with(&prefix)).collect()
}

#[test]
fn events_of_tracefs_go_with_their_agent_and_those_of_a_killed_one_at_the_next_start() {
    let Some(folder) = Folder::for_test("events of tracefs") else { return };
    let path = folder.server().unwrap();
    // A process for each: one is watched by one agent alone.
    let [target, other] = [(); 2].map(|()| Target::start(&path).unwrap());
    let start = |target: &Target| {
        let agent = Agent::start(["--pid", &target.pid().to_string(), "--attach-method", "tracefs"], &[]);
        let agent = agent.unwrap();
        agent.watches(target.pid()).unwrap();
        agent
    };
    let (stays, killed) = (start(&target), start(&other));
    let of_one = events_of(&stays);
    assert_eq!((of_one.len(), events_of(&killed).len()), (probes(&path).unwrap().len(), of_one.len()));
    let (pid, left) = (killed.pid(), events_of(&killed));
    let alone = LEFT_BEHIND.write().unwrap_or_else(PoisonError::into_inner);
    killed.signal(Signal::KILL);
    killed.wait().unwrap();
    let of_killed = |line: &String| line.contains(&format!("/agent_{pid}_"));
    assert_eq!(events().into_iter().filter(of_killed).collect::<Vec<_>>(), left, "the kernel keeps them");
    drop(alone);
    // The next one takes away what nobody uses, and nothing else.
    let next = start(&other);
    assert_eq!(events().into_iter().filter(of_killed).count(), 0);
    assert_eq!(events_of(&stays), of_one);
    for (target, agent) in [(&target, stays), (&other, next)] {
        assert_eq!(target.get("/seen").unwrap(), 200);
        agent.span("/seen").unwrap();
        let pid = agent.pid();
        assert_eq!(agent.stop().unwrap().paths(), ["/seen"]);
        assert!(!events().iter().any(|line| line.contains(&format!("/agent_{pid}_"))), "{:?}", events());
    }
}

#[test]
fn tracefs_takes_no_sys_admin_and_stands_in_for_perf_events_which_do() {
    let Some(folder) = Folder::for_test("tracefs without CAP_SYS_ADMIN") else { return };
    let _starting = starting();
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let (pid, set) = (target.pid().to_string(), "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search");
    // All but the one that works everywhere, in the order in which they are tried.
    let methods = METHODS.join(",");
    let arguments = ["run", "--format", "otlp-json", "--pid", &pid, "--attach-method", &methods];
    // Its list of events is a file of root's, who needs no capability to write it.
    let mut command = with_tracefs("/usr/bin/setpriv");
    command.args(["--inh-caps", set, "--bounding-set", set]).arg(lightfoot()).args(arguments);
    let agent = Agent::spawn(command, &[]).unwrap();
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if paranoid.trim().parse::<u32>().is_ok_and(|level| level >= 3) {
        // On Debian's kernels. `vm` starts one with another level, too.
        let outcome = agent.wait().unwrap();
        let said = "which leaves perf events, and so tracefs, to CAP_SYS_ADMIN";
        assert!(outcome.messages.contains(said), "{}", outcome.messages);
        assert_eq!(outcome.status.code(), Some(1), "{}", outcome.messages);
        return;
    }
    agent.watches(target.pid()).unwrap();
    // Some kernels let perf events do without.
    let events = events_of(&agent).len();
    assert!([0, probes(&path).unwrap().len()].contains(&events), "{events}");
    println!("without CAP_SYS_ADMIN {}", if events == 0 { "perf events work" } else { "tracefs stands in" });
    assert_eq!(target.get("/without").unwrap(), 200);
    agent.span("/without").unwrap();
    agent.stop().unwrap();
    // Nobody else may write that file without one more.
    let program = folder.copy(&lightfoot(), "lightfoot").unwrap();
    for (more, works) in [("", false), (",+dac_override", true)] {
        let set = format!("{set}{more}");
        let mut command = with_tracefs("/usr/bin/setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", &set, "--ambient-caps", &set]).arg(&program);
        command.args(["run", "--format", "otlp-json", "--pid", &pid, "--attach-method", "tracefs"]);
        let agent = Agent::spawn(command, &[]).unwrap();
        if works {
            agent.watches(target.pid()).unwrap();
            agent.stop().unwrap();
        } else {
            let outcome = agent.wait().unwrap();
            assert_eq!(outcome.status.code(), Some(1), "{}", outcome.messages);
            assert!(
                outcome.messages.contains("uprobe_events cannot be used: Permission"),
                "{}",
                outcome.messages
            );
        }
    }
    let mut command = Command::new("unshare");
    let hidden =
        "for f in /sys/kernel/tracing /sys/kernel/debug; do mount -t tmpfs none $f; done; exec \"$@\"";
    command.args(["--mount", "sh", "-c", hidden, "sh"]).arg(lightfoot());
    command.args(["run", "--pid", &pid, "--attach-method", "tracefs,tracefs-by-address"]);
    let outcome = Agent::spawn(command, &[]).unwrap().wait().unwrap();
    assert_eq!(outcome.status.code(), Some(1));
    assert!(outcome.messages.contains("tracefs is not mounted (mount -t tracefs"), "{}", outcome.messages);
}
