//! What it takes to find many processes, and to watch them while nothing happens.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Folder, Target, processor_time, text, wait_for, wait_within, watching};

use crate::{median, verdict};

const BINARIES: usize = 50;
const OF_A_BINARY: usize = 10;
const ALL: usize = BINARIES * OF_A_BINARY;
/// How long nothing happens: some sweeps.
const IDLE: Duration = Duration::from_secs(40);
/// Processes of a known binary that are started one after the other.
const STARTED: usize = 50;
/// Programs that are executed while the cost of that is measured.
const EXECUTED: u32 = 2_000;

/// `None` where nothing can be watched.
pub(crate) fn table(lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let Some(folder) = Folder::for_test("the cost of finding processes") else { return Ok(None) };
    // Each with a content of its own, or one analysis would serve all.
    let copy = |number: usize| -> Result<PathBuf, Box<dyn Error>> {
        let path = folder.copy_of(Program::Lifecycle, &format!("server-{number:02}"))?;
        File::options().append(true).open(&path)?.write_all(&number.to_le_bytes())?;
        Ok(path)
    };
    let binaries: Vec<PathBuf> = (0..BINARIES).map(copy).collect::<Result<_, _>>()?;
    let programs = binaries.iter().cycle().take(ALL);
    let targets: Vec<Target> = programs.map(|binary| Target::start(binary)).collect::<Result<_, _>>()?;
    for target in &targets {
        target.address()?;
    }
    let pattern = format!("{}/*", text(folder.path()));
    let mut command = Command::new(lightfoot);
    command.args(["run", "--exe", &pattern]);
    let agent = Agent::spawn_into(Stdio::null(), command, &[("OTEL_TRACES_EXPORTER", "none")])?;
    let are_watched = || (agent.messages().matches(" INFO watching  service=").count() >= ALL).then_some(());
    wait_within(Duration::from_secs(120), "all to be watched", are_watched)?;
    let attached = agent.started.elapsed();
    let spent = processor_time(agent.pid())?;

    // What the analyses took is given back, and callers are settled.
    thread::sleep(Duration::from_secs(15));
    let before = processor_time(agent.pid())?;
    thread::sleep(IDLE);
    let idle = processor_time(agent.pid())?.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();

    let before = processor_time(agent.pid())?;
    for _ in 0..EXECUTED {
        Command::new("/bin/true").status()?;
    }
    let of_an_exec =
        processor_time(agent.pid())?.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(EXECUTED);

    drop(targets);
    let is_empty = || agent.counts().is_ok() && agent.messages().ends_with("which watches 0 processes now\n");
    wait_for("all to be left", || is_empty().then_some(()))?;
    let latencies: Vec<f64> = binaries
        .iter()
        .cycle()
        .take(STARTED)
        .map(|binary| latency(&agent, binary))
        .collect::<Result<_, _>>()?;
    agent.stop()?;
    for binary in binaries {
        fs::remove_file(binary)?;
    }
    Ok(Some(format!(
        "{ALL} processes of {BINARIES} binaries of 7 MB are all watched {:.1} s after Lightfoot's start, \
         for {:.2} s of processor time. While nothing happens, watching them takes {:.2} % of a core. A program that is executed \
         and is known to be none of Go's takes the agent {of_an_exec:.0} µs; a process of a known binary is said to be watched {:.1} ms after it was \
         started (median of {STARTED}).\n\n\
         Targets: all in 10 s ({}), under 0.5 % of a core ({}).\n",
        attached.as_secs_f64(),
        spent.as_secs_f64(),
        idle * 100.0,
        median(latencies, |latency| *latency),
        verdict(attached < Duration::from_secs(10)),
        verdict(idle < 0.005),
    )))
}

/// Milliseconds until a new process of a known binary is said to be watched.
fn latency(agent: &Agent, binary: &Path) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let target = Target::start(binary)?;
    let said = watching(target.pid());
    while !agent.messages().contains(&said) {
        if started.elapsed() > Duration::from_secs(30) {
            return Err("it is not watched".into());
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
