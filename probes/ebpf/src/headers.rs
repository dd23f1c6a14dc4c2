//! Finding headers in the `http.Header` that the program has just parsed.

use lightfoot_probes_abi::{
    Counter, InFlight,
    in_flight::{HeaderName, Slice},
    layout::{Map, MapKind},
    limits::{HEADER_GROUPS, HEADER_GROUPS_READ, LARGE_STRUCT, SMALL_STRUCT},
};

use crate::{
    counters::count,
    memory::{byte, read_user, word},
};

const SLOTS: u64 = 8;
/// How many overflow buckets are followed.
const OVERFLOWS: u64 = 8;
/// Where in the scratch memory their addresses wait; before them stand the map's header and names.
const PENDING: usize = 16;
/// Classic maps: smaller values of `tophash` mark empty and moved slots (`minTopHash`).
const MIN_TOP_HASH: u8 = 5;

/// Notes the values of the wanted headers in `entry.headers`. Overwrites the scratch memory and the strings.
#[inline(never)]
pub fn find(entry: &mut InFlight, layout: &Map, header: u64) {
    let size = u64::from(layout.size);
    if size > SMALL_STRUCT || header == 0 {
        return;
    }
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    if unsafe { !read_user(entry.counters, scratch.cast(), size, header) } {
        count(entry.counters, Counter::ReadFault);
        return;
    }
    if layout.kind == MapKind::Swiss as u16 {
        swiss(entry, layout);
    } else if layout.kind == MapKind::Classic as u16 {
        classic(entry, layout);
    }
}

/// A map of Go 1.24 and later: one group, or a directory of tables, of which a map of this size has one.
#[inline(always)]
fn swiss(entry: &mut InFlight, layout: &Map) {
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let (groups, tables) =
        unsafe { (word(scratch, SMALL_STRUCT, layout.groups), word(scratch, SMALL_STRUCT, layout.length)) };
    let (Some(groups), Some(tables)) = (groups, tables) else { return };
    if tables == 0 {
        scan(entry, layout, groups, 1);
        return;
    }
    if tables > 1 {
        count(entry.counters, Counter::HeaderBound);
    }
    let size = u64::from(layout.table_size);
    if size > SMALL_STRUCT {
        return;
    }
    // SAFETY: as above.
    unsafe {
        if !read_user(entry.counters, scratch.cast(), 8, groups)
            || !read_user(entry.counters, scratch.cast(), size, *scratch)
        {
            count(entry.counters, Counter::ReadFault);
            return;
        }
        let groups = word(scratch, SMALL_STRUCT, layout.table_groups);
        let mask = word(scratch, SMALL_STRUCT, layout.table_mask);
        if let (Some(groups), Some(mask)) = (groups, mask) {
            scan(entry, layout, groups, mask.wrapping_add(1));
        }
    }
}

/// A map of before Go 1.24: an array of buckets, each with a chain of further ones, and an old array while it grows.
#[inline(always)]
fn classic(entry: &mut InFlight, layout: &Map) {
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let (buckets, old, logarithm) = unsafe {
        (
            word(scratch, SMALL_STRUCT, layout.groups),
            word(scratch, SMALL_STRUCT, layout.old_groups),
            byte(scratch, SMALL_STRUCT, layout.length),
        )
    };
    let (Some(buckets), Some(old), Some(logarithm)) = (buckets, old, logarithm) else { return };
    let length = 1 << (logarithm & 63);
    let mut pending = 0;
    while pending < OVERFLOWS {
        entry.scratch[PENDING + pending as usize] = 0;
        pending += 1;
    }
    scan(entry, layout, buckets, length);
    if old != 0 && length > 1 {
        // Half as many, unless the map grows for its overflow buckets' sake, which takes deletions.
        scan(entry, layout, old, length / 2);
    }
    // Each bucket scanned may add one.
    let mut next = 0;
    while next < OVERFLOWS {
        let bucket = entry.scratch[PENDING + next as usize];
        if bucket == 0 {
            break;
        }
        let size = u64::from(layout.group_size);
        if size <= LARGE_STRUCT && read_groups(entry, size, bucket) {
            scan_group(entry, layout, 0);
        }
        next += 1;
    }
}

