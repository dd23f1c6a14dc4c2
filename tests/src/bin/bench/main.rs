//! `make bench`: what Lightfoot costs, beside what others take for the same, in one run.
//!
//! `bench [--write] [NAME…]` prints the tables, or those with these names, and with `--write` puts them into README.md between
//! its marks.
//! `bench measure COMMAND…` runs one command and prints its CPU seconds and its peak memory.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use lightfoot_tests::go::version::NEWEST;
use lightfoot_tests::go::{Build, GoToolchain, GoVersion, Mode, Program};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

mod agent;
mod grpc;
mod request;

/// How often each command runs; the median is told.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["measure", command, rest @ ..] => measure_here(command, rest),
        ["--write", names @ ..] => {
            tables(names).and_then(|tables| tables.iter().try_for_each(|(name, table)| write(name, table)))
        }
        names => tables(names).map(|tables| tables.iter().for_each(|(_, table)| println!("{table}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// CPU seconds and peak memory of a command.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    peak_mb: f64,
}

/// Runs a command as the only child of this process, whose children's usage is then the command's.
fn measure_here(command: &str, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
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

fn median<T>(mut costs: Vec<T>, key: fn(&T) -> f64) -> f64 {
    costs.sort_by(|a, b| key(a).total_cmp(&key(b)));
    costs.get(costs.len() / 2).map_or(f64::NAN, key)
}

/// How a table is made, given the repository and the command; `None` where it cannot be had.
type Table = fn(&Path, &Path) -> Result<Option<String>, Box<dyn Error>>;

/// All of them, by their names in README.md.
const TABLES: [(&str, Table); 5] = [
    ("inspect", inspect_table),
    ("request", |_, lightfoot| request::table(lightfoot)),
    ("grpc", |_, lightfoot| grpc::table(lightfoot)),
    ("agent", |_, lightfoot| agent::table(lightfoot)),
    ("delivery", delivery_table),
];

/// Those with these names that can be had here; all if none is named.
fn tables(names: &[&str]) -> Result<Vec<(&'static str, String)>, Box<dyn Error>> {
    let is_known = |name: &&str| TABLES.iter().any(|(known, _)| known == name);
    if !names.iter().all(is_known) {
        return Err(format!("usage: bench [--write] {:?}", TABLES.map(|(name, _)| name)).into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "lightfoot"])
        .current_dir(&root)
        .status()?;
    if !built.success() {
        return Err("lightfoot does not build".into());
    }
    let lightfoot = root.join("target/release/lightfoot").canonicalize()?;
    let wanted = TABLES.into_iter().filter(|(name, _)| names.is_empty() || names.contains(name));
    wanted
        .filter_map(|(name, table)| match table(&root, &lightfoot) {
            Ok(table) => Some(Ok((name, table?))),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

fn inspect_table(root: &Path, lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
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

fn verdict(ok: bool) -> &'static str {
    if ok { "met" } else { "**not met**" }
}

/// What a span costs stage by stage, as `agent/benches/delivery.rs` prints it.
fn delivery_table(root: &Path, _: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let output = Command::new(env!("CARGO"))
        .args(["bench", "--quiet", "--package", "lightfoot", "--bench", "delivery"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the bench of delivery fails".into());
    }
    Ok(Some(String::from_utf8(output.stdout)?))
}

fn write(name: &str, table: &str) -> Result<(), Box<dyn Error>> {
    let (start, end) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(&start).ok_or("README.md has no place for the table")?;
    let (_, after) = rest.split_once(&end).ok_or("README.md has no end of the place for the table")?;
    println!("{table}");
    Ok(fs::write(&path, format!("{before}{start}{table}{end}{after}"))?)
}
