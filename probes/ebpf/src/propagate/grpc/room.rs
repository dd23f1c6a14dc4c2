//! Where the field of a call goes.
//!
//! Behind the encoded headers, if their buffer has room; or they are moved to a buffer that the connection has: the one that frames wait
//! in, or the one that each frame is put together in. In the latter they are put where the frame will have them, so they are copied onto themselves
//! then. Where the field has no room as it is, it is put there in its shorter form.

use lightfoot_probes_abi::{
    Layout, huffman,
    layout::GrpcPropagation,
    propagation::{FIELD, FRAME_HEADER},
};

use super::super::{
    hpack::{self, Found},
    read_word_or_max,
    states::MAX_FIELD,
};
use crate::memory::read_word;

/// Looks for the place, and for room for what may go with the field if there is something; returns what [`hpack::add`] takes. The call's goroutine
/// has seen to the length of the list.
#[inline(never)]
pub fn find<const HAS_STATE: bool>(slot: u32, layout: &Layout, writer: u64, slice: u64, found: Found) -> u64 {
    let behind = if found == Found::Fits { hpack::behind(slot, slice, u64::MAX) } else { hpack::NO_ROOM };
    if found == Found::Fits && (!HAS_STATE || !hpack::is_better_moved(slot, slice, behind, u64::MAX)) {
        return behind;
    }
    let of = &layout.propagation.grpc;
    let framer = read_word(slot, writer.wrapping_add(of.framer));
    let may_be_moved = hpack::may_be_moved(slot, slice);
    if may_be_moved {
        match spare(slot, of, framer, MAX_FIELD) {
            0 if found == Found::Fits => return behind,
            0 => {}
            to => return hpack::at(to, u64::MAX),
        }
        match spare(slot, of, framer, 0) {
            0 => {}
            to => return hpack::at(to, 0),
        }
    }
    if found == Found::Fits {
        return behind;
    }
    let frame = if may_be_moved { in_frame(slot, of, framer, slice) } else { hpack::NO_ROOM };
    if frame < hpack::COMPRESSED {
        return frame;
    }
    if hpack::room(slot, slice) >= huffman::LONGEST as u64 { hpack::COMPRESSED } else { frame }
}

/// Where the buffer in which frames wait has room for [`hpack::MOVED`] bytes, and so many more, behind what it holds, or 0. Nobody looks
/// there until the frame is copied there, which comes after the headers were copied into the frame.
#[inline(never)]
fn spare(slot: u32, of: &GrpcPropagation, framer: u64, more: u64) -> u64 {
    let writer = read_word(slot, framer.wrapping_add(of.writer));
    let mut slice = writer.wrapping_add(of.write_buffer);
    if of.by_pointer != 0 {
        slice = read_word(slot, slice);
    }
    if framer == 0 || writer == 0 || slice == 0 {
        return 0; // it has none at the moment
    }
    hpack::spare(slot, slice, writer.wrapping_add(of.used), more)
}

/// The place in the buffer in which frames are put together where this one will have the headers, if it has room for them and for the
/// field, in either form. What it holds was written, and nobody but the goroutine that stands here uses it: the next that it does is to write the frame's
/// header before the place, and to append the headers, for which the buffer does not grow.
#[inline(never)]
fn in_frame(slot: u32, of: &GrpcPropagation, framer: u64, slice: u64) -> u64 {
    if !of.knows_frame() || !is_plain(slot, slice) {
        return hpack::NO_ROOM;
    }
    let inner = read_word(slot, framer.wrapping_add(of.frames));
    let place = inner.wrapping_add(of.frame);
    let buffer = read_word(slot, place);
    if framer == 0 || inner == 0 || buffer == 0 {
        return hpack::NO_ROOM; // it has none yet
    }
    let room = room_of_frame(slot, place, slice);
    let to = hpack::at(buffer.wrapping_add(FRAME_HEADER), room.wrapping_sub(FIELD as u64));
    if room >= FIELD as u64 {
        to
    } else if room >= huffman::LONGEST as u64 && to < hpack::NO_ROOM {
        hpack::COMPRESSED | to & hpack::ADDRESS
    } else {
        hpack::NO_ROOM
    }
}

/// The bytes that are left in the slice at this place for what goes into the frame behind the headers.
#[inline(always)]
fn room_of_frame(slot: u32, place: u64, slice: u64) -> u64 {
    let used = read_word_or_max(slot, place.wrapping_add(8));
    let size = read_word(slot, place.wrapping_add(16));
    let length = read_word(slot, slice.wrapping_add(8));
    if length == 0 || used > size { 0 } else { size.saturating_sub(length.wrapping_add(FRAME_HEADER)) }
}

/// Whether nothing goes into the frame between its header and the encoded headers: neither padding nor a priority (`HeadersFrameParam`, whose
/// slice this is).
#[inline(always)]
fn is_plain(slot: u32, slice: u64) -> bool {
    // Bytes that end the stream and the headers, and one that says how much padding there is; the stream that this one depends on.
    const PADDING_AND_STREAM: u64 = 0xffff_ffff_00ff_0000;
    // The rest of the priority.
    const PRIORITY: u64 = 0xffff_ffff;
    let [first, second] = [24, 32].map(|place| read_word_or_max(slot, slice.wrapping_add(place)));
    first & PADDING_AND_STREAM | second & PRIORITY == 0
}
