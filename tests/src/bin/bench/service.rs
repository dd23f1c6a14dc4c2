//! The service under load, what traces it, and what both use up.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lightfoot_tests::live::{Agent, Sink, Target, processor_time};
use rustix::process::Signal;

use crate::scenario::{Scenario, Way};

/// A server that calls a server, both of the same file.
pub(crate) struct Service {
    pub(crate) front: Target,
    pub(crate) back: Target,
}

/// A way to trace, at work.
pub(crate) struct Watched {
    pub(crate) way: Way,
    pub(crate) service: Service,
    pub(crate) agent: Option<Agent>,
    pub(crate) sink: Sink,
}

/// What the kernel says of all programs of an agent together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Programs {
    pub(crate) runs: u64,
    pub(crate) run_time: Duration,
    pub(crate) verified_instructions: u64,
}

impl Service {
    fn start(binary: &Path, traced_into: Option<&Sink>) -> Result<Self, Box<dyn Error>> {
        let start = |backend: Option<SocketAddr>| -> Result<Target, Box<dyn Error>> {
            let mut command = Command::new(binary);
            if let Some(address) = backend {
                command.args(["-backend", &format!("http://{address}")]);
            }
            if let Some(sink) = traced_into {
                command.args(["-otelhttp"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.endpoint);
            }
            Ok(Target::spawn(&mut command)?)
        };
        let back = start(None)?;
        let front = start(Some(back.address()?))?;
        front.address()?;
        Ok(Self { front, back })
    }

    /// Where a scenario's requests go.
    pub(crate) fn address(&self, scenario: &Scenario) -> Result<SocketAddr, Box<dyn Error>> {
        Ok(if scenario.to_front { &self.front } else { &self.back }.address()?)
    }

    /// What both have run.
    pub(crate) fn processor_time(&self) -> Result<Duration, Box<dyn Error>> {
        Ok(processor_time(self.front.pid())? + processor_time(self.back.pid())?)
    }
}

impl Watched {
    /// Starts a service, and what traces it. `binary` is a file that no other way uses, but for the traps alone.
    pub(crate) fn start(way: Way, binary: &Path, lightfoot: &Path) -> Result<Self, Box<dyn Error>> {
        let sink = Sink::start()?;
        let service = Service::start(binary, (way == Way::Otelhttp).then_some(&sink))?;
        let mut watched = Self { way, service, agent: None, sink };
        if way.is_watched() {
            watched.agent = Some(watched.start_agent(lightfoot, &[])?);
        }
        Ok(watched)
    }

    /// Starts an agent that watches the service, and sends its spans where those of the service itself would go.
    pub(crate) fn start_agent(&self, lightfoot: &Path, arguments: &[&str]) -> Result<Agent, Box<dyn Error>> {
        let mut command = self.command(lightfoot);
        command.args(arguments);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.sink.endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ];
        let agent = Agent::spawn_into(Stdio::null(), command, &variables)?;
        agent.watches(self.service.front.pid())?;
        agent.watches(self.service.back.pid())?;
        Ok(agent)
    }

    /// Starts one that prints its spans, and does not wait.
    pub(crate) fn start_printing_agent(&self, lightfoot: &Path) -> Result<Agent, Box<dyn Error>> {
        let mut command = self.command(lightfoot);
        command.args(["--format", "otlp-json"]);
        Ok(Agent::spawn(command, &[])?)
    }

    fn command(&self, lightfoot: &Path) -> Command {
        let mut command = Command::new(lightfoot);
        // The service has otelhttp in its file, used or not.
        command.args(["run", "--sdk", "both"]);
        for server in [&self.service.front, &self.service.back] {
            command.args(["--pid", &server.pid().to_string()]);
        }
        command
    }

    /// What the agent has run; nothing without one.
    pub(crate) fn agent_time(&self) -> Result<Duration, Box<dyn Error>> {
        Ok(self.agent.as_ref().map_or(Ok(Duration::ZERO), |agent| processor_time(agent.pid()))?)
    }

    /// Ends what traces, which sends what still waits, and the service.
    pub(crate) fn stop(mut self) -> Result<Sink, Box<dyn Error>> {
        self.agent.take().map(Agent::stop).transpose()?;
        for server in [&mut self.service.front, &mut self.service.back] {
            server.signal(Signal::TERM);
            server.wait()?;
        }
        Ok(self.sink)
    }
}

/// `BPF_PROG_TYPE_KPROBE` (include/uapi/linux/bpf.h), which uprobes have as well.
const KPROBE: u64 = 2;

/// The programs at an agent's sites together. Runs are counted while the kernel's statistics are on.
pub(crate) fn programs(agent: &Agent) -> Result<Programs, Box<dyn Error>> {
    let files = descriptors(agent)?;
    // Those by which aya finds out what the kernel can do are among them: they never run. Those that are told of processes run for
    // whatever is executed on the machine, and are of another type.
    let found: Vec<_> = files.iter().filter(|file| file.get("prog_type") == Some(&KPROBE)).collect();
    let sum = |name| found.iter().filter_map(|file| file.get(name)).sum();
    Ok(Programs {
        runs: sum("run_cnt"),
        run_time: Duration::from_nanos(sum("run_time_ns")),
        verified_instructions: sum("verified_insns"),
    })
}

/// The most memory that a process had, in bytes.
pub(crate) fn peak(pid: u32) -> Result<u64, Box<dyn Error>> {
    let fields = fields(&PathBuf::from(format!("/proc/{pid}/status")))?;
    Ok(fields.get("VmHWM").ok_or("the agent is gone")? * 1024)
}

/// The numbers that the kernel tells of each open file.
fn descriptors(agent: &Agent) -> Result<Vec<BTreeMap<String, u64>>, Box<dyn Error>> {
    let folder = fs::read_dir(format!("/proc/{}/fdinfo", agent.pid()))?;
    // A file may be closed meanwhile.
    Ok(folder.filter_map(|file| fields(&file.ok()?.path()).ok()).collect())
}

/// Lines `name: number`, whatever follows.
fn fields(file: &Path) -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let text = fs::read_to_string(file)?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(field).collect())
}
