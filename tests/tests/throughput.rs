//! What the agent keeps up with. `make bench` measures it; here the slack is large enough for a busy machine and a build that
//! is not optimised. Alone in its binary: the machine should do nothing else.

use std::process::{Command, Stdio};
use std::time::Duration;

use lightfoot_tests::live::{Agent, Client, Folder, Target, first_thread_time, lightfoot};
use rustix::process::Signal;

/// Requests while the agent is held up; the ring has room for so many records.
const HELD_UP: u32 = 8_000;
/// What a core has for a span at 300,000 a second.
const PROMISED: Duration = Duration::from_nanos(3_333);
const SLACK: u32 = 10;

#[test]
fn what_comes_while_the_agent_is_held_up_waits_in_the_ring_and_is_read_at_once() {
    let Some(folder) = Folder::for_test("the throughput of an agent") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let mut command = Command::new(lightfoot());
    command.args(["run", "--pid", &target.pid().to_string()]);
    let agent = Agent::spawn_into(Stdio::null(), command, &[("OTEL_TRACES_EXPORTER", "none")]).unwrap();
    agent.watches(target.pid()).unwrap();

    agent.signal(Signal::STOP);
    let mut client = Client::tcp(target.address().unwrap());
    for _ in 0..HELD_UP {
        assert_eq!(client.status("/held-up", "User-Agent: a-usual-client/1.0 (linux)\r\n").unwrap(), 200);
    }
    let before = first_thread_time(agent.pid()).unwrap();
    agent.signal(Signal::CONT);
    agent.counts_to("spans_discarded", HELD_UP.into()).unwrap();
    let took = first_thread_time(agent.pid()).unwrap().saturating_sub(before);
    println!("{HELD_UP} spans, {took:?} of one core: {:?} each", took / HELD_UP);
    let outcome = agent.stop().unwrap();
    assert_eq!((outcome.count("ended"), outcome.count("ring_full")), (HELD_UP.into(), 0));
    assert!(took < PROMISED * HELD_UP * SLACK, "{took:?}");
}
