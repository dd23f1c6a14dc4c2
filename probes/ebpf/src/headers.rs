//! Finding headers in the `http.Header` that the program has just parsed, or in gRPC metadata, whose names are in lower case.
//!
//! A map's groups (buckets) are noted as runs that wait, and read one after the other. Slots whose names are as long as a
//! wanted one are noted as candidates, and the names are read last. All that is noted stands in the entry, so that the
//! verifier has few states to follow: nothing of one step is in a register in the next.

mod wanted;

#[cfg(feature = "propagate")]
use lightfoot_probes_abi::limits::{SENT_HEADER_CANDIDATES, SENT_HEADER_READS};
use lightfoot_probes_abi::{
    Counter, InFlight,
    in_flight::{HeaderName, Slice},
    layout::{Map, MapKind, NONE},
    limits::{
        HEADER_CANDIDATES, HEADER_NAME, HEADER_READS, HEADER_RUNS, LARGE_STRUCT, MAP_HEADER, PEER,
        SMALL_STRUCT, STRINGS,
    },
    record::http_flags,
};

use crate::{
    counters::count,
    memory::{byte, large_struct, read_present, read_user, word},
};

pub use wanted::{append_found, find_wanted};

const SLOTS: usize = 8;
/// What distinguishes a letter in lower case, the first of a name.
const LOWER_CASE: u64 = 0x20;
/// The same of the letters of a word that may be in either: of all where names are looked for that a client has put into its map as it
/// likes, else of the first; a server's names are as Go writes them.
const FOLDED: u64 = if cfg!(feature = "propagate") { LOWER_CASE * 0x0101_0101_0101_0101 } else { LOWER_CASE };
const TYPE: u32 = u32::from_le_bytes(*b"Type");

// The scratch memory, in words: what is read of the map's header and of names, how many runs were noted, how many of
// them are done, how many candidates were noted, whether something was not looked at, and from `RUN` on the runs, each with address and length.
const RUNS_NOTED: usize = MAP_HEADER / 8;
const RUNS_DONE: usize = RUNS_NOTED + 1;
const CANDIDATES_NOTED: usize = RUNS_NOTED + 2;
const INCOMPLETE: usize = RUNS_NOTED + 3;
const RUN: usize = RUNS_NOTED + 4;
/// Where in the strings the candidates stand, behind the groups: each has two words of its name and two of its values.
const CANDIDATE: usize = (PEER + LARGE_STRUCT) / 8;
/// Among the headers that [`find`] has found: whose trace it is has been told by then, and the lengths of wanted names stand here, and the
/// index of the layout.
const LENGTHS: usize = HeaderName::Traceparent as usize;

const _: () = assert!(RUN + 2 * HEADER_RUNS <= SMALL_STRUCT / 8);
const _: () = assert!(CANDIDATE + 4 * HEADER_CANDIDATES <= STRINGS / 8);

/// Notes the values of the wanted headers in `entry.headers`. Overwrites the scratch memory and the strings.
#[inline(never)]
pub fn find(entry: &mut InFlight, layout: &Map, header: u64) {
    look_through::<HEADER_READS, HEADER_CANDIDATES>(entry, layout, header);
}

/// The same with bounds of its own: the verifier follows each loop to its end.
#[inline(always)]
fn look_through<const READS: usize, const CANDIDATES: usize>(
    entry: &mut InFlight,
    layout: &Map,
    header: u64,
) {
    let size = layout.size as usize;
    if size > MAP_HEADER || header == 0 {
        return;
    }
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let read = unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), size, header) };
    if !read || !note_groups::<false>(entry, layout) {
        return overlook(entry, Counter::ReadFault);
    }
    let mut read = 0;
    while read < READS {
        if !scan_next::<false>(entry, layout) {
            break;
        }
        read += 1;
    }
    if read == READS {
        overlook(entry, Counter::HeaderBound);
    }
    let mut candidate = 0;
    while candidate < CANDIDATES {
        if candidate >= entry.scratch[CANDIDATES_NOTED] as usize {
            break;
        }
        match_candidate(entry, candidate);
        candidate += 1;
    }
}

