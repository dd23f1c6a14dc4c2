//! `lightfoot targets`: what `run` would watch, and why.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::report::{BAD, GOOD, QUIET};
use super::{SUCCESS, page, run};
use crate::clock::Clock;
use crate::discover::{Decision, Proc};
use crate::escape::{pretty_json, printable};
use crate::resource::{Host, NamedBy, ProcessIdentity};
use crate::watch::survey::{Candidate, survey};

/// Show which processes `run` would watch, the rule that decides, and what their services are called
///
/// It takes the flags of `run`, and its configuration file. Nothing is attached, and nothing is loaded. Of the processes of
/// others only root sees the programs.
#[derive(clap::Args)]
#[group(skip)]
#[command(
    after_help = "Examples:\n  sudo lightfoot targets\n  sudo lightfoot targets --config config.yaml\n  \
                        sudo lightfoot targets --json | jq '.targets[] | select(.decision == \"watch\")'\n\n\
                  Exit codes: 0 success, 1 failure, 2 wrong usage."
)]
pub(super) struct Arguments {
    /// Print everything as JSON, for machines
    #[arg(long)]
    json: bool,
    /// Show also the processes that are no Go programs, and those that nobody asked for
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    run: Box<run::Arguments>,
}

#[derive(Serialize)]
struct Report {
    targets: Vec<Target>,
    /// Processes whose programs may not be seen.
    hidden: usize,
}

/// A process, and what would become of it.
#[derive(Serialize)]
struct Target {
    pid: u32,
    executable: String,
    /// `watch`, `leave`, `wait`, or `cannot` be watched though a rule asks for it.
    decision: &'static str,
    /// The rule that decided.
    rule: String,
    /// Why it cannot be watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Service>,
    /// Whether trace contexts are to be added to what it sends.
    propagates: bool,
    #[serde(skip)]
    is_of_interest: bool,
}

#[derive(Serialize)]
struct Service {
    name: String,
    /// What gave it that name.
    named_by: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let config = arguments.run.config.load()?;
    let read = arguments.run.read(&config)?;
    let mut selection = arguments.run.selection(&config, &read.peers, run::local_endpoint(&read.settings));
    if selection.rules.ask_for_pods() {
        selection.pods = arguments.run.pods(&config)?;
    }
    let (candidates, hidden) = survey(&Proc::default(), &selection, arguments.run.coexistence(&config))?;
    let (host, clock) = (Host::detect(Path::new("/proc")), Clock::start());
    let propagates = arguments.run.propagates(&config);
    let target = |candidate| Target::new(candidate, propagates, &host, &clock);
    let targets = candidates.into_iter().map(target).collect();
    let report = Report { targets, hidden };
    let mut page = page();
    if arguments.json {
        writeln!(page, "{}", pretty_json(&report)?)?;
    } else {
        report.write(arguments.all, &mut page)?;
    }
    Ok(SUCCESS)
}

impl Target {
    fn new(candidate: Candidate, propagates: bool, host: &Host, clock: &Clock) -> Self {
        let Candidate { pid, executable, decision, obstacle, build_info, treatment } = candidate;
        let (decision, rule) = match (decision, &obstacle) {
            (Decision::Watch(rule), Some(_)) => ("cannot", rule),
            (Decision::Watch(rule), None) => ("watch", rule),
            (Decision::Leave(rule), _) => ("leave", rule),
            (Decision::Wait(rule), _) => ("wait", rule),
        };
        let propagates = decision == "watch" && treatment.propagates().unwrap_or(propagates);
        let identity = build_info.as_ref().and_then(|build_info| {
            ProcessIdentity::read(Path::new("/proc"), pid, build_info, treatment.name(), host, clock).ok()
        });
        let service = identity.map(|identity| Service {
            named_by: match (identity.named_by, treatment.service_name) {
                (NamedBy::Rule, Some((_, label))) => label.to_string(),
                (named_by, _) => named_by.to_string(),
            },
            name: identity.service_name,
        });
        Self {
            pid,
            executable: executable.display().to_string(),
            decision,
            is_of_interest: decision == "watch" || rule.is_explicit() || service.is_some(),
            rule: rule.to_string(),
            reason: obstacle.map(|obstacle| format!("{:#}", anyhow::Error::from(obstacle))),
            service,
            propagates,
        }
    }

    fn write(&self, page: &mut impl Write) -> io::Result<()> {
        let style = match self.decision {
            "watch" => GOOD,
            "cannot" => BAD,
            _ => QUIET,
        };
        let (decision, path) = (self.decision, printable(&self.executable));
        write!(page, "{style}{decision:6}{style:#} {:>7}  {path}  {}", self.pid, printable(&self.rule))?;
        if let Some(Service { name, named_by }) = self.service.as_ref().filter(|_| decision == "watch") {
            write!(page, "; service {}, named by {}", printable(name), printable(named_by))?;
        }
        if self.propagates {
            write!(page, "; trace contexts are added to what it sends")?;
        }
        if let Some(reason) = &self.reason {
            write!(page, "; {}", printable(reason))?;
        }
        writeln!(page)
    }
}

impl Report {
    fn write(&self, all: bool, page: &mut impl Write) -> io::Result<()> {
        let (shown, rest): (Vec<_>, Vec<_>) =
            self.targets.iter().partition(|target| all || target.is_of_interest);
        for decision in ["watch", "cannot", "wait", "leave"] {
            shown
                .iter()
                .filter(|target| target.decision == decision)
                .try_for_each(|target| target.write(page))?;
        }
        if !rest.is_empty() {
            writeln!(
                page,
                "{QUIET}{} other processes are left alone; --all shows them{QUIET:#}",
                rest.len()
            )?;
        }
        if self.hidden != 0 {
            writeln!(
                page,
                "{QUIET}the programs of {} processes may not be seen; root sees them{QUIET:#}",
                self.hidden
            )?;
        }
        Ok(())
    }
}
