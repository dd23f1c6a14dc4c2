//! Calls of gRPC clients.
//!
//! A call's goroutine lists its headers; the goroutine of the connection encodes the list into a buffer that nobody else uses and passes
//! what the buffer holds on as a slice, which stands on the stack. The header is written behind what the buffer holds, in its spare
//! room; then the one word that is the slice's length makes it part of the request. The encoder's table does not change, for the
//! header is a literal that is not indexed (RFC 7541, section 6.2.2).

mod room;

use aya_ebpf::bindings::BPF_ANY;
use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Pending, PendingKey, PendingState, Process, RecordKind, limits::GRPC_LIST,
    process::process_flags, propagation::FIELD_LIST_SIZE,
};

use super::{
    PENDING, STAGING, find,
    hpack::{self, Found},
    read_word_or_max, span_id,
    states::{self, IN_LIST, MAX_FIELD},
    write_out,
};
use crate::{
    counters, in_flight,
    memory::{read_user, read_word},
    registers::{self, Registers},
};

/// The words of an element of the list (`hpack.HeaderField`): the name, the value, whether it is sensitive.
const ELEMENT: usize = 5;
// The scratch memory, in words: an element, a name, and what was found so far.
const NAME: usize = 8;
const TOTAL: usize = 16;
const IS_ITS: usize = 17;
const STATE: usize = 18;
/// The span whose request's `tracestate` is passed on, or 0.
const PARENT: usize = 19;

/// The headers of a call are listed: their list is in the registers, as it was returned.
#[inline(never)]
pub fn listed(registers: Registers, tgid: u32, process: &Process, layout: &Layout, receiver: u64) {
    let [list, length] = [0, 1].map(|position| registers::argument(registers, position));
    if list == 0 || process.flags & process_flags::PROPAGATE == 0 {
        return;
    }
    // Whatever had the list's address before is over.
    forget(process.instance, list);
    let entry = call(registers, tgid, process, layout);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    look_through(entry, list, length);
    if entry.scratch[IS_ITS] == 0 {
        return;
    }
    let place = registers::stack_pointer(registers).wrapping_add(receiver * 8);
    check_limit(entry, layout, place);
    note(entry, list);
}

/// The open span of a call that this goroutine makes, or null.
#[inline(never)]
fn call(registers: Registers, tgid: u32, process: &Process, layout: &Layout) -> *mut InFlight {
    let (slot, g) = (process.counters, registers::g(registers));
    let found = in_flight::innermost(tgid, in_flight::goid(slot, layout, g));
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { found.as_ref() }) else { return found };
    let stack_pointer = registers::stack_pointer(registers);
    let depth = in_flight::depth(slot, layout, g, stack_pointer);
    if entry.record.header.kind == RecordKind::GrpcClient as u8
        && in_flight::has_frame(entry, depth, stack_pointer)
    {
        found
    } else {
        core::ptr::null_mut()
    }
}

/// Looks whether the list is that of the call, and has the header already.
#[inline(never)]
fn look_through(entry: &mut InFlight, list: u64, length: u64) {
    entry.scratch[TOTAL] = 0;
    entry.scratch[IS_ITS] = 0;
    entry.scratch[STATE] = PendingState::Free as u64;
    entry.scratch[PARENT] = entry.record.header.parent_span_id;
    let mut element = 0;
    while element < GRPC_LIST {
        if element as u64 >= length {
            return;
        }
        look_at(entry, list.wrapping_add((element * ELEMENT * 8) as u64));
        element += 1;
    }
    if length > GRPC_LIST as u64 {
        entry.scratch[STATE] = PendingState::Unproven as u64;
    }
}

