//! Passing a span's context on with what a client sends: the only module that writes to the program it watches.
//!
//! A request over HTTP/1 is written by the goroutine of its connection into a `bufio.Writer` that nobody else uses. Before the line
//! that ends the headers, the header is written behind what the buffer holds, where the program looks at nothing, and read back; then
//! the one word that says how much the buffer holds makes it part of the request. Whatever is not as it must be is counted, and
//! nothing is written. [`http2`] and [`grpc`] do the same for what is sent over HTTP/2, by way of [`hpack`]; [`states`] has the `tracestate` of
//! requests over HTTP/1.
//!
//! Another processor may use an element of `PENDING` anew at any time, for another process too: what is read there may be anything. So no
//! address comes from there, and no length but one that fits in any case, and nothing is made part of a request unless the element was the same span's all along
//! ([`write_payload`]). What passes through its block is compared where it was written to, which nobody else writes ([`compared::are_same`], [`states`]).

mod compared;
mod compressed;
pub mod grpc;
mod hpack;
pub mod http2;
pub mod states;

use core::ptr;

use aya_ebpf::{
    bindings::BPF_NOEXIST, cty::c_void, helpers::generated::bpf_probe_write_user, macros::map,
    maps::LruHashMap,
};
use lightfoot_probes_abi::{
    Cookie, Counter, InFlight, Layout, Pending, PendingKey, PendingState, Process, RecordHeader,
    in_flight::{HeaderName, Slice},
    layout::{ITAB_TYPE, MapKind},
    limits::STRINGS,
    process::process_flags,
    propagation::{BLOCK, FIELD, FIELD_WORDS, HEADER, HEADER_WORDS},
};

use crate::{
    counters, headers, in_flight,
    memory::{masked, read_user, read_word},
    registers::{self, Registers},
};

#[map]
static PENDING: LruHashMap<PendingKey, Pending> = LruHashMap::with_max_entries(8192, 0);

/// Where in a span's strings an element is made, in words: behind what a client's span has there.
const STAGING: usize = (STRINGS - size_of::<Pending>()) / 8;

/// What a line of a header ends with, as the last bytes of a word.
const LINE_END: u64 = u16::from_le_bytes(*b"\r\n") as u64;

/// Looks through the headers of a request that is about to be sent. Overwrites the scratch memory and the strings.
#[inline(never)]
pub fn search(entry: &mut InFlight, process: &Process, layout: &Layout, request: u64) {
    if process.flags & process_flags::PROPAGATE == 0 || !layout.propagation.is_known() {
        return;
    }
    let header = read_word(entry.counters, request.wrapping_add(layout.request.header));
    let url = read_word(entry.counters, request.wrapping_add(layout.request.url));
    if header == 0 || url == 0 || layout.header.kind == MapKind::Unknown as u64 {
        return;
    }
    entry.target = Slice { pointer: header, length: url };
    let is_searched = headers::find_all(entry, &layout.header, header);
    let state = if entry.headers[HeaderName::Traceparent as usize].length != 0 {
        PendingState::Own
    } else if is_searched {
        PendingState::Free
    } else {
        PendingState::Unproven
    };
    entry.response = state as u64;
}

/// Notes what is to be added to the request, whose span has its ids.
#[inline(never)]
pub fn note(entry: &mut InFlight, layout: &Layout) {
    if entry.response == 0 {
        return;
    }
    let headers = read_word(entry.counters, entry.target.pointer.wrapping_add(layout.propagation.headers));
    // SAFETY: the place lies within the strings, and all bytes are a valid value.
    let pending = unsafe { &mut *entry.strings.as_mut_ptr().add(STAGING).cast::<Pending>() };
    pending.state = entry.response;
    pending.header = entry.target.pointer;
    pending.url = entry.target.length;
    pending.instance = entry.instance.into();
    pending.headers = headers;
    let has_own_state = entry.headers[HeaderName::Tracestate as usize].length != 0;
    pending.parent_span_id = if has_own_state { 0 } else { entry.record.header.parent_span_id };
    write_out(pending, &entry.record.header, entry.level);
    if !insert(entry) {
        entry.response = 0;
    }
}

