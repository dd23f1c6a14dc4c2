//! The page, its plots and the table of README.md, from what was measured.

use std::fmt::{self, Write as _};

use crate::plot::{self, Group};
use crate::results::{Results, Sample};
use crate::scenario::{Pace, SCENARIOS, Scenario, Way};
use crate::spread::Spread;
use crate::verdict;

/// The files of the page, each with its name.
pub(crate) fn files(results: &Results) -> Result<Vec<(&'static str, String)>, fmt::Error> {
    Ok(vec![
        ("README.md", page(results)?),
        ("added.svg", added_plot(results)),
        (
            "throughput.svg",
            plot(results, "Requests a second, at saturation", Pace::Saturation, Sample::throughput),
        ),
        (
            "p99.svg",
            plot(results, "99th percentile of latency at a fixed rate, µs", Pace::Fixed, |one| one.p99),
        ),
    ])
}

/// What README.md says.
pub(crate) fn summary(results: &Results) -> Result<String, fmt::Error> {
    let mut text = format!(
        "Processor time that is added to a request of a small server at saturation, in µs, medians of {} rounds in turns \
         (lowest to highest).\n\n| | otelhttp, Go SDK | Lightfoot | of otelhttp's | BPF run time | traps | reads |\n|---|---|---|---|---|---|---|\n",
        results.plan.rounds
    );
    for scenario in &SCENARIOS {
        let added = |way| results.added(scenario.name, Pace::Saturation, way);
        writeln!(
            text,
            "| {} | {} | {} | {:.3} | {:.2} | {:.2} | {:.1} |",
            scenario.title,
            added(Way::Otelhttp),
            added(Way::Lightfoot),
            results.share(scenario.name, Pace::Saturation, Way::Lightfoot),
            results.run_time(scenario.name, Way::Lightfoot).median / 1e3,
            results.traps(scenario.name, Way::Lightfoot).median,
            reads(results, scenario),
        )?;
    }
    writeln!(text)?;
    targets(&mut text, results)?;
    writeln!(
        text,
        "\nThe agent itself takes {:.1} µs of processor time a span of a bare request, {:.0} MB of memory and {:.0} MB of BPF maps.",
        agent_each(results),
        results.agent.peak_bytes as f64 / 1e6,
        results.agent.map_bytes as f64 / 1e6
    )?;
    Ok(text)
}

/// As the terminal shows two builds.
pub(crate) fn comparison(results: &Results) -> Result<String, fmt::Error> {
    let mut text = String::new();
    for scenario in &SCENARIOS {
        for way in [Way::Lightfoot, Way::Other] {
            writeln!(
                text,
                "{:8} {:12} added {:.2} µs, run time {:.0} ns, {:.2} traps",
                scenario.name,
                way.title(),
                results.added(scenario.name, Pace::Saturation, way),
                results.run_time(scenario.name, way),
                results.traps(scenario.name, way).median
            )?;
        }
    }
    Ok(text)
}

fn page(results: &Results) -> Result<String, fmt::Error> {
    let (machine, plan) = (&results.machine, results.plan);
    let mut text =
        String::from("# Benchmark\n\n<!-- Made by `make bench` from results.json; do not edit. -->\n\n");
    writeln!(
        text,
        "What it costs to trace a small Go server: nothing, Lightfoot, and otelhttp {} with the Go SDK {} by hand, in one run \
         of `make bench`. The raw data are in [results.json](results.json).\n",
        machine.otelhttp, machine.otel_sdk
    )?;
    writeln!(text, "| | |\n|---|---|")?;
    writeln!(text, "| when | {} |", machine.date)?;
    writeln!(text, "| processors | {} {} |", machine.processors, machine.processor)?;
    writeln!(text, "| virtual machine | {} |", if machine.is_virtual { "yes" } else { "no" })?;
    writeln!(text, "| Linux | {} |", machine.kernel)?;
    writeln!(text, "| Go | {} |", machine.go)?;
    writeln!(text, "| Lightfoot | {} |", machine.lightfoot)?;
    writeln!(text, "\n## How\n")?;
    writeln!(text, "{}", HOW.trim_end())?;
    writeln!(
        text,
        "\nHere: {} rounds of {} ms, {} connections. A value is the median, then the lowest and the highest round.",
        plan.rounds, plan.milliseconds, plan.connections
    )?;
    writeln!(text, "\n## Added processor time\n\n![added processor time](added.svg)\n")?;
    table(&mut text, results, Pace::Saturation)?;
    writeln!(text)?;
    targets(&mut text, results)?;
    writeln!(text, "\n## Requests a second\n\n![requests a second](throughput.svg)")?;
    writeln!(text, "\n## At a fixed rate\n\n![99th percentile](p99.svg)\n")?;
    table(&mut text, results, Pace::Fixed)?;
    programs(&mut text, results)?;
    agent(&mut text, results)?;
    writeln!(text, "\n## Where it is bad\n\n{}", BAD.trim_end())?;
    Ok(text)
}

const HOW: &str = "\
All ways run the same binary, `tests/targets/bench`, each as two processes of its own, for the server that calls a server. They
take turns, in an order that rotates, so that a busy moment hits all alike. The client, the servers, the agent and the endpoint
share the processors. The client has one thread; at saturation it asks again at once, at a fixed rate a request counts from when
it was due, not from when a connection was free. Processor time is that of all threads of the service's processes, from the
kernel's scheduler (`/proc/PID/task/*/schedstat`): what otelhttp's batches cost is in it, what Lightfoot's agent costs is told
apart. What is added is the difference to the same round without tracing. Both send all spans, by OTLP over HTTP in batches, to
an endpoint that throws them away; both have their default limits. *Traps alone* is another process of a file that an agent
watches: its probes are hit, and nothing is recorded. BPF run time is the kernel's (`kernel.bpf_stats_enabled`), measured apart,
for counting it costs time; reads are counted by the programs, again apart.
";

