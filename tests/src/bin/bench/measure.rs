//! The measurements, all ways in turns.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Folder, map_bytes};

use crate::load::{Answers, Load};
use crate::machine;
use crate::results::{AgentSize, Delivered, Plan, ProgramSample, Reads, Results, Sample};
use crate::scenario::{Pace, SCENARIOS, Scenario, Way};
use crate::service::{self, Watched};

/// A while for the ends of connections to be noticed.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);
/// A while in which an agent that has seen calls learns who makes them, on a busy machine, too.
const LEARN: Duration = Duration::from_secs(4);
/// Requests that are counted one by one.
const FEW: Duration = Duration::from_millis(100);

/// The builds of the agent.
pub(crate) struct Agents {
    pub(crate) lightfoot: PathBuf,
    /// One to compare with.
    pub(crate) other: Option<PathBuf>,
}

/// Measures everything. `None` where nothing can be watched.
pub(crate) fn all(agents: &Agents, plan: Plan) -> Result<Option<Results>, Box<dyn Error>> {
    let Some(folder) = Folder::for_test("the benchmark") else { return Ok(None) };
    let ways = match &agents.other {
        None => vec![Way::Nothing, Way::Traps, Way::Lightfoot, Way::Otelhttp],
        Some(_) => vec![Way::Nothing, Way::Lightfoot, Way::Other],
    };
    let mut run = Run { plan, watched: start(&folder, agents, &ways)?, expected: vec![0; ways.len()] };
    let idle: Vec<_> = run.watched.iter().map(Watched::agent_time).collect::<Result<_, _>>()?;
    run.warm_up()?;
    let samples = run.samples()?;
    let programs = run.programs()?;
    let mut agent = AgentSize::default();
    let mut delivered = Vec::new();
    for ((watched, expected), idle) in run.watched.into_iter().zip(run.expected).zip(idle) {
        let way = watched.way;
        if let (Way::Lightfoot, Some(running)) = (way, &watched.agent) {
            agent = size(running)?;
        }
        let time = watched.agent_time()?.saturating_sub(idle);
        let sink = watched.stop()?;
        if way.is_watched() || way == Way::Otelhttp {
            delivered.push(Delivered { way, expected, arrived: sink.spans(), agent: microseconds(time) });
        }
    }
    let watched =
        Watched::start(Way::Nothing, &folder.copy_of(Program::Bench, "counted")?, &agents.lightfoot)?;
    agent.first_span = first_spans(&watched, &agents.lightfoot, plan)?;
    let reads = reads(&watched, &agents.lightfoot, plan)?;
    watched.stop()?;
    let machine = machine::facts(&agents.lightfoot)?;
    Ok(Some(Results { machine, plan, ways, samples, programs, reads, delivered, agent }))
}

/// All ways at work.
struct Run {
    plan: Plan,
    watched: Vec<Watched>,
    /// Spans that each should have brought.
    expected: Vec<u64>,
}

fn start(folder: &Folder, agents: &Agents, ways: &[Way]) -> Result<Vec<Watched>, Box<dyn Error>> {
    let lightfoot = folder.copy_of(Program::Bench, "watched")?;
    let others = folder.copy_of(Program::Bench, "other")?;
    let unwatched = folder.copy_of(Program::Bench, "unwatched")?;
    ways.iter()
        .map(|way| match way {
            Way::Nothing | Way::Otelhttp => Watched::start(*way, &unwatched, &agents.lightfoot),
            Way::Lightfoot | Way::Traps => Watched::start(*way, &lightfoot, &agents.lightfoot),
            Way::Other => Watched::start(*way, &others, agents.other.as_ref().unwrap_or(&agents.lightfoot)),
        })
        .collect()
}

impl Run {
    /// Has agents learn who calls clients, and all else come to rest.
    fn warm_up(&mut self) -> Result<(), Box<dyn Error>> {
        for (watched, expected) in self.watched.iter().zip(&mut self.expected) {
            for scenario in &SCENARIOS {
                let requests = load(watched, scenario, None, FEW, self.plan.connections)?.latencies.len();
                *expected += requests as u64 * u64::from(scenario.spans);
            }
        }
        thread::sleep(LEARN);
        Ok(())
    }

    fn samples(&mut self) -> Result<Vec<Sample>, Box<dyn Error>> {
        let plan = self.plan;
        let mut samples = Vec::new();
        for round in 1..=plan.rounds {
            eprintln!("round {round} of {}", plan.rounds);
            for (scenario, pace) in
                SCENARIOS.iter().flat_map(|one| [(one, Pace::Saturation), (one, Pace::Fixed)])
            {
                for index in self.turn(round) {
                    let Some((watched, expected)) = self.of(index) else { continue };
                    let sample = sample(watched, scenario, pace, plan, round)?;
                    *expected += sample.requests * u64::from(scenario.spans);
                    samples.push(sample);
                }
            }
        }
        Ok(samples)
    }

