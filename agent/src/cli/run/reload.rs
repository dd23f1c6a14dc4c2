//! Following a configuration file that changes while we watch: on SIGHUP, and when it is another than a second ago.
//!
//! Rules take effect at once; the rest needs another start, and it is said what. A file that cannot be followed changes
//! nothing.

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::config::peers::Peers;
use crate::config::{Config, ConfigError};
use crate::discover::{FileIdentity, Rules};
use crate::session::Orders;

/// How often the file is looked at. Its path is followed anew each time: Kubernetes replaces a link.
const LOOK: Duration = Duration::from_secs(1);

/// Follows the file that `config` was read from, until it is dropped. `may_propagate` is whether anything has asked for programs that add
/// trace contexts when they were loaded.
pub(super) async fn follow(
    config: Config,
    peers: Peers,
    may_propagate: bool,
    orders: Orders,
    mut hangup: Signal,
) {
    let Some(path) = config.path.clone() else { return };
    // It may have changed since it was read, while all else began.
    let mut seen = config.identity;
    let mut running = config;
    let mut untold: Option<Rules> = None;
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_asked = tokio::select! {
            asked = hangup.recv() => asked.is_some(),
            _ = tick.tick() => false,
        };
        let now = FileIdentity::of(&path).ok();
        // Between two versions there may be none for a moment.
        let has_changed = now.is_some() && now != seen;
        if has_changed || is_asked {
            seen = now;
            match read(&path, &peers) {
                Ok((config, rules)) => {
                    take(&running, &config, rules.ask_to_propagate() && !may_propagate);
                    untold = Some(rules);
                    running.file.rules = config.file.rules;
                    running.file.others = config.file.others;
                }
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    error!(error, "the configuration cannot be followed; what held before holds");
                }
            }
        }
        untold = untold.filter(|rules| !orders.rules(rules.clone()));
    }
}

fn read(path: &Path, peers: &Peers) -> Result<(Config, Rules), ConfigError> {
    let config = Config::load(path)?;
    let rules = config.rules_after(peers);
    Ok((config, rules))
}

/// Says what becomes of what the file says now; `lacks_programs` is whether rules ask for programs that are not loaded.
fn take(running: &Config, config: &Config, lacks_programs: bool) {
    let path = config.path.as_deref().unwrap_or(Path::new("")).display();
    info!(%path, rules = config.file.rules.len(), "following the configuration anew");
    let sections = [
        ("export", running.file.export != config.file.export),
        ("traces", running.file.traces != config.file.traces),
        ("metrics", running.file.metrics != config.file.metrics),
        ("watching", running.file.watching != config.file.watching),
        ("kubernetes", running.file.kubernetes != config.file.kubernetes),
        ("log", running.file.log != config.file.log),
        ("state_dir", running.file.state_dir != config.file.state_dir),
        ("status_socket", running.file.status_socket != config.file.status_socket),
        ("status_listen", running.file.status_listen != config.file.status_listen),
        ("status_token", running.file.status_token != config.file.status_token),
        ("propagate in rules", lacks_programs),
        ("pause_file", running.file.pause_file != config.file.pause_file),
    ];
    let later: Vec<_> = sections.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    if !later.is_empty() {
        let sections = later.join(", ");
        warn!(sections, "changes that take effect at the next start");
    }
}
