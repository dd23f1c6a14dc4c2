//! Putting a record together and sending it.

use core::{mem::offset_of, slice};

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use lightfoot_probes_abi::{
    Counter, GrpcText, Http, InFlight, Text,
    in_flight::{HeaderName, Slice},
    limits::{STRINGS, TRACESTATE, TRACESTATE_VALUES},
};

use crate::{
    counters::count,
    maps::{EVENTS, SETTINGS},
    memory::{read_string, read_user},
};

/// Appends a string of the process to the record: at most its limit, and nothing if it cannot be read.
#[inline(always)]
pub fn append(entry: &mut InFlight, text: Text, string: Slice) {
    if string.length != 0 {
        append_bytes(entry, text as usize, text.limit(), string.pointer, string.length as usize);
    }
}

/// The same to the record of a gRPC call.
#[inline(always)]
pub fn append_grpc(entry: &mut InFlight, text: GrpcText, string: Slice) {
    if string.length != 0 {
        append_bytes(entry, text as usize, text.limit(), string.pointer, string.length as usize);
    }
}

#[inline(never)]
fn append_bytes(entry: &mut InFlight, text: usize, limit: usize, pointer: u64, mut length: usize) {
    if length > limit {
        length = limit;
        entry.record.header.cut |= 1 << text;
        count(entry.counters, Counter::CutString);
    }
    let end = entry.strings_length as usize;
    if end > STRINGS - limit {
        // Only a route in pieces, behind strings that are all as long as can be.
        entry.record.header.cut |= 1 << text;
        return count(entry.counters, Counter::CutString);
    }
    // SAFETY: `end` plus `length` is at most the size of the strings, by the comparisons.
    let to = unsafe { entry.strings.as_mut_ptr().cast::<u8>().add(end) };
    // SAFETY: as above.
    if unsafe { read_user(entry.counters, to, length, pointer) } {
        entry.strings_length = (end + length) as u64;
        entry.record.lengths[text % Text::COUNT] = length as u16;
    } else {
        entry.record.header.missing |= 1 << text;
        count(entry.counters, Counter::ReadFault);
    }
}

/// Appends the state that came with a valid `traceparent`.
#[inline(always)]
pub fn append_tracestate(entry: &mut InFlight) {
    let states = entry.headers[HeaderName::Tracestate as usize];
    if states.length != 0 && entry.record.header.parent_span_id != 0 {
        copy_tracestate(entry, states.pointer, states.length);
    }
}

/// Sends the record. It may be lost; then that is counted.
#[inline(never)]
pub fn send(entry: &mut InFlight) {
    let strings = entry.strings_length as usize;
    if strings > STRINGS {
        return; // it can't be
    }
    let length = size_of::<Http>() + strings;
    entry.record.header.length = length as u32;
    let counters = entry.counters;
    let wake_up = wake_up(length as u64, counters);
    let start = (&raw const *entry).cast::<u8>();
    // SAFETY: the strings lie right behind the record (`probes/abi` asserts it), so `length` bytes are within the entry.
    let record = unsafe { slice::from_raw_parts(start.add(offset_of!(InFlight, record)), length) };
    let sent = EVENTS.output(record, wake_up).is_ok();
    count(counters, if sent { Counter::Ended } else { Counter::RingFull });
}

/// Whether to wake the reader: no, unless the bytes that wait pass a multiple of what the agent has set. Waking an idle
/// reader costs more than all the rest, and the reader looks at the ring on its own a few dozen times a second.
#[inline(always)]
fn wake_up(length: u64, counters: u32) -> u64 {
    let Some(settings) = SETTINGS.get(0) else { return BPF_RB_NO_WAKEUP.into() };
    let waiting = EVENTS.query(BPF_RB_AVAIL_DATA.into());
    // A record has a header of 8 bytes there and ends at a multiple of 8.
    let after = waiting + ((length + 15) & !7);
    // Equal bits above the step mean that it was not passed. A full ring has woken the reader three times already.
    if (waiting ^ after) < settings.wake_bytes || after >= 4 * settings.wake_bytes {
        return BPF_RB_NO_WAKEUP.into();
    }
    count(counters, Counter::Wakeups);
    BPF_RB_FORCE_WAKEUP.into()
}

/// Copies the values of `tracestate`, joined by commas: several are to be taken as one list (section 3.3.1.1).
#[inline(never)]
fn copy_tracestate(entry: &mut InFlight, values: u64, number: u64) {
    let start = entry.strings_length;
    let mut value = 0;
    while value < TRACESTATE_VALUES as u64
        && value < number
        && append_value(entry, start, values + value * 16)
    {
        value += 1;
    }
    if value == number {
        entry.record.lengths[Text::Tracestate as usize] = (entry.strings_length - start) as u16;
    } else {
        entry.strings_length = start;
        entry.record.header.cut |= 1 << Text::Tracestate as u16;
        count(entry.counters, Counter::TracestateDropped);
    }
}

/// Appends the value whose string stands at `from` to the `tracestate` that begins at `start` of the strings.
#[inline(never)]
fn append_value(entry: &mut InFlight, start: u64, from: u64) -> bool {
    if !read_string(entry, from) {
        return false;
    }
    let length = entry.scratch[1] as usize;
    let end = entry.strings_length as usize;
    let start = start as usize;
    let comma = usize::from(end != start);
    if length > TRACESTATE || end - start + comma + length > TRACESTATE || end > STRINGS - 2 * TRACESTATE {
        return false;
    }
    // SAFETY: at most `TRACESTATE` bytes are read to at most `STRINGS - 2 * TRACESTATE + 1`.
    let read = unsafe {
        let to = entry.strings.as_mut_ptr().cast::<u8>().add(end);
        *to = b',';
        read_user(entry.counters, to.add(comma), length, entry.scratch[0])
    };
    if !read {
        count(entry.counters, Counter::ReadFault);
        return false;
    }
    entry.strings_length = (end + comma + length) as u64;
    true
}
