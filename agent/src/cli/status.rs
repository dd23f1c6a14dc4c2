//! `lightfoot status`: how running agents are doing.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::agents::{AgentsArguments, checked, status_of};
use super::{SUCCESS, page};
use crate::escape::json;
use crate::status::client;

mod table;

/// How often it is looked anew.
const INTERVAL: Duration = Duration::from_secs(1);
/// To the upper left corner, and all that is below it away (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Show how running agents are doing: what they watch, what became of spans, and why there are none
///
/// It asks each agent of this user that runs on this host, by its unix socket. Root sees also those whose user is another one
/// and whose sockets are in /run/lightfoot.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all have answered, 1 nobody is there, or somebody does not answer or is not as --check asks, 2 wrong usage.\n\n\
                        Examples:\n  sudo lightfoot status\n  sudo lightfoot status --watch\n  \
                        sudo lightfoot status --json | jq '.processes[] | select(.spans == 0) | .because'\n  \
                        lightfoot status --check ready"
)]
pub(super) struct Arguments {
    /// Print everything as JSON, an object a line for each agent
    #[arg(long)]
    json: bool,
    /// Look anew each second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print nothing, and tell by the exit code whether all are so: what the probes of Kubernetes run
    #[arg(long, value_name = "STATE", conflicts_with_all = ["json", "watch"])]
    check: Option<Health>,
    #[command(flatten)]
    agents: AgentsArguments,
}

/// What `--check` asks.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Health {
    /// Its threads turn
    Live,
    /// All processes that were there at the start have been looked at
    Ready,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if let Some(health) = arguments.check {
        let path = match health {
            Health::Live => "/health/live",
            Health::Ready => "/health/ready",
        };
        return arguments.agents.each(|socket| checked(socket, client::get(socket, path)?).map(drop));
    }
    loop {
        let mut page = page();
        if arguments.watch && !arguments.json && io::stdout().is_terminal() {
            page.write_all(CLEAR.as_bytes())?;
        }
        let mut shown = 0;
        // Agents come and go meanwhile.
        let code = arguments.agents.each(|socket| {
            show(socket, arguments.json, shown, &mut page)?;
            shown += 1;
            Ok(())
        })?;
        page.flush()?;
        drop(page);
        if !arguments.watch || code != SUCCESS {
            return Ok(code);
        }
        thread::sleep(INTERVAL);
    }
}

fn show(socket: &Path, is_json: bool, number: usize, page: &mut impl Write) -> anyhow::Result<()> {
    let (status, whole) = status_of(socket)?;
    if is_json {
        // As it came: a newer agent may say more than is known here.
        return Ok(writeln!(page, "{}", json(whole.to_string()))?);
    }
    if number != 0 {
        writeln!(page)?;
    }
    Ok(table::write(&status, page)?)
}