#[inline(never)]
fn look_at(entry: &mut InFlight, element: u64) {
    // SAFETY: the scratch memory has room for the five words.
    if unsafe { !read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), ELEMENT * 8, element) } {
        entry.scratch[STATE] = PendingState::Unproven as u64;
        return;
    }
    let [name, length] = [entry.scratch[0], entry.scratch[1]];
    let [value, value_length] = [entry.scratch[2], entry.scratch[3]];
    // What each counts for (RFC 9113, section 6.5.2).
    entry.scratch[TOTAL] =
        entry.scratch[TOTAL].wrapping_add(length).wrapping_add(value_length).wrapping_add(32);
    if value == entry.request_line.pointer && value_length == entry.request_line.length {
        entry.scratch[IS_ITS] = 1;
    }
    if length == 10 || length == 11 {
        look_at_name(entry, name, length);
    }
}

#[inline(never)]
fn look_at_name(entry: &mut InFlight, name: u64, length: u64) {
    const LOWER_CASE: u64 = 0x2020_2020_2020_2020;
    entry.scratch[NAME + 1] = 0;
    // SAFETY: the scratch memory has room for the 11 bytes.
    if unsafe { !read_user(entry.counters, entry.scratch.as_mut_ptr().add(NAME).cast(), 10, name) } {
        entry.scratch[STATE] = PendingState::Unproven as u64;
        return;
    }
    let first = entry.scratch[NAME] | LOWER_CASE;
    let second = (entry.scratch[NAME + 1] | LOWER_CASE) & 0xffff;
    if length == 10
        && first == u64::from_le_bytes(*b"tracesta")
        && second == u64::from(u16::from_le_bytes(*b"te"))
    {
        entry.scratch[PARENT] = 0;
    }
    if length == 11
        && first == u64::from_le_bytes(*b"tracepar")
        && second == u64::from(u16::from_le_bytes(*b"en"))
    {
        let last = read_word_or_max(entry.counters, name.wrapping_add(3));
        if last == u64::MAX {
            entry.scratch[STATE] = PendingState::Unproven as u64;
        } else if last >> 56 | 0x20 == u64::from(b't') {
            entry.scratch[STATE] = PendingState::Own as u64;
        }
    }
}

/// A server may have said how long a list of headers it takes.
#[inline(never)]
fn check_limit(entry: &mut InFlight, layout: &Layout, place: u64) {
    let connection = read_word(entry.counters, place);
    let limit = read_word_or_max(entry.counters, connection.wrapping_add(layout.propagation.grpc.list_size));
    if connection == 0 || limit == u64::MAX {
        entry.scratch[STATE] = PendingState::Unproven as u64;
    }
    if limit == 0 || entry.scratch[STATE] != PendingState::Free as u64 {
        return;
    }
    let limit = read_word(entry.counters, limit) & 0xffff_ffff;
    let total = entry.scratch[TOTAL].wrapping_add(FIELD_LIST_SIZE);
    if total > limit {
        entry.scratch[STATE] = PendingState::NoRoom as u64;
    } else if total.wrapping_add(MAX_FIELD + IN_LIST) > limit && entry.scratch[PARENT] != 0 {
        // Whatever its length.
        entry.scratch[PARENT] = 0;
        states::leave(entry);
    }
}

/// Notes what is to be added to the headers of this list.
#[inline(never)]
fn note(entry: &mut InFlight, list: u64) {
    // SAFETY: the place lies within the strings, behind what a call has there before its end, and all bytes are a valid value.
    let pending = unsafe { &mut *entry.strings.as_mut_ptr().add(STAGING).cast::<Pending>() };
    pending.state = entry.scratch[STATE];
    pending.header = list;
    pending.url = 0;
    pending.instance = entry.instance.into();
    pending.parent_span_id = entry.scratch[PARENT];
    pending.headers = 0;
    write_out(pending, &entry.record.header, entry.level);
    entry.headers[0].pointer = list;
    insert(entry, list);
}

#[inline(never)]
fn insert(entry: &InFlight, list: u64) {
    let key = PendingKey { instance: entry.instance, reserved: 0, header: list, url: 0 };
    // SAFETY: it was made there.
    let pending = unsafe { &*entry.strings.as_ptr().add(STAGING).cast::<Pending>() };
    let _ = PENDING.insert(&key, pending, u64::from(BPF_ANY));
}

