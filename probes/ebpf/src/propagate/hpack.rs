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

use super::{
    compared::are_same,
    compressed, other_span, publish, read_word_or_max,
    states::{self, MAX_FIELD},
    write_block, write_payload,
};
use crate::{
    counters,
    memory::{read_user, read_word},
};

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

/// The bytes of room behind a slice.
#[inline(always)]
pub fn room(slot: u32, slice: u64) -> u64 {
    let length = read_word_or_max(slot, slice.wrapping_add(8));
    read_word(slot, slice.wrapping_add(16)).saturating_sub(length)
}

/// Whether the headers are not too long to be moved.
#[inline(always)]
pub fn may_be_moved(slot: u32, slice: u64) -> bool {
    read_word_or_max(slot, slice.wrapping_add(8)) <= BLOCK as u64
}

/// Instead of a place: there is none.
pub const NO_ROOM: u64 = 1 << 63;
/// The same: something is not as it must be.
pub const UNPROVEN: u64 = NO_ROOM | 1;
/// A place is an address that the headers are moved to, or 0 if they stay, and above that how many bytes there are for what goes with
/// the field. No address of a program's has so many bits.
const ROOM: u32 = 48;
/// The bits of an address.
pub const ADDRESS: u64 = (1 << ROOM) - 1;
/// In a place that the field has room in by its shorter form alone. No room is as large.
pub const COMPRESSED: u64 = 1 << 62;

/// The place behind a slice that [`Found::Fits`]. The list of headers may get so much longer.
#[inline(always)]
pub fn behind(slot: u32, slice: u64, list: u64) -> u64 {
    let length = read_word(slot, slice.wrapping_add(8));
    let size = read_word(slot, slice.wrapping_add(16)).min(MAX_FRAME);
    size.saturating_sub(length + FIELD as u64).min(MAX_FIELD).min(list) << ROOM
}

/// Whether headers that have this place could have more room elsewhere.
#[inline(always)]
pub fn is_better_moved(slot: u32, slice: u64, place: u64, list: u64) -> bool {
    place >> ROOM < MAX_FIELD.min(list) && may_be_moved(slot, slice)
}

/// The place at an address where headers and the field have room, and so many bytes more. None at 0.
#[inline(always)]
pub fn at(address: u64, list: u64) -> u64 {
    if address == 0 || address >> ROOM != 0 {
        return NO_ROOM;
    }
    list.min(MAX_FIELD) << ROOM | address
}

/// Adds the field to the slice that stands there, in that place. Nothing is part of the slice before all of it is proven.
#[inline(always)]
pub fn add(slot: u32, pending: &mut Pending, span_id: u64, slice: u64, place: u64) -> Counter {
    if place >= NO_ROOM {
        return if place == NO_ROOM { Counter::PropagationNoRoom } else { Counter::PropagationUnproven };
    }
    let to = place & ADDRESS;
    let end = end(slot, pending, span_id, slice, to);
    if end == 0 {
        return Counter::PropagationUnproven;
    }
    let state = states::write_field(slot, pending, span_id, end, place >> ROOM);
    if !write_payload::<FIELD>(slot, pending, span_id, end.wrapping_add(state)) {
        return Counter::PropagationUnproven;
    }
    let outcome = extend(slot, slice, to, state + FIELD as u64);
    if state != 0 && outcome == Counter::Propagated {
        counters::count(slot, Counter::PropagatedStates);
    }
    outcome
}

/// The same of the field's shorter form alone, in a place that says [`COMPRESSED`].
#[inline(never)]
pub fn add_compressed(slot: u32, pending: &mut Pending, span_id: u64, slice: u64, place: u64) -> Counter {
    let to = place & ADDRESS;
    let end = end(slot, pending, span_id, slice, to);
    if end == 0 {
        return Counter::PropagationUnproven;
    }
    if states::is_kept(pending) {
        counters::count(slot, Counter::PropagationStateDropped);
    }
    let field = compressed::write(slot, pending, end);
    if field == 0 || other_span(pending, span_id) != 0 {
        return Counter::PropagationUnproven;
    }
    extend(slot, slice, to, field)
}

/// Where the headers end: those of the slice, or what they are copied to. 0 if that is not proven.
#[inline(never)]
fn end(slot: u32, pending: &mut Pending, span_id: u64, slice: u64, to: u64) -> u64 {
    let from = read_word(slot, slice);
    let length = read_word(slot, slice.wrapping_add(8));
    if from == 0 || length == 0 {
        return 0;
    }
    if to == 0 {
        return from.wrapping_add(length);
    }
    if length > BLOCK as u64 || !copy(slot, pending, span_id, from, to, length as usize) {
        return 0;
    }
    to.wrapping_add(length)
}

/// Sets the slice to where the headers are now, and makes it so much longer.
#[inline(never)]
fn extend(slot: u32, slice: u64, to: u64, by: u64) -> Counter {
    let length = read_word(slot, slice.wrapping_add(8));
    if length == 0 || to != 0 && publish(slot, slice, to) != Counter::Propagated {
        return Counter::PropagationUnproven;
    }
    publish(slot, slice.wrapping_add(8), length + by)
}

/// Where the slice at this place has room for [`MOVED`] bytes, and so many more, behind as many as the other place says, or 0.
#[inline(always)]
pub fn spare(slot: u32, slice: u64, used: u64, more: u64) -> u64 {
    let buffer = read_word(slot, slice);
    let size = read_word(slot, slice.wrapping_add(8));
    // 0 is most of what is there: it must not stand for what cannot be read.
    let used = read_word_or_max(slot, used);
    if buffer == 0 || used > size || size - used < MOVED + more {
        return 0;
    }
    buffer.wrapping_add(used)
}

/// Copies the encoded headers. False unless they stand there.
#[inline(always)]
fn copy(slot: u32, pending: &mut Pending, span_id: u64, from: u64, to: u64, length: usize) -> bool {
    if length > BLOCK {
        return false;
    }
    // SAFETY: there is room for `BLOCK` bytes.
    let is_read = unsafe { read_user(slot, pending.block.as_mut_ptr().cast(), length, from) };
    is_read && write_block(pending, span_id, to, length) && are_same(from, to, length as u64) != 0
}
