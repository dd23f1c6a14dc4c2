//! `tracestate`: what a served request came with is kept under the id of its span, and goes out with requests whose parent that is.
//!
//! The list is looked at when it goes out, where it was written in the program's memory, which one goroutine alone writes: whatever came, the
//! header is a well-formed one.
//! What keeps it is global functions of numbers, as in [`crate::headers`], which must not wait for memory; but it was there a moment ago.

use aya_ebpf::{bindings::BPF_ANY, macros::map, maps::LruHashMap};
use lightfoot_probes_abi::{
    Counter, InFlight, Pending, TraceState, TraceStateKey,
    in_flight::{HeaderName, state},
    limits::{PEER, TRACESTATE, TRACESTATE_VALUES},
    process::process_flags,
    propagation::sum,
    trace_state::{BUFFER, Walk},
};

use super::{
    compared::{read_back, within},
    publish, write_block, write_user,
};
use crate::{
    counters::count,
    in_flight,
    maps::PROCESSES,
    memory::{masked, read_present, read_word},
};

#[map]
static TRACE_STATES: LruHashMap<TraceStateKey, TraceState> = LruHashMap::with_max_entries(4096, 0);

/// What stands before the value, and behind it.
const NAME: &[u8; 12] = b"tracestate: ";
const LINE_END: &[u8; 2] = b"\r\n";
/// What the line takes beside the value.
const LINE: u64 = (NAME.len() + LINE_END.len()) as u64;

/// The same as HPACK has it, a literal that is not indexed (RFC 7541, section 6.2.2): its kind, the length of the name, the name. The
/// length of the value follows.
const FIELD_NAME: u64 = 1 + 1 + 10;
/// What a field takes beside its value, whose length takes three bytes at most.
const FIELD_REST: u64 = FIELD_NAME + 3;
/// The longest field.
pub const MAX_FIELD: u64 = FIELD_REST + TRACESTATE as u64;
/// How much more of a list of headers a field takes than the bytes that are asked for (RFC 9113, section 6.5.2).
pub const IN_LIST: u64 = 10 + 32 - FIELD_REST;

/// Words of a buffer.
const WORDS: usize = BUFFER / 8;

/// Keeps what the goroutine's request came with, if its process is one to whose requests something is added. [`crate::headers::find`] has
/// found it. Overwrites the scratch memory and the strings behind the peer's address. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn keep_state(tgid: u32, goid: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    let Some(process) = PROCESSES.get_ptr(&tgid) else { return 0 };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let flags = unsafe { (*process).flags };
    let values = entry.headers[HeaderName::Tracestate as usize].length;
    if flags & process_flags::PROPAGATE == 0 || values == 0 || entry.record.header.parent_span_id == 0 {
        return 0;
    }
    let mut word = 0;
    while word < size_of::<TraceState>() / 8 {
        // SAFETY: within the strings. Volatile, or LLVM makes it a call of a function that sets byte by byte.
        unsafe { entry.strings.as_mut_ptr().add(PEER / 8 + word).write_volatile(0) };
        word += 1;
    }
    let mut value = 0;
    while value < TRACESTATE_VALUES as u64 && value < values && append_state(tgid, goid, value) != 0 {
        value += 1;
    }
    if value != values {
        // A record has a copy that is dropped in the same way, and counted.
        if entry.state & state::UNSAMPLED != 0 {
            count(entry.counters, Counter::TracestateDropped);
        }
    } else if staged(entry).length != 0 {
        insert_state(tgid, goid);
    }
    0
}

#[inline(always)]
fn server<'a>(tgid: u32, goid: u64) -> Option<&'a mut InFlight> {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    unsafe { in_flight::find(tgid, goid, 0).as_mut() }
}

/// Appends a value to those before. Returns 0 if it cannot be read, or there is no room.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append_state(tgid: u32, goid: u64, value: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    let from = entry.headers[HeaderName::Tracestate as usize].pointer.wrapping_add(value * 16);
    // SAFETY: the scratch memory has more than 16 bytes.
    if unsafe { !read_present(entry.counters, entry.scratch.as_mut_ptr().cast(), 16, from) } {
        return 0;
    }
    let (pointer, length) = (entry.scratch[0], entry.scratch[1] as usize);
    let end = staged(entry).length as usize;
    let comma = usize::from(end != 0);
    if length > TRACESTATE || end > TRACESTATE || end + comma + length > TRACESTATE {
        return 0;
    }
    // SAFETY: within the text, which has room for more, by the comparisons.
    let is_read = unsafe {
        let to = staged(entry).text.as_mut_ptr().cast::<u8>().add(end);
        *to = b',' * comma as u8;
        length == 0 || read_present(entry.counters, to.add(comma), length, pointer)
    };
    staged(entry).length = (end + comma + length) as u64;
    is_read.into()
}