const BAD: &str = "\
- A breakpoint cannot act on one process alone: other processes of a watched file pay for the traps (*traps alone*) though
  nothing is recorded of them.
- The more headers, the more is read to find `traceparent`: a map cannot be searched by name from outside. Names as long as it
  cost a read each; the last scenario is made of them.
- The agent runs beside the service. On a machine that is busy anyway its time is taken from the service: compare requests a
  second.
- Until the agent has learned which functions call HTTP clients, the ends of calls are single-stepped, some thirty times as
  dear as an emulated trap. That is over after the first calls, and not in these numbers.
- Spans are lost where more come than are taken: above is how many arrived.
";

fn table(text: &mut String, results: &Results, pace: Pace) -> fmt::Result {
    writeln!(
        text,
        "| | | requests a second | µs of processor a request | added | of otelhttp's | p50, µs | p99, µs |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for scenario in &SCENARIOS {
        for way in &results.ways {
            let spread = |value| results.spread(scenario.name, pace, *way, value);
            let (added, share) = match way {
                Way::Nothing => (String::new(), String::new()),
                way => (
                    results.added(scenario.name, pace, *way).to_string(),
                    format!("{:.3}", results.share(scenario.name, pace, *way)),
                ),
            };
            writeln!(
                text,
                "| {} | {} | {:.0} | {} | {added} | {share} | {:.0} | {:.0} |",
                scenario.title,
                way.title(),
                spread(Sample::throughput),
                spread(Sample::service_each),
                spread(|one| one.p50),
                spread(|one| one.p99)
            )?;
        }
    }
    Ok(())
}

/// Whether what was aimed for is reached.
fn targets(text: &mut String, results: &Results) -> fmt::Result {
    let share = |scenario| results.share(scenario, Pace::Saturation, Way::Lightfoot);
    let run_time = |scenario| results.run_time(scenario, Way::Lightfoot).median;
    writeln!(
        text,
        "Targets: under a sixth of what otelhttp adds to a bare request ({}), under a fifth with 15 headers ({}), programs that \
         run under 2 µs a span, bare ({}) and with 15 headers ({}).",
        verdict(share("bare") < 1.0 / 6.0),
        verdict(share("headers") < 0.2),
        verdict(run_time("bare") < 2e3),
        verdict(run_time("headers") < 2e3)
    )
}

fn programs(text: &mut String, results: &Results) -> fmt::Result {
    writeln!(text, "\n## BPF programs\n")?;
    writeln!(text, "| | spans | traps | reads of user memory | run time, ns |\n|---|---|---|---|---|")?;
    for scenario in &SCENARIOS {
        writeln!(
            text,
            "| {} | {} | {:.2} | {:.1} | {:.0} |",
            scenario.title,
            scenario.spans,
            results.traps(scenario.name, Way::Lightfoot).median,
            reads(results, scenario),
            results.run_time(scenario.name, Way::Lightfoot)
        )?;
    }
    writeln!(
        text,
        "\nThe kernel's verifier follows {} instructions, in all of the agent's programs together.",
        results.agent.verified_instructions
    )
}

fn agent(text: &mut String, results: &Results) -> fmt::Result {
    let size = &results.agent;
    writeln!(text, "\n## The agent\n\n| | |\n|---|---|")?;
    writeln!(text, "| processor time, a span of a bare request | {:.1} µs |", agent_each(results))?;
    writeln!(text, "| memory, at most | {:.1} MB |", size.peak_bytes as f64 / 1e6)?;
    writeln!(text, "| BPF maps | {:.1} MB |", size.map_bytes as f64 / 1e6)?;
    writeln!(text, "| from start to first span | {:.0} ms |", Spread::of(size.first_span.iter().copied()))?;
    for one in &results.delivered {
        let (way, share) = (one.way.title(), 100.0 * one.arrived as f64 / one.expected as f64);
        writeln!(text, "| spans that arrived, {way} | {} of {}, {share:.2} % |", one.arrived, one.expected)?;
        if one.way == Way::Lightfoot {
            let each = one.agent / one.arrived as f64;
            writeln!(
                text,
                "| processor time of the whole run, other ways' turns included, a span | {each:.1} µs |"
            )?;
        }
    }
    Ok(())
}

/// Microseconds of the agent for a span while as many come as can.
fn agent_each(results: &Results) -> Spread {
    let samples = results.of("bare", Pace::Saturation, Way::Lightfoot);
    Spread::of(samples.map(|one| one.agent / one.requests as f64))
}

fn reads(results: &Results, scenario: &Scenario) -> f64 {
    let found = results.reads.iter().find(|one| one.scenario == scenario.name);
    found.map_or(f64::NAN, |one| one.all as f64 / one.requests as f64)
}

fn added_plot(results: &Results) -> String {
    groups(results, "Added processor time at saturation, µs a request", |scenario, way| {
        (way != Way::Nothing).then(|| results.added(scenario, Pace::Saturation, way))
    })
}

fn plot(results: &Results, title: &str, pace: Pace, value: fn(&Sample) -> f64) -> String {
    groups(results, title, |scenario, way| Some(results.spread(scenario, pace, way, value)))
}

fn groups(results: &Results, title: &str, value: impl Fn(&str, Way) -> Option<Spread>) -> String {
    let rows = |scenario: &Scenario| {
        let all = results.ways.iter();
        all.filter_map(|way| Some((way.title(), *way as usize, value(scenario.name, *way)?))).collect()
    };
    let groups = SCENARIOS.iter().map(|one| Group { title: one.title.to_owned(), rows: rows(one) });
    plot::dots(title, &groups.collect::<Vec<_>>())
}
