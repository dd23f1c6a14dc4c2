//! `fuzz-seeds FOLDER`: writes small files that a fuzzer of ELF parsers can start from: sound ones, foreign ones, and
//! ones with a piece of a Go program.

use lightfoot_tests::hostile::forged;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Larger inputs only slow a fuzzer down.
const MOST_BYTES: usize = 64 << 10;

fn main() -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "usage: fuzz-seeds FOLDER");
    let folder = PathBuf::from(env::args_os().nth(1).ok_or_else(usage)?);
    fs::create_dir_all(&folder)?;
    for (number, input) in forged::all().filter(|input| input.bytes.len() <= MOST_BYTES).enumerate() {
        fs::write(folder.join(format!("forged-{number}")), &input.bytes)?;
    }
    Ok(())
}