/// As [`find`], and returns whether all headers were looked at.
#[cfg(feature = "propagate")]
#[inline(always)]
pub fn find_all(entry: &mut InFlight, layout: &Map, header: u64) -> bool {
    entry.scratch[INCOMPLETE] = 0;
    entry.scratch[CANDIDATES_NOTED] = 0;
    entry.headers[HeaderName::Traceparent as usize].length = 0;
    find_sent(entry, layout, header);
    entry.scratch[INCOMPLETE] == 0 && entry.scratch[CANDIDATES_NOTED] <= SENT_HEADER_CANDIDATES as u64
}

#[cfg(feature = "propagate")]
#[inline(never)]
fn find_sent(entry: &mut InFlight, layout: &Map, header: u64) {
    look_through::<SENT_HEADER_READS, SENT_HEADER_CANDIDATES>(entry, layout, header);
}

/// Counts what was not looked at, and notes that it was not all.
#[inline(always)]
fn overlook(entry: &mut InFlight, counter: Counter) {
    if cfg!(feature = "propagate") {
        entry.scratch[INCOMPLETE] = 1;
    }
    count(entry.counters, counter);
}

/// As [`read_user`]; what is read for wanted headers is read by global functions, which must not wait.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn read<const WANTED: bool>(slot: u32, to: *mut u8, length: usize, from: u64) -> bool {
    // SAFETY: the caller vouches for `to`.
    unsafe { if WANTED { read_present(slot, to, length, from) } else { read_user(slot, to, length, from) } }
}

/// Notes where the groups of the map are whose header was read.
#[inline(always)]
fn note_groups<const WANTED: bool>(entry: &mut InFlight, layout: &Map) -> bool {
    entry.scratch[RUNS_NOTED] = 0;
    entry.scratch[RUNS_DONE] = 0;
    entry.scratch[CANDIDATES_NOTED] = 0;
    let scratch = entry.scratch.as_ptr();
    // SAFETY: the scratch memory is larger.
    let groups = unsafe { word(scratch, MAP_HEADER, layout.groups) };
    if layout.kind == MapKind::Classic as u64 {
        // SAFETY: as above.
        let (old, logarithm) = unsafe {
            (word(scratch, MAP_HEADER, layout.old_groups), byte(scratch, MAP_HEADER, layout.length))
        };
        let (Some(groups), Some(old), Some(logarithm)) = (groups, old, logarithm) else { return false };
        let length = 1 << (logarithm & 63);
        note_run(entry, groups, length);
        // While the map grows its old array is half as long, unless it grows only to get rid of overflow buckets, which
        // takes many deletions.
        note_run(entry, old, length / 2);
        return true;
    }
    // SAFETY: as above.
    let tables = unsafe { word(scratch, MAP_HEADER, layout.length) };
    let (Some(groups), Some(tables)) = (groups, tables) else { return false };
    if tables == 0 {
        note_run(entry, groups, 1);
        return true;
    }
    if tables > 1 {
        // Maps with so many entries have more groups than are searched.
        overlook(entry, Counter::HeaderBound);
    }
    note_table::<WANTED>(entry, layout, groups)
}

/// Notes the groups of the first table in a swiss map's directory.
#[inline(never)]
fn note_table<const WANTED: bool>(entry: &mut InFlight, layout: &Map, directory: u64) -> bool {
    let size = layout.table_size as usize;
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory is larger.
    let (groups, mask) = unsafe {
        if size > MAP_HEADER
            || !read::<WANTED>(entry.counters, scratch.cast(), 8, directory)
            || !read::<WANTED>(entry.counters, scratch.cast(), size, *scratch)
        {
            return false;
        }
        (word(scratch, MAP_HEADER, layout.table_groups), word(scratch, MAP_HEADER, layout.table_mask))
    };
    let (Some(groups), Some(mask)) = (groups, mask) else { return false };
    note_run(entry, groups, mask.wrapping_add(1));
    true
}

