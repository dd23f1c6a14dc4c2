//! What the agent costs: its memory, and the processor time of the thread that reads the ring.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Crowd, Folder, Target, first_thread_time, resident};
use rustix::process::Signal;

use crate::request::{PER_ROUND, load};
use crate::{ROUNDS, median, verdict};

/// Requests to each of four servers before memory is looked at.
const ASKED: u64 = 5_000;
/// KiB of a ring that holds the records of a round.
const RING: &str = "32768";
/// After that much time a ring was surely read: it is looked at every 100 ms at least.
const READ: Duration = Duration::from_millis(500);

/// `None` where nothing can be watched.
pub(crate) fn table(lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let Some(folder) = Folder::for_test("the cost of the agent") else { return Ok(None) };
    let (resident, mut table) = memory(lightfoot)?;
    let target = Target::start(&folder.copy_of(Program::Lifecycle, "measured")?)?;
    writeln!(
        table,
        "\nProcessor time of the thread that reads the ring, a span, to no endpoint; medians of {ROUNDS} rounds of \
         {PER_ROUND} requests.\n\n| spans | us | one core keeps up with |\n|---|---|---|"
    )?;
    let mut slowest = 0_f64;
    for (name, is_held_up) in [("as they come", false), ("a round at once", true)] {
        let cost = of_a_span(lightfoot, &target, is_held_up)?;
        slowest = slowest.max(cost);
        writeln!(table, "| {name} | {cost:.2} | {:.1} million a second |", 1.0 / cost)?;
    }
    writeln!(
        table,
        "\nTargets: under 30 MB ({}), 300,000 spans a second from the ring to no endpoint on one core ({}).",
        verdict(resident < 30_000),
        verdict(1e6 / slowest > 3e5)
    )?;
    Ok(Some(table))
}

/// What is resident in KiB, and of what it is made, in MiB.
fn memory(lightfoot: &Path) -> Result<(u64, String), Box<dyn Error>> {
    let crowd = Crowd::start()?;
    let pids = crowd.pids();
    let agent = watch(lightfoot, &pids, &[])?;
    let asked = crowd.ask(ASKED)?;
    agent.counts_to("spans_discarded", asked)?;
    let parts = resident(agent.pid())?;
    agent.stop()?;
    let total: u64 = parts.values().sum();
    let part = |name: &str| parts.get(name).copied().unwrap_or_default();
    let (ring, own) = (part("anon_inode:bpf-map"), part("lightfoot"));
    let memory = part("memory") + part("[heap]") + part("[stack]");
    let mib = |kib: u64| format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024);
    let table = format!(
        "Resident while {} processes of three programs are watched, after {asked} spans: {} MiB (`VmRSS`). Of that the ring \
         buffer, which is mapped twice and counts twice, is {}, the command's own file {}, libraries {}, and what it allocates {}.\n",
        pids.len(),
        mib(total),
        mib(ring),
        mib(own),
        mib(total - ring - own - memory),
        mib(memory)
    );
    Ok((total, table))
}

/// Microseconds of a span. Where it is held up, the agent is stopped until the ring has all records of a round.
fn of_a_span(lightfoot: &Path, target: &Target, is_held_up: bool) -> Result<f64, Box<dyn Error>> {
    let agent = watch(lightfoot, &[target.pid()], &["--ring-size", RING])?;
    let mut costs = Vec::new();
    // The first round warms up.
    for round in 0..=ROUNDS {
        let before = first_thread_time(agent.pid())?;
        if is_held_up {
            agent.signal(Signal::STOP);
        }
        load(target)?;
        agent.signal(Signal::CONT);
        thread::sleep(READ);
        let spent = first_thread_time(agent.pid())?.saturating_sub(before);
        if round > 0 {
            costs.push(spent.as_secs_f64() * 1e6 / f64::from(PER_ROUND));
        }
    }
    let outcome = agent.stop()?;
    if outcome.count("spans_discarded") != (ROUNDS as u64 + 1) * u64::from(PER_ROUND) {
        return Err(format!("not all spans came: {}", outcome.messages).into());
    }
    Ok(median(costs, |cost| *cost))
}

/// An agent that hands spans to nobody.
fn watch(lightfoot: &Path, pids: &[u32], arguments: &[&str]) -> Result<Agent, Box<dyn Error>> {
    let mut command = Command::new(lightfoot);
    command.arg("run").args(arguments);
    command.args(pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
    let agent = Agent::spawn_into(Stdio::null(), command, &[("OTEL_TRACES_EXPORTER", "none")])?;
    for pid in pids {
        agent.watches(*pid)?;
    }
    Ok(agent)
}