/// Notes which span it is, and its context in both forms.
#[inline(always)]
fn write_out(pending: &mut Pending, header: &RecordHeader, level: u32) {
    pending.span_id = header.span_id;
    pending.span_id_again = header.span_id;
    pending.goid = header.goid;
    pending.tgid = header.tgid;
    pending.level = level;
    pending.text[0] = u64::from_le_bytes(*b"tracepar");
    pending.text[1] = u64::from_le_bytes(*b"ent: 00-");
    pending.text[2] = hexadecimal(header.trace_id[0]);
    pending.text[3] = hexadecimal(header.trace_id[0] >> 32);
    pending.text[4] = hexadecimal(header.trace_id[1]);
    pending.text[5] = hexadecimal(header.trace_id[1] >> 32);
    let (first, last) = (hexadecimal(header.span_id), hexadecimal(header.span_id >> 32));
    // That it is recorded, and that the trace's id is random, as whoever began it said; more flags are not kept (`trace::parse`).
    let flags = u64::from(header.trace_flags & 3);
    pending.text[6] = u64::from(b'-') | first << 8;
    pending.text[7] = first >> 56 | last << 8;
    pending.text[8] = last >> 56 | u64::from_le_bytes(*b"\0-00\r\n\0\0") | flags << 24;
    // A literal that is not indexed (RFC 7541, section 6.2.2). What is before the value is a byte longer.
    pending.field[0] = u64::from_le_bytes(*b"\x00\x0btracep");
    pending.field[1] = u64::from_le_bytes(*b"arent\x3700");
    let mut word = 2;
    while word < FIELD_WORDS {
        pending.field[word] = pending.text[word - 1] >> 56 | pending.text[word] << 8;
        word += 1;
    }
}

/// Forgets what was noted for a span that ends.
#[inline(never)]
pub fn forget(entry: &InFlight) {
    if entry.response != 0 {
        let _ = PENDING.remove(&key(entry));
    }
}

/// The headers of a request over HTTP/1 are written but for the empty line: `io.WriteString(w, "\r\n")`.
#[inline(never)]
pub fn head(registers: Registers, process: &Process, layout: &Layout, cookie: u64) {
    let outcome = add(registers, process, layout, Cookie(cookie).receiver());
    counters::count(process.counters, outcome);
}

#[inline(always)]
fn add(registers: Registers, process: &Process, layout: &Layout, receiver: u64) -> Counter {
    let slot = process.counters;
    let request = read_word(slot, registers::stack_pointer(registers).wrapping_add(receiver * 8));
    let header = read_word(slot, request.wrapping_add(layout.request.header));
    let url = read_word(slot, request.wrapping_add(layout.request.url));
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(pending) = (unsafe { find(process.instance, header, url).as_mut() }) else {
        return Counter::PropagationUnknown;
    };
    let span_id = span_id(pending);
    let may_be_written = check(slot, layout, pending, header, url);
    if may_be_written != Counter::Propagated {
        return may_be_written;
    }
    let itab = registers::argument(registers, 0);
    let writer_type = read_word(slot, itab.wrapping_add(ITAB_TYPE)).wrapping_sub(process.bias);
    if registers::argument(registers, 3) != 2 || writer_type != layout.propagation.writer_type {
        return Counter::PropagationUnproven;
    }
    write(slot, layout, pending, span_id, registers::argument(registers, 1))
}

/// Whether the header may be added to the request with this header map and this URL, for which the element was found. If not, why.
#[inline(never)]
fn check(slot: u32, layout: &Layout, pending: &Pending, header: u64, url: u64) -> Counter {
    let state = pending.state;
    if pending.header != header || pending.url != url || !is_open(pending) {
        Counter::PropagationUnknown
    } else if state == PendingState::Own as u64 {
        Counter::PropagationOwn
    } else if state == PendingState::Shared as u64 {
        Counter::PropagationShared
    } else if state != PendingState::Free as u64
        || read_word(slot, header.wrapping_add(layout.propagation.headers)) != pending.headers
    {
        Counter::PropagationUnproven
    } else {
        Counter::Propagated
    }
}

