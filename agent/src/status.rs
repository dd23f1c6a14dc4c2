//! How a running agent says how it goes: over a unix socket, in HTTP, so that `lightfoot status` and `curl` both understand it.
//!
//! [`Status`] is what `GET /status` answers. Modules: [`socket`] and [`tcp`] are where it listens, [`server`] answers, [`client`] asks,
//! [`metrics`] tells the same as metrics, [`openmetrics`] as text for Prometheus, [`otlp`] for an endpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub mod client;
pub mod metrics;
pub mod openmetrics;
pub mod otlp;
pub mod server;
pub mod socket;
pub mod tcp;

/// How it goes. What is missing in the answer of another version is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// Its number.
    pub pid: u32,
    /// When it began, as in RFC 3339.
    pub started: String,
    /// When this was said.
    pub now: String,
    /// For how long it has run by then, whatever was done to the clock.
    pub uptime_seconds: f64,
    /// Whether all processes that were there at its start have been looked at.
    pub ready: bool,
    /// `nothing`, `some programs` or `everything`.
    pub paused: String,
    /// The patterns of the programs that are paused.
    pub paused_patterns: Vec<String>,
    /// The file that pauses it while it is there, if there is one.
    pub pause_file: Option<PathBuf>,
    /// How much it says on standard error.
    pub log_level: String,
    /// How old the counts of processes are: older than a moment if the agent is busy. Nothing if there are none yet.
    pub counts_age_seconds: Option<f64>,
    /// Each process that is watched.
    pub processes: Vec<Process>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Those that run, were to be watched and cannot be, the last ones.
    pub refused: Vec<Refused>,
    /// How many were refused before these and are forgotten, whether they still run or not.
    pub refused_forgotten: u64,
    /// Where spans go.
    pub delivery: Delivery,
    /// What a trap is taken to cost.
    pub trap_price: TrapPrice,
    /// The traps that counts tell of, of all processes that ever were.
    pub estimated_traps: u64,
    /// How full the ring buffer gets by which spans come from the kernel.
    pub ring: Ring,
    /// How full the kernel's maps are that can run full; empty if the agent was too busy to tell.
    pub maps: Vec<MapFill>,
    /// What the agent takes of memory.
    pub memory: Memory,
    /// How many spans have a parent by which rule, and how many have `none`, of all processes that ever were.
    pub parents: BTreeMap<String, u64>,
    /// All that was counted, by name, as `lightfoot run` prints it. What is missing is 0.
    pub counts: BTreeMap<String, u64>,
}

/// A process that is watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its program, as it sees it.
    pub executable: String,
    /// What its service is called; nothing if it ended before that was known.
    pub service: Option<String>,
    /// The rule by which it is watched.
    pub rule: Option<String>,
    /// The version of Go that built it, as the toolchain gave it; nothing if that is not known yet.
    pub go: Option<String>,
    /// The versions of the modules of which a library is looked for and linked in, by their paths.
    pub modules: BTreeMap<String, String>,
    /// Since when it is watched.
    pub since: String,
    /// Spans that were recorded.
    pub spans: u64,
    /// Spans that were lost before they came to the agent.
    pub lost: u64,
    /// Spans that are open.
    pub open: u64,
    /// The traps that its counts tell of: at least so many were there.
    pub estimated_traps: u64,
    /// Their number times the price of one.
    pub estimated_trap_seconds: f64,
    /// Why there are no spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How many places of its program are probed.
    pub sites: usize,
    /// What is watched of it, and what is not.
    pub operations: Vec<Operation>,
    /// How many of its spans that came to delivery have a parent by which rule, and how many have `none`.
    pub parents: BTreeMap<String, u64>,
    /// What the kernel's programs have counted of it, by name. What is missing is 0.
    pub counts: BTreeMap<String, u64>,
}

/// What can be watched in a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// The library.
    pub library: String,
    /// What of it.
    pub title: String,
    /// `watched`, `off` (it can be watched, but was not asked for, or the kernel does not permit it), `left` (to the program's own
    /// instrumentation) or `cannot`.
    pub state: String,
    /// The traps that a span takes, or that it adds to one.
    pub traps: usize,
    /// Why, if it is not watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// A process that was to be watched and cannot be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// Its number.
    pub pid: u32,
    /// Its program, as it sees it.
    pub executable: String,
    /// When that was found.
    pub time: String,
    /// Why.
    pub reason: String,
}

/// Where spans go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// The endpoint, if there is one.
    pub endpoint: Option<String>,
    /// Whether the last try to send something to it failed, for now or for good.
    pub down: bool,
    /// Whether it was refused for good: then the last failure is what the endpoint said.
    pub refuses: bool,
    /// What the last failure said, also if it works again.
    pub last_error: Option<String>,
    /// Whether spans are printed.
    pub printed: bool,
    /// Why none was sent or printed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Spans that wait for the endpoint or are on their way.
    pub waiting_spans: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// How many bytes may wait.
    pub max_bytes: u64,
    /// What was counted of each service, by name. What is missing is 0.
    pub services: BTreeMap<String, BTreeMap<String, u64>>,
}

/// How full the ring buffer gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ring {
    /// Its bytes.
    pub size_bytes: u64,
    /// Those that the last read found.
    pub last_bytes: u64,
    /// The most that a read found since the start.
    pub most_bytes: u64,
}

/// How full a map of the kernel is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MapFill {
    /// What is in it.
    pub name: String,
    /// Its elements.
    pub entries: usize,
    /// How many there is room for.
    pub limit: usize,
}

/// What the agent takes of memory. The ring buffer's data are in both: twice in what is resident, for they are mapped twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// What is resident of its process.
    pub resident_bytes: Option<u64>,
    /// What BPF maps take; nothing if the agent was too busy to tell.
    pub map_bytes: Option<u64>,
}

/// What a trap is taken to cost, without what the programs do there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrapPrice {
    /// Nanoseconds of the watched program's processor time.
    pub nanoseconds: f64,
    /// Where that is from: `measured` here, as the agent started, or `assumed`, the number of `docs/bench`, which was measured on another host.
    pub source: String,
}
