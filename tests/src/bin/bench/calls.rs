//! What was measured of gRPC calls, as it is kept in a file, and the table of README.md.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::results::Machine;
use crate::spread::Spread;
use crate::verdict;

/// Microseconds that a span is to add at most.
const TARGET: f64 = 7.0;

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Calls {
    pub(crate) machine: Machine,
    pub(crate) otelgrpc: String,
    pub(crate) rounds: usize,
    /// Of each way and side in a round.
    pub(crate) each: u32,
    pub(crate) server: Side,
    pub(crate) client: Side,
    pub(crate) lightfoot: Arrived,
    pub(crate) by_hand: Arrived,
}

/// One side of the calls. The lists have one value a round: microseconds of its process for a call.
#[derive(Default, Serialize)]
pub(crate) struct Side {
    pub(crate) nothing: Vec<f64>,
    pub(crate) lightfoot: Vec<f64>,
    /// By otelgrpc and the Go SDK.
    pub(crate) by_hand: Vec<f64>,
    /// With the kernel's statistics on, a round each.
    pub(crate) programs: Vec<Programs>,
    /// By an agent that counts them, in as many calls as a round has.
    pub(crate) reads: u64,
}

/// What the agent's BPF programs did for as many calls as a round has.
#[derive(Serialize)]
pub(crate) struct Programs {
    /// One trap each.
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

/// How many of the spans arrived.
#[derive(Serialize)]
pub(crate) struct Arrived {
    pub(crate) expected: u64,
    pub(crate) arrived: u64,
}

impl Side {
    /// Processor time that a way adds to a call, each round's to that of the same round without it.
    fn added(&self, with: &[f64]) -> Spread {
        Spread::of(self.nothing.iter().zip(with).map(|(without, with)| with - without))
    }
}

impl Calls {
    /// What README.md says.
    pub(crate) fn table(&self) -> Result<String, fmt::Error> {
        let each = |all: u64| all as f64 / f64::from(self.each);
        let mut text = format!(
            "Processor time of a unary call, and what is added to it, in µs, sixteen calls at once over one connection, medians \
             of {} rounds in turns (lowest to highest).\n\n| | untraced | otelgrpc {}, Go SDK | Lightfoot | of otelgrpc's | BPF run \
             time | traps | reads |\n|---|---|---|---|---|---|---|---|\n",
            self.rounds, self.otelgrpc
        );
        for (name, side) in [("its server's", &self.server), ("its client's", &self.client)] {
            let (by_hand, lightfoot) = (side.added(&side.by_hand), side.added(&side.lightfoot));
            let of_programs = |value: fn(&Programs) -> u64| {
                Spread::of(side.programs.iter().map(|programs| each(value(programs)))).median
            };
            writeln!(
                text,
                "| {name} | {} | {by_hand} | {lightfoot} | {:.3} | {:.2} | {:.2} | {:.1} |",
                Spread::of(side.nothing.iter().copied()),
                lightfoot.median / by_hand.median,
                of_programs(|programs| programs.nanoseconds) / 1e3,
                of_programs(|programs| programs.runs),
                each(side.reads),
            )?;
        }
        let verdict = |side: &Side| verdict(side.added(&side.lightfoot).median < TARGET);
        writeln!(
            text,
            "\nTarget: under {TARGET} µs a span, its server's ({}) and its client's ({}). Of Lightfoot's {} spans {} arrived at the \
             endpoint, of otelgrpc's {} {}. The raw data are in [docs/bench/grpc.json](docs/bench/grpc.json).",
            verdict(&self.server),
            verdict(&self.client),
            self.lightfoot.expected,
            self.lightfoot.arrived,
            self.by_hand.expected,
            self.by_hand.arrived
        )?;
        Ok(text)
    }
}
