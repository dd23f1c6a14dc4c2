//! What systemd is told that has started an agent.
//!
//! Needs root and a kernel that attaches probes; elsewhere the test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::os::unix::net::UnixDatagram;

use lightfoot_tests::live::{Agent, Folder, PATIENCE, Target, slowness, text, wait_for};
use rustix::process::Signal;

/// What it is told next.
fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned()
}

#[test]
fn it_hears_of_the_start_of_life_and_of_the_end() {
    let Some(folder) = Folder::for_test("what a supervisor hears") else { return };
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE * slowness())).unwrap();
    let server = folder.server().unwrap();
    let target = Target::start(&server).unwrap();
    target.address().unwrap();
    // A sixth of a second between two signs of life.
    let variables = [("NOTIFY_SOCKET", text(&path)), ("WATCHDOG_USEC", "500000")];
    let agent = Agent::start(["--exe", text(&server)], &variables).unwrap();
    // Until all have been looked at, it asks for more time.
    let after_the_start = || {
        let said = told(&socket);
        (!said.starts_with("EXTEND_TIMEOUT_USEC=30000000\n")).then_some(said)
    };
    let first = wait_for("something else", after_the_start).unwrap();
    assert_eq!(first, "READY=1\nSTATUS=watching 1 processes\n");
    agent.watches(target.pid()).unwrap();
    while told(&socket) != "WATCHDOG=1\nSTATUS=watching 1 processes\n" {}
    drop(target);
    while told(&socket) != "WATCHDOG=1\nSTATUS=watching 0 processes\n" {}
    agent.signal(Signal::TERM);
    while told(&socket) != "STOPPING=1\n" {}
    agent.wait().unwrap();
}
