//! The `lightfoot` command, built with the tests that run it: Cargo gives them the path of programs of their own package
//! only.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lightfoot::cli::main()
}