/// Where an element is made: in the strings, which are longer.
#[inline(always)]
fn staged(entry: &mut InFlight) -> &mut TraceState {
    // SAFETY: the place lies within the strings, and all bytes are a valid value.
    unsafe { &mut *entry.strings.as_mut_ptr().add(PEER / 8).cast::<TraceState>() }
}

/// Makes the element known. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn insert_state(tgid: u32, goid: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    let key = key_of(entry);
    let to = staged(entry);
    let mut all = sum(key.span_id, to.length);
    let mut word = 0;
    while word < WORDS {
        all = sum(all, to.text[word]);
        word += 1;
    }
    to.sum = all;
    if TRACE_STATES.insert(&key, to, u64::from(BPF_ANY)).is_ok() {
        entry.state |= state::TRACE_STATE;
    } else {
        count(entry.counters, Counter::PropagationStateEvicted);
    }
    0
}

#[inline(always)]
fn key_of(entry: &InFlight) -> TraceStateKey {
    TraceStateKey { span_id: entry.record.header.span_id, instance: entry.instance, reserved: 0 }
}

/// At the end of a span, counts if what its request came with was dropped for others, of which the kernel tells nothing. It stays where it is:
/// a request may still be sent on its behalf.
#[inline(never)]
pub fn check_kept(entry: &InFlight) {
    if entry.state & state::TRACE_STATE != 0 && find(&key_of(entry)).is_null() {
        count(entry.counters, Counter::PropagationStateEvicted);
    }
}

/// Writes the line to where nobody looks, if the request's parent came with a list that may be passed on and that has room. Returns how
/// many bytes it is, or 0.
#[inline(never)]
pub fn write(slot: u32, pending: &Pending, span_id: u64, to: u64, room: u64) -> u64 {
    let length = take_state(pending.instance, pending.header, pending.url, span_id);
    if length == 0 {
        return 0;
    }
    if length + LINE > room || !write_line(slot, pending, span_id, to, length) {
        count(slot, Counter::PropagationStateDropped);
        return 0;
    }
    length + LINE
}

/// The same of a field in HPACK's form.
#[inline(never)]
pub fn write_field(slot: u32, pending: &Pending, span_id: u64, to: u64, room: u64) -> u64 {
    let length = take_state(pending.instance, pending.header, pending.url, span_id);
    if length == 0 {
        return 0;
    }
    let before = if length + FIELD_REST > room { 0 } else { write_name(slot, to, length) };
    if before == 0 || !write_value(pending, span_id, to.wrapping_add(before), length, false) {
        count(slot, Counter::PropagationStateDropped);
        return 0;
    }
    before + length
}

/// Whether there is what the request's parent came with.
#[inline(never)]
pub fn is_kept(pending: &Pending) -> bool {
    let key =
        TraceStateKey { span_id: pending.parent_span_id, instance: pending.instance as u32, reserved: 0 };
    key.span_id != 0 && !find(&key).is_null()
}

/// Counts if what its parent came with does not go out with a span.
#[inline(never)]
pub fn leave(entry: &InFlight) {
    let span_id = entry.record.header.parent_span_id;
    if !find(&TraceStateKey { span_id, instance: entry.instance, reserved: 0 }).is_null() {
        count(entry.counters, Counter::PropagationStateDropped);
    }
}

/// Takes what the parent came with of the request with this header map and this URL to the block of its element. Returns how many bytes
/// it is, or 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn take_state(instance: u64, header: u64, url: u64, expected_span_id: u64) -> u64 {
    let instance = instance as u32;
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(pending) = (unsafe { super::find(instance, header, url).as_mut() }) else { return 0 };
    if super::span_id(pending) != expected_span_id {
        return 0;
    }
    let key = TraceStateKey { span_id: pending.parent_span_id, instance, reserved: 0 };
    // SAFETY: as above.
    let Some(state) = (unsafe { find(&key).as_ref() }) else { return 0 };
    let mut word = 0;
    while word < WORDS {
        // SAFETY: a word of the element. Volatile, for another span may just use the element anew.
        pending.block[word] = unsafe { (&raw const state.text[word]).read_volatile() };
        word += 1;
    }
    state.length.min(TRACESTATE as u64)
}