/// Adds the header to what the `bufio.Writer` holds, behind the `tracestate` that goes with it.
#[inline(never)]
fn write(slot: u32, layout: &Layout, pending: &mut Pending, span_id: u64, writer: u64) -> Counter {
    let place = writer.wrapping_add(layout.propagation.used);
    let used = read_word(slot, place);
    let buffer = read_word(slot, writer.wrapping_add(layout.propagation.buffer));
    let length = read_word(slot, writer.wrapping_add(layout.propagation.buffer).wrapping_add(8));
    if !place.is_multiple_of(8) || used < 8 || used > length {
        return Counter::PropagationUnproven;
    }
    if length - used < HEADER as u64 {
        return Counter::PropagationNoRoom;
    }
    let end = buffer.wrapping_add(used);
    if read_word(slot, end.wrapping_sub(8)) >> 48 != LINE_END {
        return Counter::PropagationUnproven;
    }
    let state = states::write(slot, pending, span_id, end, length - used - HEADER as u64);
    if !write_payload::<HEADER>(slot, pending, span_id, end.wrapping_add(state)) {
        return Counter::PropagationUnproven;
    }
    let outcome = publish(slot, place, used + state + HEADER as u64);
    if state != 0 && outcome == Counter::Propagated {
        counters::count(slot, Counter::PropagatedStates);
    }
    outcome
}

/// Sets the word that makes what was written part of the request, and reads it back.
#[inline(never)]
fn publish(slot: u32, place: u64, word: u64) -> Counter {
    // SAFETY: the word has eight bytes.
    let is_published = unsafe { write_user(place, (&raw const word).cast(), 8) };
    if is_published && compared::read_back(slot, place) == word {
        Counter::Propagated
    } else {
        Counter::PropagationUnproven
    }
}

/// Writes the header to where nobody looks, and reads it back. False unless it stands there, and the element has been that of the span all
/// along.
#[inline(never)]
fn write_payload<const LENGTH: usize>(slot: u32, pending: &mut Pending, span_id: u64, to: u64) -> bool {
    const { assert!(LENGTH == HEADER || LENGTH == FIELD) };
    const { assert!(LENGTH.div_ceil(8) == HEADER_WORDS && !LENGTH.is_multiple_of(8)) };
    let payload = if LENGTH == HEADER { pending.text.as_ptr() } else { pending.field.as_ptr() };
    // SAFETY: both places have room for the header.
    let is_written = unsafe {
        write_user(to, payload.cast(), LENGTH as u32)
            && read_user(slot, pending.back.as_mut_ptr().cast(), LENGTH, to)
    };
    let mut difference = u64::from(!is_written);
    let mut word = 0;
    while word < HEADER_WORDS {
        let mask = if word == HEADER_WORDS - 1 { (1 << (LENGTH % 8 * 8)) - 1 } else { u64::MAX };
        let written = if LENGTH == HEADER { pending.text[word] } else { pending.field[word] };
        difference |= (written ^ pending.back[word]) & mask;
        word += 1;
    }
    (difference | other_span(pending, span_id)) == 0
}

/// 0 if the element has been that of the span all along, for whoever has looked at it before.
#[inline(always)]
fn other_span(pending: &Pending, span_id: u64) -> u64 {
    // SAFETY: a field of the element. Volatile, for another span may just use the element anew.
    let again = unsafe { (&raw const pending.span_id_again).read_volatile() };
    again ^ span_id | self::span_id(pending) ^ span_id
}

/// Writes so many bytes of the element's block. Another program that looks at the element, though it is another span's by now, may
/// change them at any time: what stands there must be proven.
#[inline(always)]
fn write_block(pending: &Pending, span_id: u64, to: u64, length: usize) -> bool {
    let instance_and_last = pending.instance << 32 | (length as u64).wrapping_sub(1) & 0xffff_ffff;
    length <= BLOCK && write_block_of(instance_and_last, pending.header, pending.url, span_id, to) != 0
}

