//! The conformance suite of W3C Trace Context in a virtual machine, with as much of Python as it takes.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use lightfoot_tests::trace_context;

use crate::guest::{add_libraries, copy};
use crate::trials::{Boot, Trial};

/// Finds out what the suite loads.
const MODULES: &str = include_str!("modules.py");

/// Whether a trial runs it, and it is there. Where it is not, its test says so.
pub(crate) fn is_wanted(boot: &Boot) -> bool {
    let runs_it = |trial: &Trial| match trial {
        Trial::Tests { program, filters } => {
            program == "propagate"
                && (filters.is_empty() || filters.iter().any(|filter| filter.contains("suite")))
        }
        Trial::Doctor => false,
    };
    boot.machine.is_here() && boot.trials.iter().any(runs_it) && trace_context::suite().is_ok()
}

/// Adds it where it is here, and `python3`.
pub(crate) fn add(root: &Path) -> Result<(), Box<dyn Error>> {
    let suite = trace_context::suite()?;
    let mut python = Command::new("python3");
    python.args(["-c", MODULES]).args([&suite, root]).stderr(Stdio::inherit());
    let output = python.output()?;
    if !output.status.success() {
        return Err("the suite does not run here".into());
    }
    let text = String::from_utf8(output.stdout)?;
    let files: Vec<&Path> = text.lines().map(Path::new).collect();
    for &file in &files {
        add_libraries(root, file)?;
    }
    let interpreter = files.last().ok_or("Python has no path")?;
    copy(root, interpreter, interpreter)?;
    let name = root.join("usr/bin/python3");
    fs::create_dir_all(root.join("usr/bin"))?;
    if !name.exists() {
        symlink(interpreter, name)?;
    }
    Ok(())
}