    /// What the kernel counts of the programs, which costs something itself.
    fn programs(&mut self) -> Result<Vec<ProgramSample>, Box<dyn Error>> {
        let _statistics = enable_stats(Stats::RunTime)?;
        let mut samples = Vec::new();
        for round in 0..self.plan.rounds {
            for scenario in &SCENARIOS {
                for index in self.turn(round) {
                    let connections = self.plan.connections;
                    let Some((watched, expected)) = self.of(index) else { continue };
                    let Some(agent) = &watched.agent else { continue };
                    // Ends of earlier connections come a moment later.
                    let before = settled(agent)?;
                    let requests = load(watched, scenario, None, FEW, connections)?.latencies.len() as u64;
                    let after = settled(agent)?;
                    *expected += requests * u64::from(scenario.spans);
                    samples.push(ProgramSample {
                        scenario: scenario.name.to_owned(),
                        way: watched.way,
                        requests,
                        runs: after.runs - before.runs - connections as u64,
                        nanoseconds: after.run_time.saturating_sub(before.run_time).as_nanos().try_into()?,
                    });
                }
            }
        }
        Ok(samples)
    }

    /// The order of the ways in a round. One that always came after the same other would bear what that leaves behind.
    fn turn(&self, round: usize) -> Vec<usize> {
        let number = self.watched.len();
        (0..number).map(|offset| (offset + round) % number).collect()
    }

    fn of(&mut self, index: usize) -> Option<(&Watched, &mut u64)> {
        self.watched.get(index).zip(self.expected.get_mut(index))
    }
}

fn sample(
    watched: &Watched,
    scenario: &Scenario,
    pace: Pace,
    plan: Plan,
    round: usize,
) -> Result<Sample, Box<dyn Error>> {
    let (service, agent) = (watched.service.processor_time()?, watched.agent_time()?);
    let rate = (pace == Pace::Fixed).then_some(scenario.rate);
    let length = Duration::from_millis(plan.milliseconds);
    let answers = load(watched, scenario, rate, length, plan.connections)?;
    Ok(Sample {
        scenario: scenario.name.to_owned(),
        pace,
        way: watched.way,
        round,
        requests: answers.latencies.len() as u64,
        seconds: answers.elapsed.as_secs_f64(),
        service: microseconds(watched.service.processor_time()?.saturating_sub(service)),
        agent: microseconds(watched.agent_time()?.saturating_sub(agent)),
        p50: microseconds(answers.percentile(50)),
        p99: microseconds(answers.percentile(99)),
    })
}

fn load(
    watched: &Watched,
    scenario: &Scenario,
    rate: Option<u32>,
    length: Duration,
    connections: usize,
) -> Result<Answers, Box<dyn Error>> {
    let address = watched.service.address(scenario)?;
    Load { address, request: &scenario.request(), connections, length, rate }.run()
}

/// What the program has run once it does not run any more.
pub(crate) fn settled(agent: &Agent) -> Result<service::Programs, Box<dyn Error>> {
    loop {
        let before = service::programs(agent)?;
        thread::sleep(SETTLE);
        if service::programs(agent)?.runs == before.runs {
            return Ok(before);
        }
    }
}

fn size(agent: &Agent) -> Result<AgentSize, Box<dyn Error>> {
    Ok(AgentSize {
        peak_bytes: service::peak(agent.pid())?,
        map_bytes: map_bytes(agent.pid())?.values().sum(),
        verified_instructions: service::programs(agent)?.verified_instructions,
        first_span: Vec::new(),
    })
}

/// Milliseconds from the start of an agent until it has printed a span, of a service that is asked all the while.
fn first_spans(watched: &Watched, lightfoot: &Path, plan: Plan) -> Result<Vec<f64>, Box<dyn Error>> {
    let [scenario, ..] = &SCENARIOS;
    let mut times = Vec::new();
    for _ in 0..plan.rounds {
        let agent = watched.start_printing_agent(lightfoot)?;
        let mut first = None;
        while first.is_none() {
            load(watched, scenario, Some(scenario.rate), Duration::from_millis(10), 1)?;
            first = (agent.count_spans(|_| true) > 0).then(|| agent.started.elapsed());
        }
        times.extend(first.map(|first| first.as_secs_f64() * 1e3));
        agent.stop()?;
    }
    Ok(times)
}

/// Reads of the service's memory, by an agent that counts them.
fn reads(watched: &Watched, lightfoot: &Path, plan: Plan) -> Result<Vec<Reads>, Box<dyn Error>> {
    let agent = watched.start_agent(lightfoot, &["--count-reads"])?;
    let reads = || Ok::<_, Box<dyn Error>>(agent.counts()?.get("user_reads").copied().unwrap_or_default());
    let mut found = Vec::new();
    // The agent learns who calls clients, and the programs what the types of contexts are.
    for scenario in &SCENARIOS {
        load(watched, scenario, None, FEW, plan.connections)?;
    }
    thread::sleep(LEARN);
    for scenario in &SCENARIOS {
        let before = reads()?;
        let requests = load(watched, scenario, None, FEW, plan.connections)?.latencies.len() as u64;
        thread::sleep(SETTLE);
        found.push(Reads { scenario: scenario.name.to_owned(), requests, all: reads()? - before });
    }
    agent.stop()?;
    Ok(found)
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
