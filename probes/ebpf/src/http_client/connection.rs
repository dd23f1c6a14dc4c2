//! The connection that a request goes over, by which the server's span of the same request is found.
//!
//! It is known when the transport has got one, new or idle, and has its place in the record from the span's start on.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
};
use lightfoot_probes_abi::{
    Cookie, Counter, InFlight, Layout, Process, Text,
    connected::{Connected, ConnectedKey, SCRATCH},
    in_flight::state,
    layout::{Http2Connection, NONE},
    propagation::sum,
    record::{CONNECTION_WORDS, Connection},
};

use super::{KIND, around};
use crate::{
    addresses,
    counters::count,
    in_flight,
    maps::{CONNECTED, CONNECTING, NOT_CONNECTED},
    memory::read_word,
    registers::{self, Registers},
};

/// Makes room for it. It is the first of the strings.
#[inline(always)]
pub fn reserve(entry: &mut InFlight) {
    // SAFETY: the strings have more words.
    unsafe { addresses::zero(entry.strings.as_mut_ptr()) };
    entry.strings_length = size_of::<Connection>() as u64;
    entry.record.lengths[Text::Peer as usize] = size_of::<Connection>() as u16;
}

#[inline(always)]
fn has_room(entry: &InFlight) -> bool {
    entry.state & state::UNSAMPLED == 0
        && entry.record.lengths[Text::Peer as usize] as usize == size_of::<Connection>()
}

/// `(pc *persistConn) roundTrip(req *transportRequest) (*Response, error)`
///
/// A transport that tries again comes here again: the last connection counts.
#[inline(never)]
pub fn note(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    count(process.counters, Counter::JoinSite);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { around(registers, tgid, process, layout).as_mut() }) else { return };
    if !has_room(entry) {
        return;
    }
    let from = registers::argument(registers, 0).wrapping_add(layout.client_connection.connection);
    let room = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory is larger than the room, and the strings than a connection.
    unsafe {
        addresses::clear(room);
        if addresses::of_conn(process, layout, room, from) {
            addresses::copy(room, entry.strings.as_mut_ptr());
            entry.strings[0] = bpf_ktime_get_boot_ns();
            entry.state &= !state::UNCONNECTED;
        } else {
            addresses::zero(entry.strings.as_mut_ptr());
            entry.state |= state::UNCONNECTED;
        }
    }
}

/// `(cs *clientStream) encodeAndWriteHeaders(req *http.Request) error`
///
/// The request's own goroutine has created this one, and waits. It finds there what was noted when its span ends. A transport that tries
/// again comes here again: the last connection counts.
#[inline(never)]
pub fn note_http2(registers: Registers, tgid: u32, process: &Process, layout: &Layout, cookie: u64) {
    count(process.counters, Counter::JoinSite);
    let span_id = span_of(registers, tgid, process, layout, cookie);
    if span_id == 0 {
        return;
    }
    // What is put together is this thread's alone, and then noted as a whole.
    let thread = bpf_get_current_pid_tgid();
    let found = begin(thread);
    if !found.is_null() {
        read_to(found, process, layout, registers::argument(registers, 0), cookie);
        publish(found, process.instance, span_id);
        end(thread);
    }
}

/// The id of the span whose request the stream is for, or 0.
#[inline(never)]
fn span_of(registers: Registers, tgid: u32, process: &Process, layout: &Layout, cookie: u64) -> u64 {
    let (of, request) = (fields(layout, cookie), registers::argument(registers, 1));
    let header = read_word(process.counters, request.wrapping_add(of.header));
    let url = read_word(process.counters, request.wrapping_add(of.url));
    waiting(tgid, creator(registers, process, layout), header, url)
}

#[inline(always)]
fn fields(layout: &Layout, cookie: u64) -> &Http2Connection {
    if cookie & Cookie::X_NET == 0 { &layout.http2_connection } else { &layout.x_http2_connection }
}

/// The id of the goroutine that has created this one, or 0.
#[inline(never)]
fn creator(registers: Registers, process: &Process, layout: &Layout) -> u64 {
    if layout.g.parent_goid == NONE {
        return 0;
    }
    read_word(process.counters, registers::g(registers).wrapping_add(layout.g.parent_goid))
}

