//! What a watched gRPC call costs its server, and its client.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Driven, Folder, binary, processor_time};

use crate::{ROUNDS, median};

/// Calls of each in a round, one after the other over one connection.
const CALLS: u32 = 10_000;
/// The callers of clients are known after so long (`watch::CALLERS_SETTLE`), with some time to place what they need.
const SETTLE: Duration = Duration::from_secs(8);

/// Microseconds that a span is to add at most.
const TARGET: f64 = 7.0;

/// Copies of one program in turns: as servers of a client that nobody watches, and as clients of such a server; each with and
/// without an agent that records all. `None` where nothing can be watched.
pub(crate) fn table(lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
    if Folder::for_test("the cost of a gRPC call").is_none() {
        return Ok(None);
    }
    // Each is a copy of its own.
    let binary = binary(Program::Rpc)?;
    let mut other = Driven::start(&binary)?;
    let mut unwatched = [Driven::start(&binary)?, Driven::start(&binary)?];
    let mut watched = [Driven::start(&binary)?, Driven::start(&binary)?];
    let mut command = Command::new(lightfoot);
    command.arg("run");
    for program in &watched {
        command.args(["--pid", &program.pid().to_string()]);
    }
    let agent = Agent::spawn_into(Stdio::null(), command, &[("OTEL_TRACES_EXPORTER", "none")])?;
    for program in &watched {
        agent.watches(program.pid())?;
    }
    let [_, client] = &mut watched;
    call(client, &other, 10)?;
    thread::sleep(SETTLE);
    let mut costs = [const { (Vec::new(), Vec::new()) }; 2];
    // The first round warms up.
    for round in 0..=ROUNDS {
        for ([server, client], (as_server, as_client)) in
            [&mut unwatched, &mut watched].into_iter().zip(&mut costs)
        {
            let served = cost(server.pid(), || call(&mut other, server, CALLS))?;
            let made = cost(client.pid(), || call(client, &other, CALLS))?;
            if round > 0 {
                as_server.push(served);
                as_client.push(made);
            }
        }
    }
    let outcome = agent.stop()?;
    let all = 2 * (ROUNDS as u64 + 1) * u64::from(CALLS) + 10;
    if outcome.count("ended") != all {
        return Err(format!("not what was to be measured: {}", outcome.messages).into());
    }
    let costs = costs.map(|(server, client)| [server, client].map(|costs| median(costs, |cost| *cost)));
    let [[server, client], [watched_server, watched_client]] = costs;
    let mut table = format!(
        "Processor time of a unary call, one after the other over one connection, medians of {ROUNDS} rounds in turns.\n\n\
         | | unwatched, us | recorded, us | added, us |\n|---|---|---|---|\n"
    );
    for (name, unwatched, watched) in
        [("its server's", server, watched_server), ("its client's", client, watched_client)]
    {
        writeln!(table, "| {name} | {unwatched:.1} | {watched:.1} | {:.1} |", watched - unwatched)?;
    }
    let is_met = watched_server - server < TARGET && watched_client - client < TARGET;
    let verdict = if is_met { "met" } else { "**not met**" };
    writeln!(
        table,
        "\nAll {all} calls were recorded. Target: under {TARGET} us a span on either side ({verdict})."
    )?;
    Ok(Some(table))
}

/// Microseconds of processor time that a process takes for each call.
fn cost(pid: u32, calls: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let before = processor_time(pid)?;
    calls()?;
    let spent = processor_time(pid)?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / f64::from(CALLS))
}

fn call(from: &mut Driven, to: &Driven, calls: u32) -> Result<(), Box<dyn Error>> {
    let address = to.url("grpc").ok_or("it serves nothing")?;
    from.ask(&format!("call {address} {calls} unary"))?;
    Ok(())
}
