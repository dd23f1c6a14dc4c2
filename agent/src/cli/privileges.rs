//! `lightfoot privileges`: what each capability is for.

use std::io::Write as _;

use serde::Serialize;

use super::report::{GOOD, QUIET};
use super::{SUCCESS, page};
use crate::capabilities::{self, PURPOSES, Purpose};

/// Of the form that docs/privileges.md describes.
const SCHEMA: u32 = 1;

/// Print which capabilities are of use, what for, and whether they are there
///
/// `run` and `record` give all others up once everything is loaded, and those that the chosen way of working does not take.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sudo lightfoot privileges\n  lightfoot privileges --json | jq '.capabilities[].name'\n\n\
                        Exit codes: 0 success, 1 failure, 2 wrong usage."
)]
pub(super) struct Arguments {
    /// Print everything as JSON, for machines
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    capabilities: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    purpose: Purpose,
    /// Whether this process has it; null if the kernel does not tell.
    is_held: Option<bool>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let effective = capabilities::effective();
    let row = |purpose: Purpose| Row { purpose, is_held: effective.map(|set| purpose.is_in(set)) };
    let capabilities = PURPOSES.map(row).into();
    let mut page = page();
    if arguments.json {
        serde_json::to_writer_pretty(&mut page, &Report { schema: SCHEMA, capabilities })?;
        writeln!(page)?;
        return Ok(SUCCESS);
    }
    for Row { purpose: Purpose { name, why, lost, .. }, is_held } in capabilities {
        let (style, sign) = match is_held {
            Some(true) => (GOOD, '✓'),
            Some(false) => (QUIET, '–'),
            None => (QUIET, '?'),
        };
        writeln!(page, "{style}{sign}{style:#} {name:20} {why}; without it {lost}")?;
    }
    Ok(SUCCESS)
}
