//! What the agent before this one left, and what this one leaves.

use std::path::Path;

use anyhow::Context as _;
use tokio::time::interval;

use super::Arguments;
use crate::cli::counts::Counts;
use crate::cli::report::say;
use crate::counters::SessionCounter;
use crate::state::{DEFAULT_FOLDER, Mark, REFRESH};

/// Leaves a mark, and tells of those that were left. `None` if nothing was asked for and there is no place for it.
pub(super) fn leave(arguments: &Arguments, counts: &Counts) -> anyhow::Result<Option<Mark>> {
    let watched = watched(arguments);
    let left = match &arguments.state_dir {
        Some(folder) => Mark::leave(folder, &watched).context("--state-dir")?,
        None => match Mark::leave(Path::new(DEFAULT_FOLDER), &watched) {
            Ok(left) => left,
            Err(error) => {
                if arguments.verbose {
                    let error = anyhow::Error::from(error);
                    say("state", &format!("if this is killed, the next start cannot tell: {error:#}"));
                }
                return Ok(None);
            }
        },
    };
    let (mark, found) = left;
    counts.add(SessionCounter::UncleanStops, u64::try_from(found.len()).unwrap_or(u64::MAX));
    for finding in found {
        say("warning", &finding.to_string());
    }
    Ok(Some(mark))
}

/// Does as `run`, and says meanwhile that the agent is alive.
pub(super) async fn refreshing<T>(mark: Option<&Mark>, run: impl Future<Output = T>) -> T {
    let refresh = async {
        let mut tick = interval(REFRESH);
        loop {
            tick.tick().await;
            mark.inspect(|mark| mark.refresh());
        }
    };
    tokio::select! {
        result = run => result,
        never = refresh => never,
    }
}

/// What was asked for, as it was said.
fn watched(arguments: &Arguments) -> String {
    let pids = arguments.watching.pid.iter().map(|pid| format!("--pid {pid}"));
    let executables = arguments.watching.exe.iter().map(|pattern| format!("--exe {}", pattern.glob()));
    let ports = arguments.watching.port.iter().map(|port| format!("--port {port}"));
    let command = arguments.watching.command.first().map(|program| format!("-- {}", program.display()));
    let said: Vec<_> = pids.chain(executables).chain(ports).chain(command).collect();
    if said.is_empty() { "every Go server".to_owned() } else { said.join(" ") }
}
