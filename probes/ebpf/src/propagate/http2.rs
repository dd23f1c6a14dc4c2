//! Requests over HTTP/2 by `net/http` and `golang.org/x/net/http2`.
//!
//! Each stream has a goroutine that encodes the headers of its request, and the call that puts them into a frame is two calls deep in
//! it: the request stands in the frame of the caller's caller, and its header map and URL tell the span, as over HTTP/1.

use lightfoot_probes_abi::{
    Cookie, Counter, Layout, Process,
    layout::Http2Propagation,
    propagation::{FIELD_LIST_SIZE, STATIC_ENTRY},
};

use super::{
    check, find,
    hpack::{self, Found},
    read_word_or_max, span_id,
    states::{self, IN_LIST, MAX_FIELD},
};
use crate::{
    counters,
    memory::read_word,
    registers::{self, Registers},
};

/// Headers are encoded and about to be put into a frame: `(f *Framer) WriteHeaders(p HeadersFrameParam)`.
#[inline(never)]
pub fn encoded(registers: Registers, process: &Process, layout: &Layout, cookie: u64) {
    let of =
        if cookie & Cookie::X_NET == 0 { &layout.propagation.http2 } else { &layout.propagation.x_http2 };
    let place = registers::stack_pointer(registers).wrapping_add(Cookie(cookie).receiver() * 8);
    let returns_to = read_word(process.counters, place.wrapping_sub(8)).wrapping_sub(process.bias);
    // Else they are trailers.
    if returns_to == of.return_address {
        let outcome = add(registers, process, layout, of, place);
        counters::count(process.counters, outcome);
    }
}

/// The connection stands at `place`, and the request above it, in the caller's frame.
#[inline(never)]
fn add(
    registers: Registers,
    process: &Process,
    layout: &Layout,
    of: &Http2Propagation,
    place: u64,
) -> Counter {
    let slot = process.counters;
    let request = read_word(slot, place.wrapping_add(of.request));
    let header = read_word(slot, request.wrapping_add(of.header));
    let url = read_word(slot, request.wrapping_add(of.url));
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(pending) = (unsafe { find(process.instance, header, url).as_mut() }) else {
        return Counter::PropagationUnknown;
    };
    let span_id = span_id(pending);
    let may_be_written = check(slot, layout, pending, header, url);
    if may_be_written != Counter::Propagated {
        return may_be_written;
    }
    let slice = registers::stack_pointer(registers).wrapping_add(8);
    let connection = read_word(slot, place);
    if connection == 0 {
        return Counter::PropagationUnproven;
    }
    let place = if states::is_kept(pending) {
        prepare::<true>(slot, layout, of, connection, slice)
    } else {
        prepare::<false>(slot, layout, of, connection, slice)
    };
    hpack::add(slot, pending, span_id, slice, place)
}

/// Looks for where the field goes, and what may go with it if there is something; returns what [`hpack::add`] takes.
#[inline(never)]
fn prepare<const HAS_STATE: bool>(
    slot: u32,
    layout: &Layout,
    of: &Http2Propagation,
    connection: u64,
    slice: u64,
) -> u64 {
    let buffer = connection.wrapping_add(of.buffer).wrapping_add(layout.propagation.bytes);
    let found = hpack::look_at(slot, layout, slice, buffer);
    if found == Found::Unproven {
        return hpack::UNPROVEN;
    }
    let list = room_of_list(slot, of, connection, slice);
    if found == Found::TooLong || list < FIELD_LIST_SIZE {
        return hpack::NO_ROOM;
    }
    let list = (list - FIELD_LIST_SIZE).saturating_sub(IN_LIST);
    let behind = if found == Found::Fits { hpack::behind(slot, slice, list) } else { hpack::NO_ROOM };
    let may_stay = found == Found::Fits && (!HAS_STATE || !hpack::is_better_moved(slot, slice, behind, list));
    if may_stay || !hpack::may_be_moved(slot, slice) {
        return behind;
    }
    match spare(slot, layout, of, connection, MAX_FIELD) {
        0 if found == Found::Fits => behind,
        0 => hpack::at(spare(slot, layout, of, connection, 0), 0),
        to => hpack::at(to, list),
    }
}

/// How much longer the list of headers may be as the server wants it, however they are encoded: a byte stands for no more than an entry
/// of the dynamic or of the static table.
#[inline(never)]
fn room_of_list(slot: u32, of: &Http2Propagation, connection: u64, slice: u64) -> u64 {
    let limit = read_word(slot, connection.wrapping_add(of.list_size));
    if limit == u64::MAX {
        return limit; // it has not said
    }
    let encoder = read_word(slot, connection.wrapping_add(of.encoder));
    let of_entry =
        (read_word_or_max(slot, encoder.wrapping_add(of.table_size)) & 0xffff_ffff).max(STATIC_ENTRY);
    let length = read_word(slot, slice.wrapping_add(8)) & 0xffff_ffff;
    if encoder == 0 {
        return 0;
    }
    limit.saturating_sub(length.wrapping_mul(of_entry))
}

/// Where the connection's `bufio.Writer` has room, and for so much more, behind what it holds, or 0. Only who is about to write the
/// headers may use it, and does so when they are in a frame.
#[inline(never)]
fn spare(slot: u32, layout: &Layout, of: &Http2Propagation, connection: u64, more: u64) -> u64 {
    let writer = read_word(slot, connection.wrapping_add(of.writer));
    if writer == 0 {
        return 0;
    }
    let slice = writer.wrapping_add(layout.propagation.buffer);
    hpack::spare(slot, slice, writer.wrapping_add(layout.propagation.used), more)
}
