//! What becomes of a program whose process dies soon after probes were placed.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::thread;

use lightfoot::watch::TRIAL;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::code::{BREAKPOINT, code_at, probes};
use lightfoot_tests::live::{Agent, Folder, Target, text, wait_for};
use rustix::process::Signal;

const SAID: &str = "died soon after probes were placed: its program is left alone for a while";

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
