//! `lightfoot log-level`: how much running agents say.

use std::io::Write as _;

use super::agents::{AgentsArguments, checked};
use super::page;
use crate::escape::printable;
use crate::logs::Level;
use crate::status::client;

/// Show how much running agents say on standard error, or change it
///
/// It holds until they end. The configuration and what they were started with stay as they are.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all have answered, 1 nobody is there or somebody does not answer, 2 wrong usage.\n\n\
                        Examples:\n  sudo lightfoot log-level\n  sudo lightfoot log-level debug"
)]
pub(super) struct Arguments {
    /// From now on
    level: Option<Level>,
    #[command(flatten)]
    agents: AgentsArguments,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut page = page();
    arguments.agents.each(|socket| {
        let answer = match arguments.level {
            Some(level) => client::put(socket, "/log-level", level.name())?,
            None => client::get(socket, "/log-level")?,
        };
        let level = checked(socket, answer)?;
        writeln!(page, "{}  {}", printable(level.trim_end()), printable(&socket.display().to_string()))?;
        Ok(())
    })
}
