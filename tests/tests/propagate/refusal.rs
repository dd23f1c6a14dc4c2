//! Where the kernel lets no program write, that is said once, and all else goes on.

use std::fs;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::agent::Said;
use lightfoot_tests::live::{Outcome, Watched};

use super::wire::Wire;

/// What is said where nothing may be written.
const REFUSED: &str = "trace contexts are not passed on to the services that are called";

/// Whether the kernel has refused, where it may.
pub(crate) fn is_refused(outcome: &Outcome) -> bool {
    let refused = Said::lines(&outcome.messages).filter(|said| said.message == REFUSED).count();
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    assert!(refused <= 1, "{}", outcome.messages);
    assert!(refused == 0 || !lockdown.contains("[none]"), "{}", outcome.messages);
    refused == 1
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
