//! Where the kernel lets no program write, that is said once, and all else goes on.

use std::process::Command;

use lightfoot::quirks::Release;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::agent::Said;
use lightfoot_tests::live::{
    Agent, DOCUMENTED, Driven, Folder, Outcome, Watched, as_nobody, is_privileged, lightfoot, lockdown,
    with_securityfs,
};

use super::wire::Wire;

/// What is said where nothing may be written.
const REFUSED: &str = "trace contexts are not passed on to the services that are called";

/// Whether the kernel has refused, which is where it is in lockdown and nowhere else.
pub(crate) fn is_refused(outcome: &Outcome) -> bool {
    let refused = Said::lines(&outcome.messages).filter(|said| said.message == REFUSED).count();
    let is_locked_down = lockdown().unwrap() != "none";
    assert_eq!(refused, usize::from(is_locked_down), "{}", outcome.messages);
    is_locked_down
}

#[test]
fn where_nothing_may_be_written_all_else_goes_on() {
    let wire = Wire::start();
    let address = wire.address;
    let watched =
        Watched::start_with(Program::Propagation, 26, Mode::Plain, &["--propagate"], |_| Ok(())).unwrap();
    let Some(mut watched) = watched else { return };
    watched.program.ask(&format!("run get {address}")).unwrap();
    let messages = wire.take();
    let (_, outcome) = watched.end().unwrap();
    assert_eq!(outcome.spans.len(), 1, "{}", outcome.messages);
    let has_header = String::from_utf8_lossy(&messages[0]).contains("traceparent");
    assert_eq!(has_header, !is_refused(&outcome), "{}", outcome.messages);
    assert_eq!(outcome.count("propagated"), u64::from(has_header), "{:?}", outcome.counts);
}

/// A program, and what an agent by this command says that is asked to write to it; the program is watched all the same.
fn said_by(mut agent: Command) -> String {
    let build = Build::here(Program::Propagation, GoVersion::of_minor(26).unwrap(), Mode::Plain);
    let mut program = Driven::start(&build.path().unwrap()).unwrap();
    let wire = Wire::start();
    agent.args(["run", "--format", "otlp-json", "--propagate", "--pid", &program.pid().to_string()]);
    let agent = Agent::spawn(agent, &[]).unwrap();
    agent.watches(program.pid()).unwrap();
    program.ask(&format!("run get {}", wire.address)).unwrap();
    agent.wait_for_spans(1, |_| true).unwrap();
    assert!(!String::from_utf8_lossy(&wire.take()[0]).contains("traceparent"));
    agent.stop().unwrap().messages
}

#[test]
fn a_lockdown_that_can_be_seen_is_named() {
    if !is_privileged("lockdown") {
        return;
    }
    let lockdown = lockdown().unwrap();
    if lockdown == "none" {
        println!("skipped: this kernel is not in lockdown");
        return;
    }
    let said = said_by(with_securityfs(lightfoot()));
    let reason =
        format!("this kernel is in lockdown ({lockdown}), which lets no program write to other processes");
    assert!(said.contains(&format!("{REFUSED}  reason=\"{reason}\"")), "{said}");
}

#[test]
fn without_the_right_to_write_that_is_said() {
    let Some(folder) = Folder::for_test("--propagate without CAP_SYS_ADMIN") else { return };
    if Release::running().is_none_or(|release| release < Release(6, 6)) {
        println!("skipped: perf events may take CAP_SYS_ADMIN");
        return;
    }
    let agent = as_nobody(DOCUMENTED, folder.copy(&lightfoot(), "lightfoot").unwrap());
    let said = said_by(agent);
    let reason = "to write to other processes takes CAP_SYS_ADMIN";
    assert!(said.contains(&format!("{REFUSED}  reason=\"{reason}\"")), "{said}");
}

#[test]
fn nothing_is_written_unless_it_is_asked_for() {
    let wire = Wire::start();
    let address = wire.address;
    let Some(mut watched) = Watched::start(Program::Propagation, 26, Mode::Plain).unwrap() else { return };
    watched.program.ask(&format!("run get {address}")).unwrap();
    let (_, outcome) = watched.end().unwrap();
    assert_eq!(outcome.spans.len(), 1, "{}", outcome.messages);
    assert!(!String::from_utf8_lossy(&wire.take()[0]).contains("traceparent"));
    assert!(outcome.counts.keys().all(|name| !name.starts_with("propagat")), "{:?}", outcome.counts);
}