/// Looks through `length` groups that lie in one piece.
#[inline(never)]
fn scan(entry: &mut InFlight, layout: &Map, mut groups: u64, mut length: u64) {
    let group_size = u64::from(layout.group_size);
    if group_size > LARGE_STRUCT / HEADER_GROUPS_READ {
        return;
    }
    let mut batch = 0;
    while batch < HEADER_GROUPS / HEADER_GROUPS_READ {
        let size = if length > 1 { 2 * group_size } else { group_size };
        if !read_groups(entry, size, groups) {
            return;
        }
        scan_group(entry, layout, 0);
        if length > 1 {
            scan_group(entry, layout, group_size);
        }
        if length <= HEADER_GROUPS_READ {
            return;
        }
        length -= HEADER_GROUPS_READ;
        groups = groups.wrapping_add(size);
        batch += 1;
    }
    count(entry.counters, Counter::HeaderBound);
}

/// Reads `size` bytes, at most `LARGE_STRUCT`, of groups to where the strings will stand.
#[inline(never)]
fn read_groups(entry: &mut InFlight, size: u64, groups: u64) -> bool {
    // SAFETY: the strings take `LARGE_STRUCT` bytes or more.
    let read = unsafe { read_user(entry.counters, entry.strings.as_mut_ptr().cast(), size, groups) };
    if !read {
        count(entry.counters, Counter::ReadFault);
    }
    read
}

/// Looks through the 8 slots of the group that was read to `start` of the strings.
#[inline(never)]
fn scan_group(entry: &mut InFlight, layout: &Map, start: u64) {
    let mut key = start + u64::from(layout.keys);
    let mut slot = 0;
    while slot < SLOTS {
        if key > LARGE_STRUCT - 16 {
            return;
        }
        // SAFETY: within the strings, by the comparison.
        let length = unsafe { *entry.strings.as_ptr().cast::<u8>().add(key as usize + 8).cast::<u64>() };
        if length == 10 || length == 11 {
            candidate(entry, layout, start, slot, length);
        }
        key += u64::from(layout.key_stride);
        slot += 1;
    }
    if layout.kind == MapKind::Classic as u16 {
        overflow(entry, layout, start);
    }
}

/// Notes the address of a bucket's overflow bucket.
#[inline(never)]
fn overflow(entry: &mut InFlight, layout: &Map, start: u64) {
    let at = start + u64::from(layout.overflow);
    if at > LARGE_STRUCT - 8 {
        return;
    }
    // SAFETY: within the strings, by the comparison.
    let bucket = unsafe { *entry.strings.as_ptr().cast::<u8>().add(at as usize).cast::<u64>() };
    if bucket == 0 {
        return;
    }
    let mut pending = 0;
    while pending < OVERFLOWS {
        let place = &mut entry.scratch[PENDING + pending as usize];
        if *place == 0 {
            *place = bucket;
            return;
        }
        pending += 1;
    }
    count(entry.counters, Counter::HeaderBound);
}

/// Notes the values of a slot if it is in use and its name, of 10 or 11 bytes, is wanted.
#[inline(never)]
fn candidate(entry: &mut InFlight, layout: &Map, start: u64, slot: u64, length: u64) {
    let key = start + u64::from(layout.keys) + slot * u64::from(layout.key_stride);
    let value = start + u64::from(layout.values) + slot * u64::from(layout.value_stride);
    let control = start + slot;
    if key > LARGE_STRUCT - 16 || value > LARGE_STRUCT - 16 || control > LARGE_STRUCT - 1 {
        return;
    }
    let group = entry.strings.as_ptr().cast::<u8>();
    let name = entry.scratch.as_mut_ptr();
    // SAFETY: within the strings, by the comparisons; the scratch memory holds a name.
    unsafe {
        let control = *group.add(control as usize);
        let in_use = if layout.kind == MapKind::Classic as u16 { control >= MIN_TOP_HASH } else { control < 0x80 };
        if !in_use {
            return;
        }
        let length = if length == 11 { 11 } else { 10 };
        if !read_user(entry.counters, name.cast(), length, *group.add(key as usize).cast::<u64>()) {
            count(entry.counters, Counter::ReadFault);
            return;
        }
        let (head, tail) = (*name, *name.add(1) & 0xff_ffff);
        let header = if length == 11 && head == chars(b"Tracepar") && tail == chars(b"ent\0\0\0\0\0") {
            HeaderName::Traceparent
        } else if length == 10 && head == chars(b"Tracesta") && tail & 0xffff == chars(b"te\0\0\0\0\0\0") {
            HeaderName::Tracestate
        } else if length == 10 && head == chars(b"User-Age") && tail & 0xffff == chars(b"nt\0\0\0\0\0\0") {
            HeaderName::UserAgent
        } else {
            return;
        };
        let value = group.add(value as usize).cast::<u64>();
        entry.headers[header as usize] = Slice { pointer: *value, length: *value.add(1) };
    }
}

const fn chars(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}
