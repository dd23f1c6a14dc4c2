//! A header more for headers that are encoded already, before they are put into a frame.
//!
//! All encoded headers are in a `bytes.Buffer` that nobody else uses at the moment, and are passed on as a slice, which stands on the stack: Go's
//! ABI has no registers left for it on x86-64. The field is written behind what the buffer holds, in its spare room; then the one
//! word that is the slice's length makes it part of the request. Where there is no such room the encoded headers are first moved to where
//! there is some. The encoder's table does not change, for the field is a literal that is not indexed.

use lightfoot_probes_abi::{
    Counter, Layout, Pending,
    propagation::{BLOCK, FIELD, MAX_FRAME},
};

use super::{publish, write_block, write_payload};
use crate::memory::{read_user, read_word};

/// What is asked of the place that headers are moved to, in bytes.
const MOVED: u64 = (BLOCK + FIELD) as u64;

/// What the slice is like.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Found {
    /// It is all that the buffer holds, which has room for the field.
    Fits,
    /// The same without room.
    TooShort,
    /// There are more headers than go into a frame, or not so many less that there is one more.
    TooLong,
    /// Something else.
    Unproven,
}

/// Looks at the slice and at the buffer, of which it must be all. Takes the places of both slices.
#[inline(never)]
pub fn look_at(slot: u32, layout: &Layout, slice: u64, buffer: u64) -> Found {
    let length = read_word(slot, slice.wrapping_add(8));
    let room = read_word(slot, slice.wrapping_add(16));
    let held = read_word(slot, buffer.wrapping_add(8));
    let taken =
        read_word(slot, buffer.wrapping_sub(layout.propagation.bytes).wrapping_add(layout.propagation.taken));
    if !slice.is_multiple_of(8)
        || read_word(slot, slice) != read_word(slot, buffer)
        || read_word(slot, buffer.wrapping_add(16)) != room
        || length == 0
        || room < length
        // grpc-go has taken all of it (`Next`), net/http looks at it (`Bytes`).
        || taken != 0 && taken != length
    {
        return Found::Unproven;
    }
    if length != held || length > MAX_FRAME - FIELD as u64 {
        return Found::TooLong; // the rest goes into further frames
    }
    if room - length < FIELD as u64 { Found::TooShort } else { Found::Fits }
}

/// Adds the field to the slice at this place, which [`Found::Fits`].
#[inline(never)]
pub fn append(slot: u32, pending: &mut Pending, span_id: u64, slice: u64) -> Counter {
    let length = read_word(slot, slice.wrapping_add(8));
    let end = read_word(slot, slice).wrapping_add(length);
    if !write_payload::<FIELD>(slot, pending, span_id, end) {
        return Counter::PropagationUnproven;
    }
    publish(slot, slice.wrapping_add(8), length + FIELD as u64)
}

/// Moves what the slice at this place holds to where there is room, and adds the field there. Before the slice is longer it is the same.
#[inline(never)]
pub fn append_elsewhere(slot: u32, pending: &mut Pending, span_id: u64, slice: u64, to: u64) -> Counter {
    let length = read_word(slot, slice.wrapping_add(8));
    if to == 0 || length > BLOCK as u64 {
        return Counter::PropagationNoRoom;
    }
    if !copy(slot, pending, span_id, read_word(slot, slice), to, length as usize)
        || !write_payload::<FIELD>(slot, pending, span_id, to.wrapping_add(length))
        || publish(slot, slice, to) != Counter::Propagated
    {
        return Counter::PropagationUnproven;
    }
    publish(slot, slice.wrapping_add(8), length + FIELD as u64)
}

/// Where the slice at this place has room for [`MOVED`] bytes behind as many as the other place says, or 0.
#[inline(never)]
pub fn spare(slot: u32, slice: u64, used: u64) -> u64 {
    let buffer = read_word(slot, slice);
    let size = read_word(slot, slice.wrapping_add(8));
    let used = read_word(slot, used);
    if buffer == 0 || used > size || size - used < MOVED {
        return 0;
    }
    buffer.wrapping_add(used)
}

/// Copies the encoded headers, and reads them back. False unless they stand there.
#[inline(always)]
fn copy(slot: u32, pending: &mut Pending, span_id: u64, from: u64, to: u64, length: usize) -> bool {
    if length == 0 || length > BLOCK {
        return false;
    }
    // SAFETY: there is room for `BLOCK` bytes.
    let is_read = unsafe { read_user(slot, pending.block.as_mut_ptr().cast(), length, from) };
    is_read && write_block(pending, span_id, to, length)
}
