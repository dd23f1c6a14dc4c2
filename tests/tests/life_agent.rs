//! What happens to the agent: it ends, is killed, has company, few rights, a namespace of its own.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.

use std::process::Command;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::code::{BREAKPOINT, code_at, probes};
use lightfoot_tests::live::target::addresses;
use lightfoot_tests::live::{Agent, Folder, Target, get, lightfoot, text, wait_for, wait_within};
use rustix::process::Signal;

/// Within which everything must be detached: two seconds, five times over for a machine whose processors others take (README.md).
const DETACHED: Duration = Duration::from_secs(10);
/// The kernel closes one perf event after the other, each in some 0.1 s: here there are two dozen.
const DETACHED_PERF: Duration = Duration::from_secs(25);
#[test]
fn an_agent_in_a_pid_namespace_watches_its_own_and_says_what_it_cannot() {
    let Some(folder) = Folder::for_test("an agent in a PID namespace") else { return };
    let beside = folder.copy_of(Program::Lifecycle, "beside").unwrap();
    let below = folder.copy_of(Program::Lifecycle, "below").unwrap();
    let script = format!(
        "{} & unshare --pid --fork --kill-child {} & exec {} run --format otlp-json --exe '{}/*'",
        text(&beside),
        text(&below),
        text(&lightfoot()),
        text(folder.path())
    );
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.says(&format!("not watching  path={} pid=", text(&below))).unwrap();
    agent.says("in a PID namespace below Lightfoot's own").unwrap();
    agent.says(&format!(" path={}\n", text(&beside))).unwrap();
    let addresses = wait_for("both servers", || {
        let addresses = addresses(&agent.other_output());
        (addresses.len() == 2).then_some(addresses)
    })
    .unwrap();
    wait_for("a span", || {
        for address in &addresses {
            get(*address, "/any").unwrap();
        }
        (agent.count_spans(|_| true) > 0).then_some(())
    })
    .unwrap();
    assert_eq!(agent.count_spans(|span| span.pid() >= 10), 0, "numbers of its own");
}

#[test]
fn the_breakpoints_of_another_agent_are_no_changed_code() {
    let Some(folder) = Folder::for_test("two agents") else { return };
    let path = folder.server().unwrap();
    // Each watches another process, and probes stand in the file of both.
    let [one, other] = [(); 2].map(|()| Target::start(&path).unwrap());
    let watching = |target: &Target| {
        let agent = Agent::start(["--pid", &target.pid().to_string()], &[]).unwrap();
        agent.watches(target.pid()).unwrap();
        agent
    };
    let (first, second) = (watching(&one), watching(&other));
    for (target, agent, request) in [(&one, &first, "/first"), (&other, &second, "/both")] {
        assert_eq!(target.get(request).unwrap(), 200);
        agent.span(request).unwrap();
    }
    assert_eq!(first.stop().unwrap().paths(), ["/first"]);
    assert_eq!(other.get("/second").unwrap(), 200);
    second.span("/second").unwrap();
    // As Ctrl-C does.
    second.signal(Signal::INT);
    let outcome = second.wait().unwrap();
    assert!(outcome.status.success());
    assert_eq!(outcome.paths(), ["/both", "/second"]);
}

#[test]
fn nothing_stays_attached_when_the_agent_ends_or_is_killed() {
    let Some(folder) = Folder::for_test("detaching") else { return };
    let targets: Vec<_> = (0..8)
        .map(|number| {
            let path = folder.copy_of(Program::Lifecycle, &format!("server-{number}")).unwrap();
            Target::start(&path).unwrap()
        })
        .collect();
    let offsets = probes(&folder.path().join("server-0")).unwrap();
    let code = || targets.iter().map(|target| code_at(target.pid(), &offsets).unwrap()).collect::<Vec<_>>();
    let original = code();
    assert!(!original.concat().contains(&BREAKPOINT));
    for (method, within) in
        [("uprobe-multi", DETACHED), ("perf-event", DETACHED_PERF), ("tracefs", DETACHED_PERF)]
    {
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
