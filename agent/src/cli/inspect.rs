//! `lightfoot inspect`: what can be watched in a program, and what cannot and why.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use super::{NOTHING_TO_WATCH, SUCCESS, page, report};
use crate::escape::pretty_json;
use crate::inspect::Program;
use crate::plan::Plan;

/// Show what can be watched in a Go program
///
/// Reads the file and decodes its code; nothing is attached, nothing runs, no privileges are needed for a file that
/// you may read. Each probe is shown with its address, the instruction under it and its price: "emulated" costs the
/// program well under a microsecond, "stepped" many times that, "cold" nothing until an error takes that path.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  lightfoot inspect ./server\n  sudo lightfoot inspect 4711\n  \
                        lightfoot inspect --json /usr/bin/etcd | jq '.libraries[].operations'\n\n\
                        Exit codes: 0 something can be watched, 1 the file cannot be read or is no Go program that can be \
                        inspected, 2 wrong usage, 3 nothing in it can be watched.")]
pub(super) struct Arguments {
    /// A Go program's file, or the number of a running process
    #[arg(value_name = "PATH|PID")]
    target: PathBuf,
    /// Print everything as JSON, for machines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let path = path_of(&arguments.target);
    let program = Program::inspect(&path)?;
    let plan = Plan::new(&program);
    let report = report::Report::new(&path, &program, &plan);
    let mut page = page();
    if arguments.json {
        writeln!(page, "{}", pretty_json(&report)?)?;
    } else {
        report.write(&mut page)?;
    }
    Ok(if report.can_be_watched { SUCCESS } else { NOTHING_TO_WATCH })
}

/// A number is a process, unless a file of that name is here.
fn path_of(target: &std::path::Path) -> PathBuf {
    let pid = target.to_str().and_then(|text| text.parse::<u32>().ok());
    match pid {
        Some(pid) if fs::symlink_metadata(target).is_err() => PathBuf::from(format!("/proc/{pid}/exe")),
        _ => target.to_owned(),
    }
}
