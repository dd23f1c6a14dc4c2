//! `lightfoot doctor`: what can be done here, what is lost, and what to do about it.

use std::io::{self, Write};

use serde::Serialize;

use super::config::ConfigArguments;
use super::report::{BAD, DEAR, GOOD, HEADING, QUIET};
use super::{NOTHING_TO_WATCH, SUCCESS, WITH_LOSSES, page};
use crate::deliver::Flags;
use crate::doctor::{Check, Findings, Price, Status};
use crate::escape::{pretty_json, printable};

/// Of the form that docs/doctor.md describes.
const SCHEMA: u32 = 1;

/// Try out what this host, its kernel and your rights allow
///
/// Each line is found by trying what `run` does: loading the BPF programs, placing a probe in Lightfoot's own code,
/// reading other processes, sending an empty request to the endpoint if one is set. What is lost is said with advice.
/// The price of a trap is measured on this host. It takes some seconds.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 failure, 2 wrong usage, 3 nothing can be watched here or `run` would \
                        refuse to start, 4 services can be watched, but something is lost.\n\n\
                        Examples:\n  sudo lightfoot doctor\n  sudo lightfoot doctor --json | jq .price\n  \
                        sudo lightfoot doctor --endpoint http://127.0.0.1:4318"
)]
pub(super) struct Arguments {
    /// Print everything as JSON, for machines
    #[arg(long)]
    json: bool,
    /// Try this OTLP endpoint, as OTEL_EXPORTER_OTLP_ENDPOINT (which sudo drops)
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// How to speak to it: grpc, http/protobuf or http/json, as OTEL_EXPORTER_OTLP_PROTOCOL
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    version: &'static str,
    verdict: &'static str,
    exit_code: u8,
    checks: &'a [Check],
    price: Option<&'a Price>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let flags = Flags {
        endpoint: arguments.endpoint.clone(),
        protocol: arguments.protocol.clone(),
        ..Flags::default()
    };
    let findings = Findings::gather(&flags, arguments.config.load());
    let (verdict, exit_code) = match findings.worst() {
        Status::Missing => ("impossible", NOTHING_TO_WATCH),
        Status::Lost => ("with_losses", WITH_LOSSES),
        Status::Good | Status::Note => ("ready", SUCCESS),
    };
    let mut page = page();
    if arguments.json {
        let report = Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            verdict,
            exit_code,
            checks: &findings.checks,
            price: findings.price.as_ref(),
        };
        writeln!(page, "{}", pretty_json(&report)?)?;
    } else {
        for check in &findings.checks {
            write(check, &mut page)?;
        }
        let verdict = match findings.worst() {
            Status::Missing => "Nothing can be watched here as it is.",
            Status::Lost => "Go services can be watched, but something is lost.",
            Status::Good | Status::Note => "Everything that is needed is there.",
        };
        writeln!(page, "{HEADING}{verdict}{HEADING:#}")?;
    }
    Ok(exit_code)
}

/// A line; what went wrong has its loss and the advice on it too, so that `grep ✗` shows all.
fn write(check: &Check, page: &mut impl Write) -> io::Result<()> {
    let (style, sign) = match check.status {
        Status::Good => (GOOD, '✓'),
        Status::Lost => (DEAR, '✗'),
        Status::Missing => (BAD, '✗'),
        Status::Note => (QUIET, '–'),
    };
    write!(page, "{style}{sign}{style:#} {:22} {}", check.id, printable(&check.found))?;
    if let Some(lost) = &check.lost {
        write!(page, "; lost: {}", printable(lost))?;
    }
    if let Some(advice) = &check.advice {
        write!(page, "; {QUIET}advice: {}{QUIET:#}", printable(advice))?;
    }
    writeln!(page)
}
