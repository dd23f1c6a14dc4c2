//! Truncations and random flips.

use super::{Input, Landmarks, Outcome};
use std::borrow::Cow;

/// Files shorter than an ELF header.
const HEADER: usize = 64;
/// How many truncations and how many flips are spread over the whole file.
const SPREAD: usize = 500;

/// `file` cut at every byte of its first 4 KiB, before, in and after every critical range, and at 500 places more.
pub fn truncated<'a>(file: &'a [u8], landmarks: &Landmarks) -> impl Iterator<Item = Input<'a>> + use<'a> {
    let mut lengths: Vec<usize> = (0..4096.min(file.len())).collect();
    for range in landmarks.critical() {
        lengths.extend([range.start.saturating_sub(1), range.start, range.end.saturating_sub(1), range.end]);
        lengths.extend(range.step_by(31));
    }
    lengths.extend((4096..file.len()).step_by((file.len() / SPREAD).max(1)));
    lengths.push(file.len().saturating_sub(1));
    lengths.sort_unstable();
    lengths.dedup();
    lengths.into_iter().filter_map(|length| {
        let input = Input {
            name: format!("cut to {length}"),
            bytes: Cow::Borrowed(file.get(..length)?),
            expected: None,
        };
        Some(if length < HEADER { input.expecting(Outcome::Refused) } else { input })
    })
}

/// `file` with 1 to 32 bits flipped, half of the time all over it, half of the time in one critical range. A case's own
/// seed is in its name.
pub fn flipped<'a>(
    file: &'a [u8],
    landmarks: &'a Landmarks,
    seed: u64,
) -> impl Iterator<Item = Input<'a>> + use<'a> {
    let mut seeds = fastrand::Rng::with_seed(seed);
    (0..SPREAD * 2).map(move |number| {
        let seed = seeds.u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let range = if number % 2 == 0 { None } else { random.choice(landmarks.critical()) };
        let range = range.unwrap_or(0..file.len());
        Input::changed(file, format!("flips, seed {seed:#x}"), |bytes| {
            for _ in 0..random.u32(1..=32) {
                if let Some(byte) = bytes.get_mut(random.usize(range.clone())) {
                    *byte ^= 1 << random.u32(0..8);
                }
            }
        })
    })
}
