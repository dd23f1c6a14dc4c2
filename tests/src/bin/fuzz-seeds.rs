//! `fuzz-seeds FOLDER [recording]`: writes small files that a fuzzer can start from. Those for ELF parsers are sound ones,
//! foreign ones, and ones with a piece of a Go program; those for recordings are pieces of `tests/recordings/`.

use lightfoot::recording::{Fact, Frame, Reader, Recorder, Writer};
use lightfoot_tests::hostile::forged;
use lightfoot_tests::recordings::{minors, recording};
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Larger inputs only slow a fuzzer down.
const MOST_BYTES: usize = 64 << 10;
/// Frames of a piece of a recording.
const PIECE: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "usage: fuzz-seeds FOLDER [recording]");
    let folder = PathBuf::from(env::args_os().nth(1).ok_or_else(usage)?);
    fs::create_dir_all(&folder)?;
    match env::args().nth(2).as_deref() {
        None => {
            for (number, input) in forged::all().filter(|input| input.bytes.len() <= MOST_BYTES).enumerate() {
                fs::write(folder.join(format!("forged-{number}")), &input.bytes)?;
            }
        }
        Some("recording") => minors().try_for_each(|minor| pieces(&folder, minor))?,
        Some(_) => return Err(usage().into()),
    }
    Ok(())
}

/// Each a recording of its own.
fn pieces(folder: &Path, minor: u32) -> Result<(), Box<dyn Error>> {
    let reader = Reader::new(BufReader::new(File::open(recording(minor))?))?;
    let recorder: Recorder = reader.recorder().clone();
    let frames = reader.collect::<Result<Vec<_>, _>>()?;
    let end = Fact::End { counts: [("started".to_owned(), 1)].into() };
    for (number, piece) in frames.chunks(PIECE).enumerate() {
        let mut writer = Writer::new(Vec::new(), u64::MAX, recorder.clone())?;
        for frame in piece.iter().filter(|frame| !matches!(frame, Frame::Fact(Fact::End { .. }))) {
            let _ = writer.write(frame)?;
        }
        fs::write(folder.join(format!("go1.{minor}-{number}")), writer.finish(&end)?)?;
    }
    Ok(())
}
