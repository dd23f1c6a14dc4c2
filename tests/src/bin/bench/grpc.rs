//! What it costs to trace a gRPC call, on its server and on its client: by nobody, by Lightfoot, by otelgrpc and the Go SDK.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Driven, Folder, Sink, binary, processor_time};

use crate::calls::{Arrived, Calls, Programs, Side};
use crate::{machine, measure, service};

/// The callers of clients are known after so long (`watch::CALLERS_SETTLE`), with some time to place what they need.
const SETTLE: Duration = Duration::from_secs(8);
/// What goes before that: it opens the connections, too.
const FIRST: u32 = 10;

/// A server and a client of one way to trace, and where its spans go.
struct Pair {
    server: Driven,
    client: Driven,
    agent: Option<Agent>,
    sink: Sink,
    /// Calls, each a span.
    calls: u64,
}

/// Which of the two is asked about.
#[derive(Clone, Copy)]
enum Role {
    Server,
    Client,
}

/// Copies of one program in turns: as servers of a client that nobody traces, and as clients of such a server. `None` where
/// nothing can be watched.
pub(crate) fn measure(lightfoot: &Path, rounds: usize, calls: u32) -> Result<Option<Calls>, Box<dyn Error>> {
    if Folder::for_test("the cost of a gRPC call").is_none() {
        return Ok(None);
    }
    let binary = binary(Program::BenchGrpc)?;
    let mut others = Pair::start(&binary)?;
    let mut pairs =
        [Pair::start(&binary)?, Pair::start(&binary)?.watched(lightfoot, &[])?, Pair::start_traced(&binary)?];
    let mut counted = Pair::start(&binary)?.watched(lightfoot, &["--count-reads"])?;
    for pair in pairs.iter_mut().chain([&mut counted]) {
        for role in [Role::Server, Role::Client] {
            pair.call(role, &mut others, FIRST)?;
        }
    }
    thread::sleep(SETTLE);
    let [mut server, mut client] = [Side::default(), Side::default()];
    // The first round warms up.
    for round in 0..=rounds {
        // One that always came after the same other would bear what that leaves behind.
        for offset in 0..pairs.len() {
            let way = (offset + round) % pairs.len();
            let Some(pair) = pairs.get_mut(way) else { continue };
            for (role, side) in [(Role::Server, &mut server), (Role::Client, &mut client)] {
                let cost = pair.cost(role, &mut others, calls)?;
                let costs = [&mut side.nothing, &mut side.lightfoot, &mut side.by_hand];
                if let (true, Some(costs)) = (round > 0, costs.into_iter().nth(way)) {
                    costs.push(cost);
                }
            }
        }
    }
    let [nothing, mut watched, by_hand] = pairs;
    for (role, side) in [(Role::Server, &mut server), (Role::Client, &mut client)] {
        for _ in 0..rounds {
            side.programs.push(watched.programs(role, &mut others, calls)?);
        }
        side.reads = counted.reads(role, &mut others, calls)?;
    }
    nothing.stop()?;
    counted.stop()?;
    Ok(Some(Calls {
        machine: machine::facts(lightfoot)?,
        otelgrpc: machine::release(
            Program::BenchGrpc,
            "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
        )?,
        rounds,
        each: calls,
        server,
        client,
        lightfoot: watched.stop()?,
        by_hand: by_hand.stop()?,
    }))
}

impl Pair {
    /// Each is a copy of the binary of its own.
    fn start(binary: &Path) -> Result<Self, Box<dyn Error>> {
        let (mut server, client) = (Driven::start(binary)?, Driven::start(binary)?);
        server.ask("serve")?;
        Ok(Self { server, client, agent: None, sink: Sink::start()?, calls: 0 })
    }

    /// One that traces itself.
    fn start_traced(binary: &Path) -> Result<Self, Box<dyn Error>> {
        let sink = Sink::start()?;
        let (mut server, mut client) = (Driven::start(binary)?, Driven::start(binary)?);
        for program in [&mut server, &mut client] {
            program.ask(&format!("trace {}", sink.endpoint))?;
        }
        server.ask("serve")?;
        Ok(Self { server, client, agent: None, sink, calls: 0 })
    }

    /// Has an agent watch both.
    fn watched(mut self, lightfoot: &Path, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(lightfoot);
        // The programs have otelgrpc in their file, used or not.
        command.args(["run", "--sdk", "both"]).args(arguments);
        for program in [&self.server, &self.client] {
            command.args(["--pid", &program.pid().to_string()]);
        }
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.sink.endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ];
        let agent = Agent::spawn_into(Stdio::null(), command, &variables)?;
        agent.watches(self.server.pid())?;
        agent.watches(self.client.pid())?;
        self.agent = Some(agent);
        Ok(self)
    }

    /// Calls its server, or has its client call.
    fn call(&mut self, role: Role, others: &mut Self, calls: u32) -> Result<(), Box<dyn Error>> {
        let (from, to) = match role {
            Role::Server => (&mut others.client, &self.server),
            Role::Client => (&mut self.client, &others.server),
        };
        let address = to.url("grpc").ok_or("it serves nothing")?;
        from.ask(&format!("call {address} {calls}"))?;
        self.calls += u64::from(calls);
        Ok(())
    }

    /// Microseconds of processor time that the one takes for each call.
    fn cost(&mut self, role: Role, others: &mut Self, calls: u32) -> Result<f64, Box<dyn Error>> {
        let pid = match role {
            Role::Server => self.server.pid(),
            Role::Client => self.client.pid(),
        };
        let before = processor_time(pid)?;
        self.call(role, others, calls)?;
        let spent = processor_time(pid)?.saturating_sub(before);
        Ok(spent.as_secs_f64() * 1e6 / f64::from(calls))
    }

    /// What the kernel counts of the agent's programs meanwhile.
    fn programs(&mut self, role: Role, others: &mut Self, calls: u32) -> Result<Programs, Box<dyn Error>> {
        let _statistics = enable_stats(Stats::RunTime)?;
        let before = service::programs(self.agent()?)?;
        self.call(role, others, calls)?;
        let after = measure::settled(self.agent()?)?;
        let time = after.run_time.saturating_sub(before.run_time);
        Ok(Programs { runs: after.runs - before.runs, nanoseconds: time.as_nanos().try_into()? })
    }

    /// Reads of user memory meanwhile, by an agent that counts them.
    fn reads(&mut self, role: Role, others: &mut Self, calls: u32) -> Result<u64, Box<dyn Error>> {
        let before = self.user_reads()?;
        self.call(role, others, calls)?;
        thread::sleep(measure::SETTLE);
        Ok(self.user_reads()? - before)
    }

    fn user_reads(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.agent()?.counts()?.get("user_reads").copied().unwrap_or_default())
    }

    fn agent(&self) -> Result<&Agent, Box<dyn Error>> {
        Ok(self.agent.as_ref().ok_or("no agent watches it")?)
    }

    /// Ends what traces, which sends what still waits. An agent that did not see all calls is an error.
    fn stop(mut self) -> Result<Arrived, Box<dyn Error>> {
        if let Some(outcome) = self.agent.take().map(Agent::stop).transpose()?
            && outcome.count("ended") != self.calls
        {
            return Err(format!("not what was to be measured: {}", outcome.messages).into());
        }
        for program in [&mut self.server, &mut self.client] {
            program.ask("finish")?;
        }
        Ok(Arrived { expected: self.calls, arrived: self.sink.spans() })
    }
}
