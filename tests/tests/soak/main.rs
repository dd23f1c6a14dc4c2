//! An agent that runs for long, while programs come and go and serve and call by HTTP and gRPC: what it takes does not grow, and
//! no span is lost that is not counted. `make soak` lets it run for an hour.
//!
//! Needs root and a kernel that attaches probes; elsewhere the test says why it does nothing, and fails where `CI` is
//! `true`. Alone in its program: it asks how much memory its own agent takes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

mod cost;
#[expect(dead_code, reason = "what the equation's tests ask of it")]
#[path = "../equation/load.rs"]
mod load;
mod round;

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::{Agent, Folder, Sink, lightfoot, text, wait_for};

use crate::cost::Cost;

/// The environment variable that says for how long, in seconds.
const VARIABLE: &str = "LIGHTFOOT_SOAK";
/// For how long otherwise: about a minute in which the agent gets what it will hold for good, and two in which it may not grow.
const USUAL: Duration = Duration::from_mins(3);

#[test]
fn it_takes_no_more_after_a_long_time_and_loses_nothing_in_silence() {
    let Some(folder) = Folder::for_test("an agent that runs for long") else { return };
    let duration = env::var(VARIABLE).map_or(USUAL, |value| Duration::from_secs(value.parse().unwrap()));
    let sink = Sink::start().unwrap();
    let mut command = Command::new(lightfoot());
    command.args(["run", "--protocol", "http/protobuf", "--endpoint", &sink.endpoint]);
    command.args(["--exe", &format!("{}/**", text(folder.path()))]).args(NO_CALLER_IS_LATE);
    // What it adds are links, and no span waits for one.
    command.arg("--join");
    let agent = Agent::spawn(command, &[]).unwrap();
    agent.says("nothing to watch").unwrap();

    let at_first = Cost::of(agent.pid()).unwrap();
    println!("{at_first:?}");
    let (started, mut happened, mut costs) = (Instant::now(), 0, Vec::new());
    while started.elapsed() < duration {
        happened += round::run(&agent, &folder, costs.len());
        let idle = || agent.counts().is_ok_and(|_| agent.messages().ends_with("watches 0 processes now\n"));
        wait_for("all to be left", || idle().then_some(())).unwrap();
        costs.push(Cost::of(agent.pid()).unwrap());
    }
    cost::assert_flat(&costs);
    assert!(costs.iter().all(|cost| cost.has_threads_of(&at_first)), "there are more threads");
    assert!(costs.iter().all(|cost| cost.has_sockets_of(&at_first)), "there are more sockets");
    // It keeps a file for some seconds after its last process.
    wait_for("all to be given back", || {
        Cost::of(agent.pid()).unwrap().is_given_back(&at_first).then_some(())
    })
    .unwrap();
    assert_eq!(cost::entries(agent.pid()).unwrap(), []);
    let outcome = agent.stop().unwrap();
    let lost: u64 = outcome.losses().iter().map(|(_, count)| count).sum();
    let rounds = costs.len();
    println!("{rounds} rounds, {happened} operations, {} exported, {lost} lost", sink.spans());
    println!("{:?}", outcome.losses());
    assert_eq!(happened, sink.spans() + lost, "{}", outcome.messages);
    // Requests are under way as programs end.
    assert!(lost <= happened / 1000, "{}", outcome.messages);
    assert!(outcome.count("joined") > 0, "{}", outcome.messages);
    assert_eq!(outcome.count("spans_exported"), sink.spans(), "{}", outcome.messages);
}
