//! What was measured, as it is kept in a file.

use serde::{Deserialize, Serialize};

use crate::scenario::{Pace, Way};

/// A whole run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) ways: Vec<Way>,
    pub(crate) samples: Vec<Sample>,
    /// With the kernel's statistics on, which cost something themselves.
    pub(crate) programs: Vec<ProgramSample>,
    pub(crate) reads: Vec<Reads>,
    pub(crate) delivered: Vec<Delivered>,
    pub(crate) agent: AgentSize,
}

/// Where.
#[derive(Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) is_virtual: bool,
    pub(crate) go: String,
    pub(crate) lightfoot: String,
    pub(crate) otelhttp: String,
    pub(crate) otel_sdk: String,
}

/// How.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) milliseconds: u64,
    pub(crate) connections: usize,
}

/// One turn of one way. Times are in microseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) scenario: String,
    pub(crate) pace: Pace,
    pub(crate) way: Way,
    pub(crate) round: usize,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Processor time of the service, all processes.
    pub(crate) service: f64,
    /// Processor time of the agent meanwhile.
    pub(crate) agent: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The same of the agent's BPF programs.
#[derive(Serialize, Deserialize)]
pub(crate) struct ProgramSample {
    pub(crate) scenario: String,
    pub(crate) way: Way,
    pub(crate) requests: u64,
    /// One trap each; those at the ends of connections are left out.
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

/// Reads of the service's memory by an agent that counts them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Reads {
    pub(crate) scenario: String,
    pub(crate) requests: u64,
    pub(crate) all: u64,
}

/// How many of the spans arrived.
#[derive(Serialize, Deserialize)]
pub(crate) struct Delivered {
    pub(crate) way: Way,
    pub(crate) expected: u64,
    pub(crate) arrived: u64,
    /// Processor time of the agent for all of them, in microseconds.
    pub(crate) agent: f64,
}

/// What the agent takes.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct AgentSize {
    pub(crate) peak_bytes: u64,
    pub(crate) map_bytes: u64,
    pub(crate) verified_instructions: u64,
    /// Milliseconds from its start to the first span that it prints, of a request that came as soon as it could.
    pub(crate) first_span: Vec<f64>,
}
