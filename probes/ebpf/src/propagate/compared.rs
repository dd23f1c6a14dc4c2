//! What stands in the program's memory where something was just written: global functions of numbers, which the verifier follows once.
//!
//! They must not wait for memory, but this was there a moment ago, or nothing is made part of a request.

use lightfoot_probes_abi::propagation::BLOCK;

use crate::memory::read_present;

/// Whether the same bytes stand at two places, [`BLOCK`] at most.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn are_same(one: u64, other: u64, length: u64) -> u64 {
    let mut difference = u64::from(length == 0 || length > BLOCK as u64);
    let mut byte = 0;
    while byte < BLOCK as u64 {
        let mask = within(byte, length);
        if mask == 0 {
            break;
        }
        let [one, other] = [one, other].map(|from| read_back(0, from.wrapping_add(byte)));
        // What cannot be read is 0, and so are few words of headers; then they are taken for others.
        difference |= (one ^ other) & mask | u64::from(one == 0 || other == 0);
        byte += 8;
    }
    u64::from(difference == 0)
}

/// The bits of the word at this place that belong to what is so many bytes long. What it returns tells a verifier nothing
/// of the length, each of which would be another way through the loop of who asks.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn within(byte: u64, length: u64) -> u64 {
    if byte >= length {
        return 0;
    }
    let bytes = length - byte;
    if bytes < 8 { (1 << (bytes * 8)) - 1 } else { u64::MAX }
}

/// The word at an address that was just written to, or 0. The slot's counters count only in tests; those of 0 are of all
/// processes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_back(slot: u32, from: u64) -> u64 {
    let mut word = 0_u64;
    // SAFETY: the word has eight bytes.
    if unsafe { read_present(slot, (&raw mut word).cast(), 8, from) } { word } else { 0 }
}
