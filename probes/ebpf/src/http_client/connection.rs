//! The connection that a request goes over, by which the server's span of the same request is found.
//!
//! It is known when the transport has got one, new or idle, and has its place in the record from the span's start on.

use aya_ebpf::{bindings::BPF_ANY, helpers::generated::bpf_ktime_get_boot_ns};
use lightfoot_probes_abi::{
    Cookie, Counter, InFlight, Layout, Process, Text,
    connected::{Connected, ConnectedKey, SCRATCH},
    in_flight::state,
    layout::NONE,
    propagation::sum,
    record::{CONNECTION_WORDS, Connection},
};

use super::{KIND, around};
use crate::{
    addresses,
    counters::count,
    in_flight,
    maps::{CONNECTED, NOT_CONNECTED},
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
        } else {
            addresses::zero(entry.strings.as_mut_ptr());
            count(process.counters, Counter::JoinUnproven);
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
    let of = if cookie & Cookie::X_NET == 0 { &layout.http2_connection } else { &layout.x_http2_connection };
    let [stream, request] = [0, 1].map(|position| registers::argument(registers, position));
    let header = read_word(process.counters, request.wrapping_add(of.header));
    let url = read_word(process.counters, request.wrapping_add(of.url));
    let goid = creator(registers, process, layout);
    let span_id = span_of(tgid, goid, header, url);
    if span_id == 0 {
        return;
    }
    let connection = read_word(process.counters, stream.wrapping_add(of.connection));
    let id = read_word(process.counters, stream.wrapping_add(of.stream));
    if !read_for(process, layout, span_id, id, connection.wrapping_add(of.held)) {
        count(process.counters, Counter::JoinUnproven);
    }
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
fn span_of(tgid: u32, goid: u64, header: u64, url: u64) -> u64 {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::innermost(tgid, goid).as_ref() }) else { return 0 };
    let span_id = &raw const entry.record.header.span_id;
    // SAFETY: a field of the element. Volatile, for the above.
    let before = unsafe { span_id.read_volatile() };
    let is_its = entry.record.header.kind == KIND
        && has_room(entry)
        && header != 0
        && entry.target.pointer == header
        && entry.target.length == url;
    // SAFETY: as above.
    if is_its && unsafe { span_id.read_volatile() } == before { before } else { 0 }
}

/// Reads the `net.Conn` at `from`, and notes for the span that its request goes over it, as this stream.
#[inline(never)]
fn read_for(process: &Process, layout: &Layout, span_id: u64, stream: u64, from: u64) -> bool {
    let key = ConnectedKey { span_id, instance: process.instance, reserved: 0 };
    let found = noted_anew(&key);
    if found.is_null() {
        return false;
    }
    let room = found.cast::<u64>();
    // SAFETY: the kernel hands out elements that live at least until the program ends; such a one begins with the room.
    unsafe {
        addresses::clear(room);
        addresses::set_stream(room, stream);
        if !addresses::of_conn(process, layout, room, from) {
            return false;
        }
        *room.add(SCRATCH) = bpf_ktime_get_boot_ns();
        (*found).sum = summed(found, span_id);
    }
    true
}

/// An element of `CONNECTED` of which nothing counts yet, or null.
#[inline(never)]
fn noted_anew(key: &ConnectedKey) -> *mut Connected {
    let Some(nothing) = NOT_CONNECTED.get(0) else { return core::ptr::null_mut() };
    if CONNECTED.insert(key, nothing, u64::from(BPF_ANY)).is_err() {
        return core::ptr::null_mut();
    }
    CONNECTED.get_ptr_mut(key).unwrap_or(core::ptr::null_mut())
}

/// What the element must have summed up, if it is the span's.
#[inline(always)]
unsafe fn summed(element: *const Connected, span_id: u64) -> u64 {
    let mut all = span_id;
    let mut word = 0;
    while word < CONNECTION_WORDS {
        // SAFETY: as the callers vouch. Volatile, as another processor may change it.
        all = sum(all, unsafe { element.cast::<u64>().add(SCRATCH + word).read_volatile() });
        word += 1;
    }
    all
}

/// Takes what was noted for the span, which ends, to its record.
#[inline(never)]
pub fn take(entry: &mut InFlight) {
    if entry.target.pointer == 0 || !has_room(entry) || entry.record.protocol_major == 1 {
        return;
    }
    let span_id = entry.record.header.span_id;
    let key = ConnectedKey { span_id, instance: entry.instance, reserved: 0 };
    let Some(element) = CONNECTED.get_ptr(&key) else {
        // The kernel has forgotten it for newer ones, or it was never noted.
        if entry.record.protocol_major == 2 {
            count(entry.counters, Counter::JoinUnproven);
        }
        return;
    };
    let to = entry.strings.as_mut_ptr();
    // SAFETY: the kernel hands out elements that live at least until the program ends; the strings have more words.
    unsafe {
        addresses::copy(element.cast(), to);
        let mut all = span_id;
        let mut word = 0;
        while word < CONNECTION_WORDS {
            all = sum(all, *to.add(word));
            word += 1;
        }
        if (&raw const (*element).sum).read_volatile() != all {
            addresses::zero(to);
        }
    }
    let _ = CONNECTED.remove(&key);
}
