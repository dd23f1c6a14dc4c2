//! What the agent before this one left, and what this one leaves.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, interval_at};
use tracing::{debug, error, warn};

use super::Arguments;
use crate::cli::counts::Counts;
use crate::config::Config;
use crate::counters::SessionCounter;
use crate::deliver::Monitor;
use crate::logs;
use crate::state::{Finding, Left, Mark, REFRESH, default_folders, shown};

/// How long a span may be on its way from its end into the queue, or until it is printed: the ring is read ten times a second, a record
/// may wait a second for its process, and a tree half a second for the rest of it.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// Leaves a mark, and tells of those that were left. `None` if nothing was asked for and there is no place for it.
pub(super) fn leave(arguments: &Arguments, config: &Config, counts: &Counts) -> anyhow::Result<Option<Mark>> {
    let watched = watched(arguments);
    let flag = arguments.state_dir.as_ref().map(|folder| ("--state-dir", folder));
    let (mark, found) = match flag.or(config.file.state_dir.as_ref().map(|folder| ("state_dir", folder))) {
        Some((name, folder)) => {
            let (mark, found) = Mark::leave(folder, &watched).context(name)?;
            (Ok(mark), found)
        }
        None => Mark::leave_in_first(&default_folders(), &watched),
    };
    counts.add(SessionCounter::UncleanStops, u64::try_from(found.len()).unwrap_or(u64::MAX));
    for left in &found {
        say(&left.finding);
    }
    if !found.is_empty() {
        // Nobody else tells it.
        logs::finish();
        found.into_iter().for_each(Left::told);
    }
    match mark {
        Ok(mark) => {
            debug!(folder = %mark.folder().display(), "a mark tells the next start if this one is killed");
            Ok(Some(mark))
        }
        Err(error) => {
            warn!(%error, "no folder for a mark: if this one is killed, the next start does not tell");
            Ok(None)
        }
    }
}

fn say(finding: &Finding) {
    match finding {
        Finding::Unclean { pid, watched, alive, now, is_of_earlier_boot } => {
            let cause = if *is_of_earlier_boot { "the host went down" } else { "it was killed or failed" };
            // If it is not known, the time of day was set back.
            let since = alive.map_or_else(|| "unknown".to_owned(), |alive| shown(alive).to_string());
            let until = shown(*now);
            error!(pid, watched, cause, since, %until, "an earlier Lightfoot did not end as it should: spans are missing");
        }
        Finding::Unreadable { path } => {
            warn!(path = %path.display(), "a mark that cannot be read was removed: spans may be missing");
        }
    }
}

/// Does as `run`, and says meanwhile that the agent is alive, and what it has delivered.
pub(super) async fn refreshing<T>(
    mark: Option<&Mark>,
    delivery: Option<&Monitor>,
    run: impl Future<Output = T>,
) -> T {
    let refresh = async {
        let mut tick = interval_at(Instant::now() + REFRESH, REFRESH);
        loop {
            tick.tick().await;
            let waiting =
                delivery.and_then(Monitor::waiting_since).map_or(Duration::ZERO, |since| since.elapsed());
            mark.inspect(|mark| mark.refresh(waiting + ON_ITS_WAY));
        }
    };
    tokio::select! {
        // First what reads the ring, which was held up if this was.
        biased;
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::logs::testing::Heard;
    use crate::logs::{Format, Level};

    fn said(alive: Option<u64>, now: u64, is_of_earlier_boot: bool) -> String {
        let at = |seconds| -> SystemTime { UNIX_EPOCH + Duration::from_secs(seconds) };
        let heard = Heard::at(Level::Info, Format::Text);
        let (alive, now) = (alive.map(at), at(now));
        let watched = "--exe shop".to_owned();
        say(&Finding::Unclean { pid: 7, watched, alive, now, is_of_earlier_boot });
        heard.text()
    }

    #[test]
    fn a_kill_is_told_with_both_times_and_whether_the_host_went_down() {
        let usual = "error: an earlier Lightfoot did not end as it should: spans are missing  pid=7 watched=\"--exe shop\" \
                     cause=\"it was killed or failed\" since=1970-01-01T00:01:00Z until=1970-01-01T00:02:05Z\n";
        assert_eq!(said(Some(60), 125, false), usual);
        assert!(said(Some(60), 125, true).contains("cause=\"the host went down\" since=1970"));
        assert!(said(None, 125, false).contains("since=unknown until=1970-01-01T00:02:05Z"));
        // No panic in far futures.
        assert!(said(Some(1), 1 << 40, false).contains("until=9999-12-31"));
    }
}