/// The span of a call goes on as that of a stream, which may be before its headers are written.
#[inline(never)]
pub fn opened(entry: &InFlight, stream: u64) {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(pending) = unsafe { find(entry.instance, entry.headers[0].pointer, 0).as_mut() }
        && pending.span_id == entry.record.header.span_id
    {
        // SAFETY: a field of the element. Volatile, for another processor may look at it.
        unsafe { (&raw mut pending.headers).write_volatile(stream) };
    }
}

/// Whether the call is still open, as such or as a stream.
#[inline(never)]
fn is_open(pending: &Pending) -> bool {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let of_call = unsafe { in_flight::find(pending.tgid, pending.goid, pending.level).as_ref() };
    if of_call.is_some_and(|entry| entry.record.header.span_id == pending.span_id) {
        return true;
    }
    // It is there before the other is gone.
    // SAFETY: a field of the element. Volatile, as another processor may just have set it.
    let stream = unsafe { (&raw const pending.headers).read_volatile() };
    // SAFETY: as above.
    let of_stream = unsafe { in_flight::find_stream(pending.tgid, stream).as_ref() };
    stream != 0 && of_stream.is_some_and(|entry| entry.record.header.span_id == pending.span_id)
}

/// The headers of a call, or of an answer, are encoded and about to be sent: `(f *Framer) WriteHeaders(p HeadersFrameParam)`.
#[inline(never)]
pub fn encoded(registers: Registers, process: &Process, layout: &Layout, receiver: u64) {
    let slot = process.counters;
    let stack_pointer = registers::stack_pointer(registers);
    let place = stack_pointer.wrapping_add(receiver * 8);
    let writer = read_word(slot, place);
    if writer == 0 || read_word(slot, writer.wrapping_add(layout.propagation.grpc.side)) != 0 {
        return; // a server's
    }
    let list = read_word(slot, place.wrapping_add(16));
    let found = find(process.instance, list, 0);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let outcome = match unsafe { found.as_mut() } {
        Some(pending) => add(slot, layout, pending, writer, stack_pointer),
        None => Counter::PropagationUnknown,
    };
    counters::count(slot, outcome);
    forget(process.instance, list);
}

#[inline(never)]
fn forget(instance: u32, list: u64) {
    let _ = PENDING.remove(&PendingKey { instance, reserved: 0, header: list, url: 0 });
}

#[inline(always)]
fn add(slot: u32, layout: &Layout, pending: &mut Pending, writer: u64, stack_pointer: u64) -> Counter {
    let span_id = span_id(pending);
    if !is_open(pending) {
        return Counter::PropagationUnknown;
    }
    let state = pending.state;
    if state == PendingState::Own as u64 {
        return Counter::PropagationOwn;
    }
    if state == PendingState::NoRoom as u64 {
        return Counter::PropagationNoRoom;
    }
    let buffer = writer.wrapping_add(layout.propagation.grpc.buffer);
    let buffer = read_word(slot, buffer).wrapping_add(layout.propagation.bytes);
    let slice = stack_pointer.wrapping_add(8);
    if state != PendingState::Free as u64 {
        return Counter::PropagationUnproven;
    }
    let found = hpack::look_at(slot, layout, slice, buffer);
    if found == Found::Unproven {
        return Counter::PropagationUnproven;
    }
    if found == Found::TooLong {
        return Counter::PropagationNoRoom;
    }
    let place = if states::is_kept(pending) {
        room::find::<true>(slot, layout, writer, slice, found)
    } else {
        room::find::<false>(slot, layout, writer, slice, found)
    };
    if place & hpack::COMPRESSED == 0 {
        hpack::add(slot, pending, span_id, slice, place)
    } else {
        hpack::add_compressed(slot, pending, span_id, slice, place)
    }
}
