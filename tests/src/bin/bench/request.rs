//! What a watched request costs its server: one that is recorded, and one that the sampler leaves out.

use std::array;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Client, Folder, Target, processor_time};

use crate::{ROUNDS, median};

/// Connections, and requests over each in a round: about a second of the server's.
const CONNECTIONS: u32 = 8;
const EACH: u32 = 5_000;
pub(crate) const PER_ROUND: u32 = CONNECTIONS * EACH;
/// What a usual client sends.
const HEADERS: &str = "User-Agent: a-usual-client/1.0 (linux)\r\nAccept: text/html,application/json\r\n\
                       Accept-Encoding: gzip\r\nAccept-Language: en\r\nCookie: session=0123456789\r\n";

/// Three copies of one server in turns: watched by nobody, by an agent that records nothing, by one that records all.
/// `None` where nothing can be watched.
pub(crate) fn table(lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let Some(folder) = Folder::for_test("the cost of a request") else { return Ok(None) };
    let start = |name| -> Result<Target, Box<dyn Error>> {
        Ok(Target::start(&folder.copy_of(Program::Lifecycle, name)?)?)
    };
    let targets = [start("unwatched")?, start("unsampled")?, start("recorded")?];
    let [_, unsampled, recorded] = &targets;
    let watch = |target: &Target, sampler| -> Result<Agent, Box<dyn Error>> {
        let mut command = Command::new(lightfoot);
        command.args(["run", "--pid", &target.pid().to_string()]);
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_EXPORTER", "none")];
        let agent = Agent::spawn_into(Stdio::null(), command, &variables)?;
        agent.watches(target.pid())?;
        Ok(agent)
    };
    let agents = [watch(unsampled, "always_off")?, watch(recorded, "always_on")?];
    let mut costs: [Vec<f64>; 3] = array::from_fn(|_| Vec::new());
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (target, costs) in targets.iter().zip(&mut costs) {
            let before = processor_time(target.pid())?;
            load(target)?;
            let spent = processor_time(target.pid())?.saturating_sub(before);
            if round > 0 {
                costs.push(spent.as_secs_f64() * 1e6 / f64::from(PER_ROUND));
            }
        }
    }
    let [left_out, kept] = agents.map(Agent::stop);
    let (left_out, kept) = (left_out?, kept?);
    let all = (ROUNDS as u64 + 1) * u64::from(PER_ROUND);
    if left_out.count("unsampled") != all || left_out.count("ended") != 0 || kept.count("started") != all {
        return Err(format!("not what was to be measured: {}{}", left_out.messages, kept.messages).into());
    }
    let spreads = costs.each_ref().map(|costs| {
        let lowest = costs.iter().copied().fold(f64::INFINITY, f64::min);
        (lowest, costs.iter().copied().fold(0.0, f64::max))
    });
    let medians = costs.map(|costs| median(costs, |cost| *cost));
    let [unwatched, _, recorded] = medians;
    let mut table = format!(
        "Processor time of a small server, a request, medians of {ROUNDS} rounds in turns over {CONNECTIONS} connections.\n\n\
         | | us | lowest to highest | to unwatched | added, to a recorded one's |\n|---|---|---|---|---|\n"
    );
    let names = ["unwatched", "an unsampled request", "a recorded one"];
    for ((name, cost), (lowest, highest)) in names.into_iter().zip(medians).zip(spreads) {
        let added = (cost - unwatched) / (recorded - unwatched);
        let ratio = cost / unwatched;
        writeln!(table, "| {name} | {cost:.1} | {lowest:.1} to {highest:.1} | {ratio:.2} | {added:.2} |")?;
    }
    writeln!(table, "\nOf {all} unsampled requests not one made a record.")?;
    Ok(Some(table))
}

/// As many requests as a round has, as fast as they are answered.
pub(crate) fn load(target: &Target) -> Result<(), Box<dyn Error>> {
    let address = target.address()?;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::tcp(address);
                (0..EACH).try_for_each(|number| match client.status(&format!("/{number}"), HEADERS) {
                    Ok(200) => Ok(()),
                    other => Err(format!("a request was answered by {other:?}")),
                })
            })
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| "a client panicked")??;
    }
    Ok(())
}
