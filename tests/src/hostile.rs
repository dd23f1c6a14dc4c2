//! Hostile inputs, and the harness that shows they do no harm.
//!
//! Modules, in reading order:
//! - [`landmarks`]: where a sound Go binary holds what is worth damaging.
//! - [`damage`]: truncations and random flips.
//! - [`sweep`]: every word of every header and table, replaced by values that break arithmetic.
//! - [`lies`]: consistent nonsense: cycles, lengths without end, tables that overlap.
//! - [`forged`]: files that never were a Go binary.
//! - [`harness`]: hands the inputs to a parser and enforces its promises.

use std::borrow::Cow;

pub mod damage;
pub mod forged;
pub mod harness;
pub mod landmarks;
pub mod lies;
pub mod sweep;

pub use harness::{Harness, Limits, Summary};
pub use landmarks::Landmarks;

/// A file to be parsed.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// What was done to it; enough to make it again.
    pub name: String,
    /// The whole file.
    pub bytes: Cow<'a, [u8]>,
    /// What it must be taken for; `None` where anything but harm is right.
    pub expected: Option<Outcome>,
}

/// What a parser takes a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// No 64-bit little-endian ELF file of a supported architecture, or a broken one.
    Refused,
    /// A sound ELF file without a Go program that can be read.
    NotGo,
    /// A Go program, with at least some facts.
    Go,
}

impl Input<'_> {
    /// A changed copy of `file`: `change` edits it.
    fn changed(file: &[u8], name: String, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = file.to_vec();
        change(&mut bytes);
        Self { name, bytes: bytes.into(), expected: None }
    }

    /// The same input with a known outcome.
    fn expecting(self, outcome: Outcome) -> Self {
        Self { expected: Some(outcome), ..self }
    }
}

/// Writes `bytes` at `offset` as far as the file reaches.
fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
    for (to, from) in file.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
}

/// All inputs made from a sound Go binary with symbols, and those made from nothing. `seed` chooses the random ones.
pub fn all<'a>(file: &'a [u8], landmarks: &'a Landmarks, seed: u64) -> impl Iterator<Item = Input<'a>> {
    forged::all()
        .chain(damage::truncated(file, landmarks))
        .chain(damage::flipped(file, landmarks, seed))
        .chain(sweep::all(file, landmarks))
        .chain(lies::all(file, landmarks))
}
