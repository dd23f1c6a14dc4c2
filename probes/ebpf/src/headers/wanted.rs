//! Headers whose values a process is asked for: a second look through the map, and only where some are asked for.
//!
//! All of it is global functions of numbers, each followed by the verifier once. They must not wait for memory; but what they read was
//! there a moment ago.

use lightfoot_probes_abi::{
    Counter, InFlight,
    in_flight::Slice,
    layout::Map,
    limits::{
        HEADER_CANDIDATES, HEADER_NAME, HEADER_READS, HEADER_VALUE, HEADER_VALUES, MAP_HEADER, WANTED_NAMES,
    },
    process::NAME_WORDS,
    record::{CUT_HEADERS, header_flags, http_flags},
};

use super::{CANDIDATE, CANDIDATES_NOTED, LENGTHS, RUNS_DONE, RUNS_NOTED, note_groups, scan_next};
use crate::{
    counters::count,
    in_flight,
    maps::{LAYOUTS, WANTED_HEADERS},
    memory::read_present,
};

/// Where the candidates begin, in bytes: values are appended before that.
const VALUES_END: usize = CANDIDATE * 8;
/// Where the flags of a header that was found stand beside the length of its name.
const FLAGS_SHIFT: u32 = 32;

/// Notes where the values of the headers are that the process is asked for, in place of the first candidates, and in
/// `entry.route_parts` how many there are: nobody has told of a route yet. [`super::find`] has seen the map. Overwrites the scratch
/// memory and the strings behind the peer's address. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_wanted(tgid: u32, goid: u64, layout_index: u32, header: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    let Some(layout) = LAYOUTS.get(layout_index) else { return 0 };
    let Some(wanted) = WANTED_HEADERS.get(entry.counters) else { return 0 };
    if header == 0 {
        return 0;
    }
    entry.headers[LENGTHS] = Slice { pointer: wanted.lengths, length: u64::from(layout_index) };
    if !read_map(entry, &layout.header, header) {
        count(entry.counters, Counter::ReadFault);
        return 0;
    }
    let mut read = 0;
    while read < HEADER_READS && scan_wanted(tgid, goid) != 0 {
        read += 1;
    }
    if entry.scratch[RUNS_DONE] < entry.scratch[RUNS_NOTED] {
        count(entry.counters, Counter::HeaderBound);
    }
    let mut candidate = 0;
    while candidate < HEADER_CANDIDATES as u64 {
        if candidate >= entry.scratch[CANDIDATES_NOTED] {
            break;
        }
        match_wanted(tgid, goid, candidate);
        candidate += 1;
    }
    0
}

/// The open span of the server's handler that the goroutine runs.
#[inline(always)]
fn server<'a>(tgid: u32, goid: u64) -> Option<&'a mut InFlight> {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    unsafe { in_flight::find(tgid, goid, 0).as_mut() }
}

/// Notes where the groups of a map are.
#[inline(never)]
fn read_map(entry: &mut InFlight, layout: &Map, header: u64) -> bool {
    let size = layout.size as usize;
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    size <= MAP_HEADER
        && unsafe { read_present(entry.counters, entry.scratch.as_mut_ptr().cast(), size, header) }
        && note_groups::<true>(entry, layout)
}

/// Reads one or two groups and looks through them. 0 if all are done.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn scan_wanted(tgid: u32, goid: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    let Some(layout) = LAYOUTS.get(entry.headers[LENGTHS].length as u32) else { return 0 };
    scan_next::<true>(entry, &layout.header).into()
}

/// Reads the name of a candidate, and keeps it if it is a wanted one. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn match_wanted(tgid: u32, goid: u64, candidate: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    if candidate >= HEADER_CANDIDATES as u64 {
        return 0;
    }
    let at = CANDIDATE + 4 * candidate as usize;
    let (name, length) = (entry.strings[at], entry.strings[at + 1] as usize & HEADER_NAME);
    let mut word = 0;
    while word < NAME_WORDS {
        entry.scratch[word] = 0;
        word += 1;
    }
    // SAFETY: the scratch memory has more than `HEADER_NAME` bytes.
    if unsafe { !read_present(entry.counters, entry.scratch.as_mut_ptr().cast(), length, name) } {
        count(entry.counters, Counter::ReadFault);
        return 0;
    }
    let Some(wanted) = WANTED_HEADERS.get(entry.counters) else { return 0 };
    let mut index = 0;
    while index < WANTED_NAMES {
        let mut difference = 0;
        let mut word = 0;
        while word < NAME_WORDS {
            difference |= entry.scratch[word] ^ wanted.names[index][word];
            word += 1;
        }
        if difference == 0 {
            keep(entry, at, wanted.shown >> index & u64::from(header_flags::SHOWN));
            break;
        }
        index += 1;
    }
    0
}

