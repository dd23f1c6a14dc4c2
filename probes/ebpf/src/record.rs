//! Putting a record together and sending it.

use core::{mem::offset_of, slice};

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use lightfoot_probes_abi::{Counter, Http, InFlight, Text, in_flight::Slice, limits};

use crate::{
    counters::count,
    maps::{EVENTS, SETTINGS},
    memory::read_user,
};

/// Appends a string of the process to the record: at most its limit, and nothing if it cannot be read.
#[inline(always)]
pub fn append(entry: &mut InFlight, text: Text, string: Slice) {
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
    if end > limits::STRINGS - limit {
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

/// Sends the record. It may be lost; then that is counted.
#[inline(never)]
pub fn send(entry: &mut InFlight) {
    let strings = entry.strings_length as usize;
    if strings > limits::STRINGS {
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