/// The same of the element with this key, unless it is another span's, and of a number of bytes that is one more. A global function, which the
/// verifier follows once; such ones must not wait for memory, but this was there a moment ago, or nothing is written.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn write_block_of(
    instance_and_last: u64,
    header: u64,
    url: u64,
    expected_span_id: u64,
    to: u64,
) -> u64 {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(pending) = (unsafe { find((instance_and_last >> 32) as u32, header, url).as_ref() }) else {
        return 0;
    };
    if span_id(pending) != expected_span_id {
        return 0;
    }
    let length = masked::<{ BLOCK as u64 - 1 }>(instance_and_last) as u64 + 1;
    // SAFETY: the block has `BLOCK` bytes and more.
    u64::from(unsafe { write_user(to, pending.block.as_ptr().cast(), length as u32) })
}

/// The word at an address, as [`read_word`] has it; all ones if it cannot be read.
#[inline(never)]
fn read_word_or_max(slot: u32, from: u64) -> u64 {
    let mut word = 0_u64;
    // SAFETY: the word has eight bytes.
    if unsafe { read_user(slot, (&raw mut word).cast(), 8, from) } {
        return word;
    }
    counters::count(slot, Counter::ReadFault);
    u64::MAX
}

/// The id of the span whose element it is now.
#[inline(always)]
fn span_id(pending: &Pending) -> u64 {
    // SAFETY: a field of the element. Volatile, as above.
    unsafe { (&raw const pending.span_id).read_volatile() }
}

/// The only place that changes anything of the program. False if the memory cannot be written now.
///
/// # Safety
/// `from` must be valid for reads of `length` bytes. The verifier proves it again.
#[inline(never)]
unsafe fn write_user(to: u64, from: *const u8, length: u32) -> bool {
    // SAFETY: the caller vouches for `from`; the helper checks `to`.
    unsafe { bpf_probe_write_user(to as *mut c_void, from.cast::<c_void>(), length) == 0 }
}

#[inline(never)]
fn find(instance: u32, header: u64, url: u64) -> *mut Pending {
    let key = PendingKey { instance, reserved: 0, header, url };
    PENDING.get_ptr_mut(&key).unwrap_or(ptr::null_mut())
}

/// Whether the span for which it was noted is still open.
#[inline(never)]
fn is_open(pending: &Pending) -> bool {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let entry = unsafe { in_flight::find(pending.tgid, pending.goid, pending.level).as_ref() };
    entry.is_some_and(|entry| entry.record.header.span_id == pending.span_id)
}

#[inline(never)]
fn insert(entry: &InFlight) -> bool {
    if insert_new(entry) {
        return true;
    }
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(other) = unsafe { find(entry.instance, entry.target.pointer, entry.target.length).as_mut() }
        && is_open(other)
    {
        other.state = PendingState::Shared as u64;
        return false;
    }
    forget(entry);
    insert_new(entry)
}

/// False if there is one already: of two that come at once one must know of the other.
#[inline(never)]
fn insert_new(entry: &InFlight) -> bool {
    // SAFETY: it was made there.
    let pending = unsafe { &*entry.strings.as_ptr().add(STAGING).cast::<Pending>() };
    PENDING.insert(&key(entry), pending, u64::from(BPF_NOEXIST)).is_ok()
}

#[inline(always)]
fn key(entry: &InFlight) -> PendingKey {
    PendingKey {
        instance: entry.instance,
        reserved: 0,
        header: entry.target.pointer,
        url: entry.target.length,
    }
}

/// The lower four bytes of a number in memory, as eight digits in memory.
#[inline(always)]
fn hexadecimal(bytes: u64) -> u64 {
    let spread = bytes & 0xffff_ffff;
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = spread >> 4 & 0x000f_000f_000f_000f | (spread & 0x000f_000f_000f_000f) << 8;
    let letters = digits.wrapping_add(0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    digits + 0x3030_3030_3030_3030 + letters * 39
}
