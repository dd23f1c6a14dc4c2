//! The tests as Cargo builds them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::trials::{AGENT, Machine};

/// A line of `cargo --message-format=json`.
#[derive(Deserialize)]
struct Message {
    /// Ends in `#NAME@VERSION`.
    package_id: Option<String>,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The executables of test programs, in the order of their names. Those for this machine are what `cargo test --workspace` runs: of
/// fewer packages most of them would be compiled with other features. For another they are linked statically, as `scripts/dist.sh` does it.
pub(crate) fn of(machine: Machine, programs: &[&str]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "--no-run", "--message-format=json"]);
    if machine.is_here() {
        command.arg("--workspace");
    } else {
        command.args(["--package", env!("CARGO_PKG_NAME")]);
    }
    if programs.contains(&AGENT) {
        command.args(["--package", AGENT, "--lib"]);
    }
    command.args(programs.iter().filter(|name| **name != AGENT).flat_map(|program| ["--test", program]));
    if !machine.is_here() {
        let target = format!("{}-unknown-linux-musl", machine.name());
        let compiler = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/zig-cc.sh");
        let linker = format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase());
        command.args(["--target", &target]).env(format!("CC_{target}"), compiler).env(linker, "rust-lld");
        // This machine's `strip` does not know them.
        command.env("CARGO_PROFILE_DEV_STRIP", "debuginfo");
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the tests cannot be built".into());
    }
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let messages: Vec<Message> = lines.map(serde_json::from_slice).collect::<Result<_, _>>()?;
    let executable = |program: &&str| {
        let package = format!("#{}@", if *program == AGENT { AGENT } else { env!("CARGO_PKG_NAME") });
        let is_of = |message: &&Message| {
            message.target.as_ref().is_some_and(|target| target.name == **program)
                && message.package_id.as_ref().is_some_and(|id| id.contains(&package))
        };
        let found = messages.iter().filter(is_of).find_map(|message| message.executable.clone());
        found.ok_or_else(|| format!("Cargo has built no {program}").into())
    };
    programs.iter().map(executable).collect()
}

/// The libraries that an executable is linked with, at the places where it looks for them; none if it is static.
pub(crate) fn libraries(executable: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let output = Command::new("ldd").arg(executable).output()?;
    let text = String::from_utf8(output.stdout)?;
    let words =
        text.lines().filter_map(|line| line.split_ascii_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}
