//! `make vm` and `make vm-all`: the end-to-end tests on other kernels and on arm64, in virtual machines that QEMU emulates.
//!
//! - `vm all` goes through all machines of [`trials`], `vm usual` through those of each run of the tests. `vm programs` goes through
//!   all, but loads programs and places probes only.
//! - `vm MACHINE VERSION [PARAMETERS]` takes one kernel, such as `aarch64 6.12`, however it is started, or as it is with these
//!   words on its command line.
//! - `vm MACHINE VERSION PARAMETERS TEST [FILTER]…` runs one test program's tests there, with further words on the kernel's
//!   command line.
//!
//! With `--write` before them, what is found goes into `docs/kernels.json` and README.md.
//!
//! Modules, in reading order:
//! - [`trials`]: which kernels there are, and what runs on them; [`programs`]: the Go programs that this takes.
//! - [`executables`]: the tests as Cargo builds them; [`guest`]: the files of a virtual machine; [`suite`]: Python and what
//!   it runs, among them; [`machine`]: running it.
#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::process::ExitCode;

use lightfoot_tests::kernels::Kernels;

use trials::{Boot, Trial};

mod executables;
mod guest;
mod machine;
mod programs;
mod suite;
mod trials;

const USAGE: &str =
    "usage: vm [--write] all | usual | programs | MACHINE VERSION [PARAMETERS [TEST [FILTER]…]]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Some(missing) = machine::missing() {
        let reason = format!("{missing} is missing: other kernels are not tried");
        if env::var_os("CI").is_some_and(|value| value == "true") {
            eprintln!("vm: cannot be skipped: {reason}");
            return ExitCode::FAILURE;
        }
        println!("skipped: {reason}");
        return ExitCode::SUCCESS;
    }
    let (is_written, words) = match words.as_slice() {
        ["--write", rest @ ..] => (true, rest),
        all => (false, all),
    };
    match run(words, is_written) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vm: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str], is_written: bool) -> Result<bool, Box<dyn Error>> {
    let boots = match words {
        ["all"] => trials::all(),
        ["usual"] => trials::usual(),
        ["programs"] => trials::programs(),
        [machine, version, parameters @ ..] if parameters.len() <= 1 => {
            let is_named = |boot: &Boot| {
                boot.machine.name() == *machine
                    && boot.version == *version
                    && parameters.iter().all(|parameters| boot.parameters == *parameters)
            };
            trials::all().into_iter().filter(is_named).collect()
        }
        [machine, version, parameters, test, filters @ ..] => {
            vec![Boot::of(machine.parse()?, version, parameters, vec![Trial::of(test, filters)])]
        }
        _ => return Err(USAGE.into()),
    };
    if boots.is_empty() {
        return Err("no such kernel".into());
    }
    let mut is_well = true;
    for boot in &boots {
        let ended = machine::run(boot)?;
        println!("{boot}: {ended}");
        let row = ended.row(boot);
        is_well &= row.is_well();
        if is_written {
            Kernels::document(row)?;
        }
    }
    Ok(is_well)
}