/// The id of the goroutine's innermost open span, if it is that of a request with this header map and this URL, and recorded; else 0.
/// That goroutine may end it at any time, and another span may have its place then.
#[inline(never)]
fn waiting(tgid: u32, goid: u64, header: u64, url: u64) -> u64 {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::innermost(tgid, goid).as_ref() }) else { return 0 };
    let span_id = &raw const entry.record.header.span_id;
    // SAFETY: a field of the element. Volatile, for the above.
    let before = unsafe { span_id.read_volatile() };
    let is_its = entry.record.header.kind == KIND
        && entry.record.header.tgid == tgid
        && entry.record.header.goid == goid
        && has_room(entry)
        && url != 0
        && entry.target.pointer == header
        && entry.target.length == url;
    // SAFETY: as above.
    if is_its && unsafe { span_id.read_volatile() } == before { before } else { 0 }
}

/// A thread's element of `CONNECTING`, or null.
#[inline(never)]
fn begin(thread: u64) -> *mut Connected {
    let Some(nothing) = NOT_CONNECTED.get(0) else { return core::ptr::null_mut() };
    if CONNECTING.insert(&thread, nothing, u64::from(BPF_ANY)).is_err() {
        return core::ptr::null_mut();
    }
    CONNECTING.get_ptr_mut(&thread).unwrap_or(core::ptr::null_mut())
}

#[inline(never)]
fn end(thread: u64) {
    let _ = CONNECTING.remove(&thread);
}

/// Reads what the stream goes over. Without that the element says nothing.
#[inline(never)]
fn read_to(element: *mut Connected, process: &Process, layout: &Layout, stream: u64, cookie: u64) {
    let (of, room) = (fields(layout, cookie), element.cast::<u64>());
    let connection = read_word(process.counters, stream.wrapping_add(of.connection));
    let id = read_word(process.counters, stream.wrapping_add(of.stream));
    // SAFETY: the kernel hands out elements that live at least until the program ends; such a one begins with the room.
    unsafe {
        addresses::set_stream(room, id);
        if addresses::of_conn(process, layout, room, connection.wrapping_add(of.held)) {
            *room.add(SCRATCH) = bpf_ktime_get_boot_ns();
        } else {
            addresses::clear(room);
        }
    }
}

/// Notes the element for the span.
#[inline(never)]
fn publish(element: *mut Connected, instance: u32, span_id: u64) {
    // SAFETY: as above.
    let element = unsafe { &mut *element };
    element.sum = if element.connection[0] == 0 { 0 } else { summed(&element.connection, span_id) };
    // Without room the call is one whose connection is not known.
    let key = ConnectedKey { span_id, instance, reserved: 0 };
    let _ = CONNECTED.insert(&key, element, u64::from(BPF_ANY));
}

/// What an element with this connection must have summed up, if it is the span's.
#[inline(always)]
fn summed(connection: &[u64; CONNECTION_WORDS], span_id: u64) -> u64 {
    let mut all = span_id;
    let mut word = 0;
    while word < CONNECTION_WORDS {
        all = sum(all, connection[word]);
        word += 1;
    }
    all
}

/// Takes what was noted for the span, which ends, to its record, and counts if its connection is not known.
#[inline(never)]
pub fn take(entry: &mut InFlight) {
    if !has_room(entry) {
        return;
    }
    if entry.record.protocol_major != 1 {
        take_noted(entry);
    }
    if entry.state & state::UNCONNECTED != 0 {
        count(entry.counters, Counter::JoinUnproven);
    }
}

/// That of a request over HTTP/2, or of one that has failed, of which it is not known.
#[inline(never)]
fn take_noted(entry: &mut InFlight) {
    let span_id = entry.record.header.span_id;
    let key = ConnectedKey { span_id, instance: entry.instance, reserved: 0 };
    let to = entry.strings.as_mut_ptr();
    let Some(element) = CONNECTED.get_ptr(&key) else {
        // The kernel has forgotten it for newer ones, or it was never noted; an earlier attempt over HTTP/1 does not count.
        if entry.record.protocol_major == 2 {
            entry.state |= state::UNCONNECTED;
            // SAFETY: the strings have more words.
            unsafe { addresses::zero(to) };
        }
        return;
    };
    entry.state &= !state::UNCONNECTED;
    // SAFETY: the kernel hands out elements that live at least until the program ends; the strings have more words.
    unsafe {
        let mut all = span_id;
        let mut place = 0;
        while place < CONNECTION_WORDS {
            let word = element.cast::<u64>().add(SCRATCH + place).read_volatile();
            to.add(place).write_volatile(word);
            all = sum(all, word);
            place += 1;
        }
        if (&raw const (*element).sum).read_volatile() != all {
            addresses::zero(to);
            entry.state |= state::UNCONNECTED;
        }
    }
    let _ = CONNECTED.remove(&key);
}