/// Keeps a candidate among those that were found; these take the places of candidates that were looked at.
#[inline(never)]
fn keep(entry: &mut InFlight, from: usize, flags: u64) {
    let number = entry.route_parts as usize;
    if number >= WANTED_NAMES || from > CANDIDATE + 4 * (HEADER_CANDIDATES - 1) {
        return;
    }
    let to = CANDIDATE + 4 * number;
    entry.strings[to] = entry.strings[from];
    entry.strings[to + 1] = entry.strings[from + 1] | flags << FLAGS_SHIFT;
    entry.strings[to + 2] = entry.strings[from + 2];
    entry.strings[to + 3] = entry.strings[from + 3];
    entry.route_parts = number as u64 + 1;
}

/// Appends the values of the headers that [`find_wanted`] has found. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append_found(tgid: u32, goid: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    let start = entry.strings_length as usize;
    let found = entry.route_parts;
    entry.route_parts = 0;
    if start > VALUES_END - 2 {
        leave_out(entry);
        return 0;
    }
    entry.strings_length = start as u64 + 2;
    let mut number = 0;
    while number < WANTED_NAMES as u64 && number < found {
        let mut value = 0;
        while value < HEADER_VALUES as u64 && append_value(tgid, goid, number, value) != 0 {
            value += 1;
        }
        number += 1;
    }
    entry.record.flags |= http_flags::HEADERS;
    let length = entry.strings_length - start as u64;
    // SAFETY: within the strings, by the comparison.
    unsafe {
        let to = entry.strings.as_mut_ptr().cast::<u8>().add(start);
        *to = length as u8;
        *to.add(1) = (length >> 8) as u8;
    }
    0
}

/// Counts a value for which there is no room.
#[inline(always)]
fn leave_out(entry: &mut InFlight) {
    entry.record.header.cut |= CUT_HEADERS;
    count(entry.counters, Counter::CutString);
}

/// Appends one of the values of a header. 0 if it was the last.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append_value(tgid: u32, goid: u64, number: u64, index: u64) -> u64 {
    let Some(entry) = server(tgid, goid) else { return 0 };
    if number >= WANTED_NAMES as u64 {
        return 0;
    }
    let at = CANDIDATE + 4 * number as usize;
    let (name, tag) = (entry.strings[at], entry.strings[at + 1]);
    let (values, number_of_values) = (entry.strings[at + 2], entry.strings[at + 3]);
    if index >= number_of_values {
        return 0;
    }
    let end = entry.strings_length as usize;
    if end > VALUES_END - 4 - HEADER_NAME - HEADER_VALUE {
        leave_out(entry);
        return 0;
    }
    let from = values.wrapping_add(index * 16);
    // SAFETY: the scratch memory has more than 16 bytes.
    if unsafe { !read_present(entry.counters, entry.scratch.as_mut_ptr().cast(), 16, from) } {
        count(entry.counters, Counter::ReadFault);
        return 0;
    }
    let (value, mut length) = (entry.scratch[0], entry.scratch[1] as usize);
    let mut is_cut = index == HEADER_VALUES as u64 - 1 && number_of_values > HEADER_VALUES as u64;
    if length > HEADER_VALUE {
        length = HEADER_VALUE;
        is_cut = true;
    }
    if is_cut {
        count(entry.counters, Counter::CutString);
    }
    // A further value goes on without the name.
    let name_length = if index == 0 { tag as usize & HEADER_NAME } else { 0 };
    // SAFETY: all of it is before `VALUES_END` of the strings, by the comparisons.
    let read = unsafe {
        let to = entry.strings.as_mut_ptr().cast::<u8>().add(end);
        *to = length as u8;
        *to.add(1) = (length >> 8) as u8;
        *to.add(2) = (tag >> FLAGS_SHIFT) as u8 | if is_cut { header_flags::CUT } else { 0 };
        *to.add(3) = name_length as u8;
        (name_length == 0 || read_present(entry.counters, to.add(4), name_length, name))
            && read_present(entry.counters, to.add(4).add(name_length), length, value)
    };
    if !read {
        count(entry.counters, Counter::ReadFault);
        return 0;
    }
    entry.strings_length = (end + 4 + name_length + length) as u64;
    1
}