/// Writes the value, of which the element's block has so many bytes. False unless it stands there as it came, and is a list that may be
/// passed on, without blanks at its ends if it may have none. It is looked at there, where this goroutine alone writes: elements may be
/// used anew at any time.
#[inline(never)]
fn write_value(pending: &Pending, span_id: u64, to: u64, length: u64, may_have_blanks: bool) -> bool {
    write_block(pending, span_id, to, length as usize)
        && is_as_it_came(pending.instance, pending.parent_span_id, to, length) != 0
        && is_list(to, length) != 0
        && (may_have_blanks || !has_blank_end(to, length))
}

/// Whether so many bytes in the program's memory are what the request of this span came with. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_as_it_came(instance: u64, span_id: u64, from: u64, length: u64) -> u64 {
    let key = TraceStateKey { span_id, instance: instance as u32, reserved: 0 };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(state) = (unsafe { find(&key).as_ref() }) else { return 0 };
    let mut found = sum(span_id, length);
    let mut byte = 0;
    while byte < BUFFER as u64 {
        let mask = within(byte, length);
        let text = if mask == 0 { 0 } else { read_back(0, from.wrapping_add(byte)) & mask };
        found = sum(found, text);
        byte += 8;
    }
    u64::from(found == state.sum)
}

/// Whether so many bytes in the program's memory are a list as the standard has it. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_list(from: u64, length: u64) -> u64 {
    let mut walk = Walk::START;
    let mut text = 0;
    let mut byte = 0;
    while byte < BUFFER as u64 {
        // Or LLVM takes eight steps at once, for which there are too few registers.
        let place = masked::<7>(byte);
        if place == 0 {
            text = read_back(0, from.wrapping_add(byte));
        }
        // Zeros from the length on, without a branch, each of which would be another way through all that comes.
        let is_within = (byte.wrapping_sub(length) >> 63) as u8 * u8::MAX;
        walk.take(text as u8 & is_within, |index| masked::<0x7f>(index.into()));
        text >>= 8;
        byte += 1;
    }
    u64::from(length != 0 && walk.valid_length() == length)
}

#[inline(always)]
fn find(key: &TraceStateKey) -> *const TraceState {
    TRACE_STATES.get_ptr(key).unwrap_or(core::ptr::null())
}

#[inline(always)]
fn write_line(slot: u32, pending: &Pending, span_id: u64, to: u64, length: u64) -> bool {
    let value = to.wrapping_add(NAME.len() as u64);
    let end = value.wrapping_add(length);
    // SAFETY: the constants are as long as that.
    let is_written = unsafe {
        write_user(to, NAME.as_ptr(), NAME.len() as u32)
            && write_user(end, LINE_END.as_ptr(), LINE_END.len() as u32)
    };
    is_written
        && write_value(pending, span_id, value, length, true)
        && read_word(slot, to) == u64::from_le_bytes(*b"tracesta")
        && read_word(slot, to.wrapping_add(4)) == u64::from_le_bytes(*b"estate: ")
        && read_word(slot, end.wrapping_sub(6)) >> 48 == super::LINE_END
}

/// Blanks at its ends are none of a value over HTTP/2 (RFC 9113, section 8.2.1).
#[inline(always)]
fn has_blank_end(from: u64, length: u64) -> bool {
    is_blank(from) || is_blank(from.wrapping_add(length).wrapping_sub(1))
}

#[inline(always)]
fn is_blank(from: u64) -> bool {
    let byte = read_back(0, from) as u8;
    byte == b' ' || byte == b'\t'
}

/// Writes what stands before a value of this length, and some bytes more. Returns how many bytes it is, or 0.
#[inline(never)]
fn write_name(slot: u32, to: u64, length: u64) -> u64 {
    let first = u64::from_le_bytes(*b"\0\x0atraces");
    let second = u64::from(u32::from_le_bytes(*b"tate")) | encoded(length) << 32;
    // There is room for both words: no list is shorter than three bytes.
    let is_written = publish(slot, to, first) == Counter::Propagated
        && publish(slot, to.wrapping_add(8), second) == Counter::Propagated;
    let bytes = FIELD_NAME + 1 + u64::from(length >= 127) + u64::from(length >= 127 + 128);
    if is_written { bytes } else { 0 }
}

/// The length of a value that is not compressed, as HPACK has it (RFC 7541, section 5.1): the first byte lowest.
#[inline(always)]
fn encoded(length: u64) -> u64 {
    if length < 127 {
        return length;
    }
    let rest = length - 127;
    let second = if rest < 128 { rest } else { rest & 0x7f | 0x80 };
    0x7f | second << 8 | (rest >> 7) << 16
}
