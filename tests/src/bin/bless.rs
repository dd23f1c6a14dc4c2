//! `bless`: makes the recordings in `tests/recordings/` anew, and the spans that they come to. `make bless` runs it, as
//! root. What has changed in the spans is for a person to look at: `git diff tests/recordings`.

use std::process::ExitCode;

use lightfoot_tests::go::VERSIONS;
use lightfoot_tests::live::is_privileged;
use lightfoot_tests::recordings::{bless::bless, recording};

fn main() -> ExitCode {
    if !is_privileged("recording") {
        return ExitCode::FAILURE;
    }
    for version in VERSIONS {
        if let Err(error) = bless(version) {
            eprintln!("Go {version}: {error}");
            return ExitCode::FAILURE;
        }
        println!("{}", recording(version.minor).display());
    }
    ExitCode::SUCCESS
}