/// Notes a number of groups that lie in one piece.
#[inline(never)]
fn note_run(entry: &mut InFlight, groups: u64, length: u64) {
    if groups == 0 || length == 0 {
        return;
    }
    let noted = entry.scratch[RUNS_NOTED] as usize;
    if noted >= HEADER_RUNS {
        return overlook(entry, Counter::HeaderBound);
    }
    entry.scratch[RUN + 2 * noted] = groups;
    entry.scratch[RUN + 2 * noted + 1] = length;
    entry.scratch[RUNS_NOTED] = noted as u64 + 1;
}

/// Reads one or two groups of the run whose turn it is and looks through them. False if all runs are done.
#[inline(always)]
fn scan_next<const WANTED: bool>(entry: &mut InFlight, layout: &Map) -> bool {
    let group_size = layout.group_size as usize;
    let done = entry.scratch[RUNS_DONE] as usize;
    if done >= entry.scratch[RUNS_NOTED] as usize || done >= HEADER_RUNS || group_size > LARGE_STRUCT / 2 {
        return false;
    }
    let run = RUN + 2 * done;
    let (groups, length) = (entry.scratch[run], entry.scratch[run + 1]);
    let size = if length > 1 { 2 * group_size } else { group_size };
    if length > 2 {
        entry.scratch[run] = groups.wrapping_add(size as u64);
        entry.scratch[run + 1] = length - 2;
    } else {
        entry.scratch[RUNS_DONE] = done as u64 + 1;
    }
    // SAFETY: there is room for `LARGE_STRUCT` bytes.
    if unsafe { !read::<WANTED>(entry.counters, large_struct(entry).cast(), size, groups) } {
        read_to_page_end::<WANTED>(entry, groups);
    }
    scan_group::<WANTED>(entry, layout, 0);
    if size != group_size {
        scan_group::<WANTED>(entry, layout, group_size);
    }
    true
}

/// Reads at least what stands on the first page. Go does not touch the slots of a new map before it uses them, so the next
/// page may never have been there, and then nothing is on it.
#[inline(never)]
fn read_to_page_end<const WANTED: bool>(entry: &mut InFlight, groups: u64) {
    const PAGE: usize = 4096; // or a multiple
    overlook(entry, Counter::ReadFault);
    let rest = PAGE - groups as usize % PAGE;
    // Verifiers of before Linux 6.8 understand comparisons with constants alone. More than failed is not read: it would
    // fail again.
    if rest < LARGE_STRUCT {
        // SAFETY: there is room for `LARGE_STRUCT` bytes. The failed read has left zeros behind these.
        let _ = unsafe { read::<WANTED>(entry.counters, large_struct(entry).cast(), rest, groups) };
    }
}

/// Looks through the 8 slots of the group that was read to `start` of the strings.
#[inline(never)]
fn scan_group<const WANTED: bool>(entry: &mut InFlight, layout: &Map, start: usize) {
    let mut key = start + layout.keys as usize;
    let mut slot = 0;
    while slot < SLOTS {
        if key > LARGE_STRUCT - 16 {
            return;
        }
        // SAFETY: within the strings, by the comparison.
        let length = unsafe { *large_struct(entry).cast::<u8>().add(key + 8).cast::<u64>() };
        let may_be_one = if WANTED {
            length <= HEADER_NAME as u64 && entry.headers[LENGTHS].pointer >> (length & 63) & 1 != 0
        } else {
            length == 10 || length == 11 || length == 12 || length == 24
        };
        if may_be_one {
            note_candidate::<WANTED>(entry, layout, start, slot, key);
        }
        key += layout.key_stride as usize;
        slot += 1;
    }
    if layout.overflow == NONE {
        return;
    }
    let overflow = start + layout.overflow as usize;
    if overflow <= LARGE_STRUCT - 8 {
        // SAFETY: within the strings, by the comparison.
        let bucket = unsafe { *large_struct(entry).cast::<u8>().add(overflow).cast::<u64>() };
        note_run(entry, bucket, 1);
    }
}

