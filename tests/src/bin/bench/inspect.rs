//! What `lightfoot inspect` costs, beside what others take to read the same files.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lightfoot_tests::go::version::NEWEST;
use lightfoot_tests::go::{Build, GoToolchain, GoVersion, Mode, Program};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::{ROUNDS, median, verdict};

pub(crate) fn table(root: &Path, lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
    eprintln!("building a stripped kube-apiserver (10 min if it is not there yet)");
    let lightfoot = lightfoot.to_str().ok_or("the path of lightfoot is not UTF-8")?;
    let script = Command::new("bash").arg(root.join("tests/targets/big/build.sh")).output()?;
    let big = PathBuf::from(String::from_utf8(script.stdout)?.trim());
    let megabytes = fs::metadata(&big)?.len() / 1_000_000;
    let small = Build::here(Program::Http, NEWEST, Mode::Stripped).path()?;
    let small_megabytes = fs::metadata(&small)?.len() / 1_000_000;
    let go = GoToolchain::find(GoVersion::of_minor(26).ok_or("Go 1.26 is not among the versions")?)?.go;
    let (big, small) = (big.to_str().ok_or("not UTF-8")?, small.to_str().ok_or("not UTF-8")?);
    let go = go.to_str().ok_or("the path of go is not UTF-8")?;
    let [big_cost, nm, small_cost, version] = medians([
        &[lightfoot, "inspect", "--json", big],
        &[go, "tool", "nm", big],
        &[lightfoot, "inspect", "--json", small],
        &[lightfoot, "--version"],
    ])?;
    let mut table = String::new();
    writeln!(
        table,
        "Medians of {ROUNDS} runs in turns; `go tool nm` reads the same file and finds no symbols in it.\n"
    )?;
    writeln!(table, "| | CPU | peak memory |")?;
    writeln!(table, "|---|---|---|")?;
    let mut row = |name: &str, cost: Cost| {
        writeln!(table, "| {name} | {:.0} ms | {:.0} MB |", cost.cpu * 1e3, cost.peak_mb)
    };
    row(&format!("`lightfoot inspect` of a stripped kube-apiserver ({megabytes} MB)"), big_cost)?;
    row("`go tool nm` of the same", nm)?;
    row(&format!("`lightfoot inspect` of a small server ({small_megabytes} MB, stripped)"), small_cost)?;
    row("`lightfoot --version`: starting alone", version)?;
    writeln!(
        table,
        "\nTargets: the big one under 200 ms of one core ({}) and 40 MB ({}), the small one under 10 ms ({}).",
        verdict(big_cost.cpu < 0.2),
        verdict(big_cost.peak_mb < 40.0),
        verdict(small_cost.cpu < 0.01)
    )?;
    Ok(Some(table))
}

/// CPU seconds and peak memory of a command.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    peak_mb: f64,
}

/// Runs a command as the only child of this process, whose children's usage is then the command's.
pub(crate) fn measure_here(command: &str, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    // Exit codes are the command's business: `go tool nm` fails on a stripped file after reading all of it.
    Command::new(command).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!("{microseconds} {}", usage.max_rss());
    Ok(())
}

/// The medians of several commands, run in turns so that a busy moment hits all alike.
fn medians<const N: usize>(commands: [&[&str]; N]) -> Result<[Cost; N], Box<dyn Error>> {
    let mut costs: [Vec<Cost>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (command, costs) in commands.iter().zip(&mut costs) {
            let output = Command::new(env::current_exe()?).arg("measure").args(*command).output()?;
            let text = String::from_utf8(output.stdout)?;
            let (cpu, peak) = text.trim().split_once(' ').ok_or("a command could not be measured")?;
            costs.push(Cost { cpu: cpu.parse::<f64>()? / 1e6, peak_mb: peak.parse::<f64>()? / 1024.0 });
        }
    }
    Ok(costs
        .map(|costs| Cost { cpu: median(costs.clone(), |c| c.cpu), peak_mb: median(costs, |c| c.peak_mb) }))
}
