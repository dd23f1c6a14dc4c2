//! What an agent does while the clients that it watches do nothing.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lightfoot_tests::go::{Build, Mode, Program};
use lightfoot_tests::live::{Server, Watched};

const IDLE: Duration = Duration::from_secs(5);
/// A look at processes each second, a sweep now and then, and what another process of the host does; looking for callers every 20 ms
/// would take 250.
const MOST: u64 = 50;

/// How often the thread that watches has waited for something.
fn waits(agent: u32) -> u64 {
    let mut threads =
        fs::read_dir(format!("/proc/{agent}/task")).unwrap().map(|thread| thread.unwrap().path());
    let watches = |thread: &PathBuf| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim_end() == "watch")
    };
    let thread = threads.find(watches).unwrap();
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// New callers are told of: one that comes late is learned at once, and nobody looks for any before.
#[test]
fn nobody_looks_for_callers_where_none_are_new() {
    let arguments = ["--callers-settle", "0", "--log-level", "debug"];
    let watched = Watched::start_with(Program::Clients, 26, Mode::Plain, &arguments, |_| Ok(())).unwrap();
    let Some(mut watched) = watched else { return };
    let truth = Build { program: Program::Truth, ..watched.build };
    let server = Server::start(&truth.path().unwrap()).unwrap();
    let call = |watched: &mut Watched, kind: &str| {
        watched.program.ask(&format!("call http://{} 10 {kind}", server.address)).unwrap();
    };
    let assert_idle = |watched: &Watched, when: &str| {
        // What was begun before is over by then; and then nothing happens, for that is what is looked at.
        thread::sleep(Duration::from_secs(1));
        let before = waits(watched.agent.pid());
        thread::sleep(IDLE);
        let waits = waits(watched.agent.pid()) - before;
        assert!(waits < MOST, "{when}: {waits}");
    };
    assert_idle(&watched, "before the first call");
    call(&mut watched, "client");
    watched.agent.says("end behind the call").unwrap();
    assert_idle(&watched, "after calls");
    let learned = watched.agent.messages().matches("end behind the call").count();
    call(&mut watched, "wrapped");
    watched.agent.says_times("end behind the call", learned + 1).unwrap();
    assert_idle(&watched, "after a late caller");
    watched.end().unwrap();
}
