//! Recordings of real programs, kept in `tests/recordings/` with the spans that they come to: `go1.MINOR.lfrec` and
//! `go1.MINOR.jsonl`. Both are made anew by `make bless`, which needs privileges; what uses them needs none.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lightfoot::recording::{Frame, Reader, RecordingError};

use crate::go::VERSIONS;
use crate::live::lightfoot;

pub mod bless;

/// The minor versions of Go that there are recordings of: all that are supported.
pub fn minors() -> impl Iterator<Item = u32> {
    VERSIONS.into_iter().map(|version| version.minor)
}

/// A recording of programs that Go 1.`minor` has built.
pub fn recording(minor: u32) -> PathBuf {
    folder().join(format!("go1.{minor}.lfrec"))
}

/// The spans that it comes to, as `lightfoot replay --to json` prints them.
pub fn expected(minor: u32) -> PathBuf {
    folder().join(format!("go1.{minor}.jsonl"))
}

/// Runs `lightfoot replay` with a file and further arguments, in an empty environment.
pub fn replay(file: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new(lightfoot()).arg("replay").arg(file).args(arguments).env_clear().output()
}

/// All frames of a recording behind the first one.
pub fn frames(file: &Path) -> Result<Vec<Frame>, RecordingError> {
    let file = File::open(file).map_err(RecordingError::Read)?;
    Reader::new(BufReader::new(file))?.collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings")
}
