//! What becomes of a program whose process dies soon after probes were placed.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::thread;

use lightfoot::watch::TRIAL;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::code::{BREAKPOINT, code_at, probes};
use lightfoot_tests::live::{
    Agent, Driven, Folder, Overlays, Said, Server, Target, binary, skip, text, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};

const SAID: &str = "died soon after probes were placed: its program is left alone for a while";
/// What is said of further processes of such a program, by an agent that says everything.
const LEFT_ALONE: &str = "not watching this one either";

/// Waits until the agent has said that of a process.
fn says_of(agent: &Agent, message: &str, pid: u32) {
    let of = format!("pid={pid} ");
    let has_said = || {
        let messages = agent.messages();
        let mut lines = Said::lines(&messages);
        lines.any(|said| said.message == message && said.fields.contains(&of)).then_some(())
    };
    wait_for(&format!("{message}: {pid}"), has_said).unwrap();
}

/// Ends a target by that signal, for which somebody waits at once, as a supervisor does.
fn end(mut target: Target, signal: Signal) {
    target.signal(signal);
    target.wait().unwrap();
}

#[test]
fn a_program_that_crashes_soon_after_is_left_alone() {
    let Some(folder) = Folder::for_test("a program that crashes") else { return };
    let [crashing, ending, steady] =
        ["crashing", "ending", "steady"].map(|name| folder.copy_of(Program::Lifecycle, name).unwrap());
    let agent = Agent::start(["--exe", &format!("{}/*", text(folder.path()))], &[]).unwrap();
    let start = |path| Target::start(path).unwrap();
    let watched = |path| {
        let target = start(path);
        agent.watches(target.pid()).unwrap();
        target
    };
    // Go's runtime turns it into a crash report and exit code 2.
    let (first, beside) = (watched(&crashing), watched(&crashing));
    let sites = probes(&crashing).unwrap();
    let has_probes = || code_at(beside.pid(), &sites).unwrap().contains(&BREAKPOINT);
    assert!(has_probes());
    let pid = first.pid();
    end(first, Signal::SEGV);
    agent.says(SAID).unwrap();
    assert!(agent.messages().contains(&format!("pid={pid} death=\"exit code 2")), "{}", agent.messages());
    // The other process goes on, without probes.
    wait_for("code without probes", || (!has_probes()).then_some(())).unwrap();
    assert_eq!(beside.get("/beside").unwrap(), 200);
    let again = start(&crashing);
    assert_eq!(again.get("/again").unwrap(), 200);
    // Whoever is told to end, or was watched for long enough, did not die of probes.
    end(watched(&ending), Signal::TERM);
    end(watched(&ending), Signal::KILL);
    let long = watched(&steady);
    thread::sleep(TRIAL);
    end(long, Signal::SEGV);
    for path in [&ending, &steady] {
        assert_eq!(watched(path).get("/watched").unwrap(), 200);
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.messages.matches(SAID).count(), 1, "{}", outcome.messages);
    // It is not said again.
    assert!(!outcome.messages.contains(&format!("pid={} ", again.pid())), "{}", outcome.messages);
    assert_eq!((outcome.count("programs_suspended"), outcome.paths()), (1, vec!["/watched", "/watched"]));
}

#[test]
fn a_program_that_crashes_is_left_alone_whichever_mount_shows_its_file() {
    let Some(folder) = Folder::for_test("a program that crashes, in overlay mounts") else { return };
    let overlays = Overlays::of(folder).unwrap();
    let sites = probes(&overlays.file()).unwrap();
    let has_probes = |target: &Target| code_at(target.pid(), &sites).unwrap().contains(&BREAKPOINT);
    let inside = |target: &Target, what: &str| format!("/proc/{}/{what}", target.pid());
    let device = |target: &Target| fs::metadata(inside(target, "exe")).unwrap().dev();
    let first = overlays.start("first").unwrap();
    if first.address().is_err() {
        return skip("a program that crashes, in overlay mounts", "this kernel or file system has none");
    }
    let agent = Agent::start(["--exe", &overlays.pattern(), "--log-level", "debug"], &[]).unwrap();
    agent.watches(first.pid()).unwrap();
    let beside = overlays.start("beside").unwrap();
    says_of(&agent, "watching", beside.pid());
    assert!(has_probes(&beside));
    let devices = [device(&first), device(&beside)];
    // Its mount outlives it, so that no other one gets its device.
    let _mount = File::open(inside(&first, "ns/mnt")).unwrap();
    first.signal(Signal::SEGV);
    agent.says(SAID).unwrap();
    let is_left_alone = |target: &Target| {
        says_of(&agent, LEFT_ALONE, target.pid());
        assert_eq!(target.get("/alone").unwrap(), 200);
        wait_for("code without probes", || (!has_probes(target)).then_some(())).unwrap();
    };
    // At the next sweep.
    is_left_alone(&beside);
    // As a container that is started again.
    let again = overlays.start("again").unwrap();
    is_left_alone(&again);
    assert!(!devices.contains(&device(&again)) && devices[0] != devices[1]);
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.count("programs_suspended"), 1, "{}", outcome.messages);
    assert!(outcome.paths().is_empty(), "{:?}", outcome.paths());
}

#[test]
fn a_program_is_on_trial_anew_with_probes_that_are_placed_later() {
    let Some(folder) = Folder::for_test("probes that are placed later") else { return };
    let path = folder.path().join("program");
    let mut program = Driven::start_in(folder, &binary(Program::Clients).unwrap()).unwrap();
    let server = Server::start(&binary(Program::Truth).unwrap()).unwrap();
    let arguments = ["--exe", text(&path), "--callers-settle", "0", "--log-level", "debug"];
    let agent = Agent::start(arguments, &[]).unwrap();
    agent.watches(program.pid()).unwrap();
    // What was placed by then has passed.
    thread::sleep(TRIAL);
    // From a place that is probed only once it is known.
    program.ask(&format!("call http://{} 1 wrapped", server.address)).unwrap();
    agent.says("change=\"probed: behind the call").unwrap();
    let pid = Pid::from_raw(program.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::SEGV).unwrap();
    agent.says(SAID).unwrap();
    let again = program.twin().unwrap();
    says_of(&agent, LEFT_ALONE, again.pid());
    assert_eq!(agent.stop().unwrap().count("programs_suspended"), 1);
}
