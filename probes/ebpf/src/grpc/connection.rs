//! The connection that a call goes over, and its stream, by which the server's span of the same call is found.
//!
//! The call's stream leads to the last attempt to make it, and that to both. What is open as a stream is known when its span ends; a unary call
//! has left it by then, so that it is finished is a site of its own.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, GrpcText, InFlight, Layout, Process,
    connected::SCRATCH,
    grpc::grpc_flags,
    in_flight::state,
    layout::NONE,
    limits::{GRPC_METHOD, GRPC_TARGET},
    record::{CONNECTION_WORDS, Connection},
};

use super::{client, record};
use crate::{
    addresses::{self, LOCAL, REMOTE},
    counters::count,
    in_flight,
    memory::{read_word, write_unaligned},
    registers::{self, Registers},
};

/// Makes room for it, behind method and target.
#[inline(never)]
pub fn reserve(entry: &mut InFlight) {
    // SAFETY: the scratch memory is larger than the room.
    unsafe { addresses::clear(entry.scratch.as_mut_ptr()) };
    if put(entry, entry.strings_length) {
        entry.strings_length += size_of::<Connection>() as u64;
        record(entry).lengths[GrpcText::Connection as usize] = size_of::<Connection>() as u16;
    }
}

/// Copies that of the scratch memory to its place.
#[inline(always)]
fn put(entry: &mut InFlight, place: u64) -> bool {
    let place = place as usize;
    if place > GRPC_METHOD + GRPC_TARGET {
        return false; // it can't be
    }
    let mut word = 0;
    while word < CONNECTION_WORDS {
        // SAFETY: behind a method and a target the strings have more room, and the scratch memory has these words.
        unsafe {
            let to = entry.strings.as_mut_ptr().cast::<u8>().add(place + word * 8);
            write_unaligned(to, entry.scratch[SCRATCH + word]);
        }
        word += 1;
    }
    true
}

/// `cs.finish(err)`, where a unary call is over. Streams pass here, too, and those within a call, as an interceptor may open some, are not the
/// call's.
#[inline(never)]
pub fn note(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let slot = process.counters;
    count(slot, Counter::JoinSite);
    let (g, stack_pointer) = (registers::g(registers), registers::stack_pointer(registers));
    let stream = registers::argument(registers, 0);
    let found = in_flight::innermost(tgid, in_flight::goid(slot, layout, g));
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { found.as_mut() }) else { return };
    let depth = in_flight::depth(slot, layout, g, stack_pointer);
    if entry.record.header.kind == client::KIND
        && record(entry).flags & grpc_flags::STREAM == 0
        && in_flight::has_frame(entry, depth, stack_pointer)
        && in_flight::find_stream(tgid, stream).is_null()
        && is_unary(slot, layout, stream)
    {
        read(entry, process, layout, read_word(slot, stream.wrapping_add(layout.grpc.client.attempt)));
    }
}

/// Whether grpc-go's own stream is that of a unary call.
#[inline(never)]
fn is_unary(slot: u32, layout: &Layout, stream: u64) -> bool {
    let fields = &layout.grpc.client;
    let kind = read_word(slot, stream.wrapping_add(fields.kind));
    kind != 0 && read_word(slot, kind.wrapping_add(fields.streams)) as u16 == 0
}

/// Reads that of an attempt to its place. Overwrites the scratch memory.
#[inline(never)]
pub fn read(entry: &mut InFlight, process: &Process, layout: &Layout, attempt: u64) {
    let fields = &layout.grpc.client;
    if !has_room(entry) || attempt == 0 {
        return;
    }
    let mut stream = read_word(entry.counters, attempt.wrapping_add(fields.transport_stream));
    if stream == 0 {
        return; // there was no connection
    }
    if fields.embedded != NONE {
        stream = read_word(entry.counters, stream.wrapping_add(fields.embedded));
    }
    // SAFETY: the scratch memory is larger than the room.
    unsafe {
        addresses::clear(entry.scratch.as_mut_ptr());
        let id = read_word(entry.counters, stream.wrapping_add(fields.id));
        addresses::set_stream(entry.scratch.as_mut_ptr(), id);
    }
    if read_ends(entry, process, layout, attempt) {
        // SAFETY: without arguments.
        entry.scratch[SCRATCH] = unsafe { bpf_ktime_get_boot_ns() };
        entry.state = entry.state & !state::UNCONNECTED | state::CONNECTED;
    } else {
        // SAFETY: as above.
        unsafe { addresses::clear(entry.scratch.as_mut_ptr()) };
        entry.state = entry.state & !state::CONNECTED | state::UNCONNECTED;
    }
    let lengths = &record(entry).lengths;
    let place = lengths[GrpcText::Method as usize] + lengths[GrpcText::Target as usize];
    put(entry, place.into());
}

#[inline(always)]
fn has_room(entry: &mut InFlight) -> bool {
    entry.state & state::UNSAMPLED == 0
        && record(entry).lengths[GrpcText::Connection as usize] as usize == size_of::<Connection>()
}

/// Counts if the connection of a call that has ended is not known, though it had one: a call without an error had, unless an interceptor has answered it.
#[inline(never)]
pub fn check(entry: &mut InFlight, error: u64) {
    let is_known = entry.state & state::CONNECTED != 0;
    if has_room(entry) && (entry.state & state::UNCONNECTED != 0 || error == 0 && !is_known) {
        count(entry.counters, Counter::JoinUnproven);
    }
}

#[inline(always)]
fn read_ends(entry: &mut InFlight, process: &Process, layout: &Layout, attempt: u64) -> bool {
    let (fields, transports) = (&layout.grpc.client, &layout.grpc.transport);
    if !layout.grpc.knows_connections() {
        return false;
    }
    // The second word of an interface, whose only type in a program is this one.
    let transport = read_word(entry.counters, attempt.wrapping_add(fields.transport).wrapping_add(8));
    let room = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory is larger than the room.
    unsafe {
        transport != 0
            && addresses::of_addr(process, layout, room, transport.wrapping_add(transports.client), LOCAL)
            && addresses::of_addr(process, layout, room, transport.wrapping_add(transports.server), REMOTE)
    }
}
