//! The `lightfoot` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lightfoot::cli::main()
}
