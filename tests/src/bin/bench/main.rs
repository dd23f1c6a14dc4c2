//! `make bench`: what Lightfoot costs, beside what others take for the same, in one run.
//!
//! - `bench [--write] [NAME…]` prints the tables, or those with these names. The page of `overhead`, with its data, goes to
//!   `target/bench`, as do the data of `grpc`. With `--write` the tables go into README.md between their marks, and what is in
//!   `target/bench` to `docs/bench`.
//! - `bench quick FOLDER` goes through all that makes the page and the data of `grpc`, with rounds too short to tell anything.
//! - `bench render FOLDER` makes the page anew from the data there.
//! - `bench against LIGHTFOOT OTHER` compares two builds of the agent.
//! - `bench measure COMMAND…` runs one command and prints its CPU seconds and its peak memory.
//!
//! Modules, in reading order:
//! - [`inspect`]: reading programs; [`request`]: a request that is not sampled; [`grpc`]: calls, and
//!   [`calls`]: what was measured of them; [`agent`]: the agent alone;
//!   [`discovery`]: with many processes.
//! - [`scenario`]: what is asked, and who traces; [`service`]: the servers and agents; [`load`]: the
//!   client; [`measure`]: the turns; [`machine`]: where.
//! - [`results`]: what was measured; [`spread`]: medians of it; [`report`]: the page; [`plot`]: its plots.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, io};

use lightfoot_tests::{live, readme};

use calls::Calls;
use measure::Agents;
use results::{Plan, Results};

mod agent;
mod calls;
mod discovery;
mod grpc;
mod inspect;
mod load;
mod machine;
mod measure;
mod plot;
mod report;
mod request;
mod results;
mod scenario;
mod service;
mod spread;

/// How often everything runs; the median is told.
const ROUNDS: usize = 7;
const PLAN: Plan = Plan { rounds: ROUNDS, milliseconds: 800, connections: 16 };
/// Calls of each way and side in a round.
const CALLS: u32 = 10_000;
/// Longer than an agent that was idle leaves its ring alone (`QUIET_DRAIN`, agent/src/session.rs): in less it may do nothing.
const QUICK: Plan = Plan { rounds: 1, milliseconds: 250, connections: 4 };
const FEW_CALLS: u32 = 200;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["measure", command, rest @ ..] => inspect::measure_here(command, rest),
        ["quick", folder] => quick(Path::new(folder)),
        ["render", folder] => render(Path::new(folder)),
        ["against", one, other] => against(one.into(), other.into()),
        ["--write", parts @ ..] => tables(true, parts),
        parts => tables(false, parts),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How a table is made, given the repository and the command; `None` where it cannot be had.
type Table = fn(&Path, &Path) -> Result<Option<String>, Box<dyn Error>>;

/// All of them, by their names in README.md.
const TABLES: [(&str, Table); 7] = [
    ("inspect", inspect::table),
    ("overhead", overhead_table),
    ("request", |_, lightfoot| request::table(lightfoot)),
    ("grpc", grpc_table),
    ("agent", |_, lightfoot| agent::table(lightfoot)),
    ("discovery", |_, lightfoot| discovery::table(lightfoot)),
    ("delivery", delivery_table),
];

/// Those with these names that can be had here; all if none is named.
fn tables(write: bool, names: &[&str]) -> Result<(), Box<dyn Error>> {
    let is_known = |name: &&str| TABLES.iter().any(|(known, _)| known == name);
    if !names.iter().all(is_known) {
        return Err(format!(
            "{names:?} are not all among {:?}; see its source",
            TABLES.map(|(name, _)| name)
        )
        .into());
    }
    let root = root();
    let lightfoot = build(&root)?;
    for (name, table) in TABLES.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        let Some(table) = table(&root, &lightfoot)? else { continue };
        println!("{table}");
        if write {
            readme::show(&format!("bench:{name}"), &table)?;
        }
    }
    let is_written = |name: &str| write && (names.is_empty() || names.contains(&name));
    let (made, kept) = (root.join("target/bench"), root.join("docs/bench"));
    if is_written("grpc") {
        fs::copy(made.join("grpc.json"), kept.join("grpc.json"))?;
    }
    if is_written("overhead") {
        fs::copy(made.join("results.json"), kept.join("results.json"))?;
        render(&kept)?;
    }
    Ok(())
}

fn grpc_table(root: &Path, lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let Some(calls) = grpc::measure(lightfoot, ROUNDS, CALLS)? else { return Ok(None) };
    save_calls(&calls, &root.join("target/bench"))?;
    Ok(Some(calls.table()?))
}

fn overhead_table(root: &Path, lightfoot: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let agents = Agents { lightfoot: lightfoot.to_owned(), other: None };
    let Some(results) = measure::all(&agents, PLAN)? else { return Ok(None) };
    let folder = root.join("target/bench");
    save(&results, &folder)?;
    eprintln!("the page is {}", folder.join("README.md").display());
    Ok(Some(report::summary(&results)?))
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

fn quick(folder: &Path) -> Result<(), Box<dyn Error>> {
    let agents = Agents { lightfoot: live::lightfoot(), other: None };
    if let Some(results) = measure::all(&agents, QUICK)? {
        save(&results, folder)?;
    }
    if let Some(calls) = grpc::measure(&agents.lightfoot, QUICK.rounds, FEW_CALLS)? {
        println!("{}", calls.table()?);
        save_calls(&calls, folder)?;
    }
    Ok(())
}

fn render(folder: &Path) -> Result<(), Box<dyn Error>> {
    let results: Results = serde_json::from_str(&fs::read_to_string(folder.join("results.json"))?)?;
    Ok(write_files(&results, folder)?)
}

fn against(one: PathBuf, other: PathBuf) -> Result<(), Box<dyn Error>> {
    if let Some(results) = measure::all(&Agents { lightfoot: one, other: Some(other) }, PLAN)? {
        println!("{}", report::comparison(&results)?);
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn build(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    eprintln!(
        "building lightfoot, and what it is tried on (10 min for a stripped kube-apiserver that is not there yet)"
    );
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "lightfoot"])
        .current_dir(root)
        .status()?;
    if !built.success() {
        return Err("lightfoot does not build".into());
    }
    Ok(root.join("target/release/lightfoot").canonicalize()?)
}

fn verdict(ok: bool) -> &'static str {
    if ok { "met" } else { "**not met**" }
}

fn median<T>(mut costs: Vec<T>, key: fn(&T) -> f64) -> f64 {
    costs.sort_by(|a, b| key(a).total_cmp(&key(b)));
    costs.get(costs.len() / 2).map_or(f64::NAN, key)
}

fn save(results: &Results, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("results.json"), serde_json::to_string_pretty(results)? + "\n")?;
    Ok(write_files(results, folder)?)
}

fn save_calls(calls: &Calls, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("grpc.json"), serde_json::to_string_pretty(calls)? + "\n")?)
}

fn write_files(results: &Results, folder: &Path) -> io::Result<()> {
    let files = report::files(results).map_err(io::Error::other)?;
    files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}