/// Notes a slot whose name, at `key` of the strings, is as long as a wanted one, if the slot is in use.
#[inline(never)]
fn note_candidate<const WANTED: bool>(
    entry: &mut InFlight,
    layout: &Map,
    start: usize,
    slot: usize,
    key: usize,
) {
    let value = start + layout.values as usize + slot * layout.value_stride as usize;
    let control = start + slot;
    if key > LARGE_STRUCT - 16 || value > LARGE_STRUCT - 16 || control > LARGE_STRUCT - 1 {
        return;
    }
    let group = large_struct(entry).cast::<u8>();
    // SAFETY: within the strings, by the comparison. The longer names tell the protocol of a call.
    if !WANTED && layout.rpc == 0 && unsafe { *group.add(key + 8).cast::<u64>() } > 11 {
        return;
    }
    let noted = entry.scratch[CANDIDATES_NOTED] as usize;
    if noted >= HEADER_CANDIDATES {
        return overlook(entry, Counter::HeaderBound);
    }
    // SAFETY: within the strings, by the comparisons; the candidates stand behind the groups.
    unsafe {
        let control = u64::from(*group.add(control));
        if control < layout.first_in_use || control > layout.last_in_use {
            return;
        }
        let candidate = entry.strings.as_mut_ptr().add(CANDIDATE + 4 * noted);
        let (key, value) = (group.add(key).cast::<u64>(), group.add(value).cast::<u64>());
        *candidate = *key;
        *candidate.add(1) = *key.add(1);
        *candidate.add(2) = *value;
        *candidate.add(3) = *value.add(1);
    }
    entry.scratch[CANDIDATES_NOTED] = noted as u64 + 1;
}

/// Reads the name of a candidate and notes its values if it is a wanted one.
#[inline(always)]
fn match_candidate(entry: &mut InFlight, candidate: usize) {
    let at = CANDIDATE + 4 * candidate;
    let (name, length) = (entry.strings[at], entry.strings[at + 1]);
    let bytes = match length {
        24 => 24,
        12 => 12,
        11 => 11,
        _ => 10,
    };
    // SAFETY: the scratch memory has more than 24 bytes.
    if unsafe { !read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), bytes, name) } {
        return overlook(entry, Counter::ReadFault);
    }
    let (head, tail) = (entry.scratch[0] | LOWER_CASE, entry.scratch[1] & 0xff_ffff);
    let (folded, rest) = (entry.scratch[0] | FOLDED, tail | FOLDED >> 8 & 0xff_ffff);
    let header = if length == 11 && folded == chars(*b"tracepar") && rest == chars(*b"ent\0\0\0\0\0") {
        HeaderName::Traceparent
    } else if length == 10 && folded == chars(*b"tracesta") && rest & 0xffff == chars(*b"te\0\0\0\0\0\0") {
        HeaderName::Tracestate
    } else if length == 10 && head == chars(*b"user-Age") && tail & 0xffff == chars(*b"nt\0\0\0\0\0\0") {
        HeaderName::UserAgent
    } else if length == 12 && head == chars(*b"content-") && entry.scratch[1] as u32 == TYPE {
        HeaderName::ContentType
    } else {
        if length == 24
            && head == chars(*b"connect-")
            && entry.scratch[1] == chars(*b"Protocol")
            && entry.scratch[2] == chars(*b"-Version")
        {
            entry.record.flags |= http_flags::CONNECT;
        }
        return;
    };
    if cfg!(feature = "propagate") && entry.strings[at + 3] == 0 {
        return; // the name alone is not sent
    }
    entry.headers[header as usize] = Slice { pointer: entry.strings[at + 2], length: entry.strings[at + 3] };
}

const fn chars(text: [u8; 8]) -> u64 {
    u64::from_le_bytes(text)
}
