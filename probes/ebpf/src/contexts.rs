//! Contexts: a server's span owns that of its request, and a call whose own descends from it is its child.
//!
//! The chain is followed from a context to the one that it holds, through any type of the program that holds one.

mod holders;

use lightfoot_probes_abi::{
    CONTEXT_WAYS, ContextKey, ContextSet, Counter, InFlight, Layout, ParentRule, Process, SpanContext,
    context::HolderKind, layout::NONE, limits, process::process_flags,
};

use crate::{
    counters::count,
    maps::{CONTEXTS, contexts_mask},
    memory::{masked, read_user, read_word},
};
use holders::{NO_HOLDER, holder, own_span};

// The scratch memory, in words: the context at hand, the one that it holds, the two that these hold in turn, and a copy of an
// element of `CONTEXTS`. All but that are interfaces: the addresses of itab and data.
const CONTEXT: usize = 0;
const HELD: usize = 2;
const ANCESTORS: usize = 4;
const KEPT: usize = 8;
const ELEMENT: usize = 12;
// While a parent is looked for: what was noted of a context's ancestors, how many of them are still to be compared, and
// where to go on if one differs.
const NOTED: usize = 4;
const TO_COMPARE: usize = 8;
const RESUME: usize = 9;

const WAYS_MASK: u64 = CONTEXT_WAYS as u64 - 1;
/// No element of a set.
const NO_WAY: u64 = u64::MAX;

const _: () = assert!(ELEMENT * 8 + size_of::<SpanContext>() <= limits::SMALL_STRUCT);

/// Notes that the span owns its `context`, for its children to find. Overwrites the scratch memory.
#[inline(never)]
pub fn own(entry: &mut InFlight, process: &Process, layout: &Layout) {
    let [itab, data] = entry.context;
    entry.context[0] = 0;
    if process.flags & process_flags::CHILDREN == 0 {
        return;
    }
    look_at(entry, itab, data);
    // Without a context within there is nothing but its address to know it by, and many share one.
    if !read_held(entry, process, layout) {
        return;
    }
    entry.context[0] = itab;
    keep(entry);
    find_ancestors(entry, process, layout);
    note(entry);
}

/// Notes at the end of a span that its context may die from now on. Counts if it was dropped for others.
#[inline(always)]
pub fn check_own(entry: &InFlight) {
    let [itab, data] = entry.context;
    if itab == 0 {
        return;
    }
    // SAFETY: elements live as long as the map. Should this one be given to another key meanwhile, that one's owner is looked
    // at more closely than it must.
    if let Some(element) = unsafe { find(entry.instance, data).as_mut() }
        && element.start == entry.record.header.start
        && element.sum == element.sum()
    {
        element.ended = 1;
        return;
    }
    count(entry.counters, Counter::ContextEvicted);
}

/// Forgets whose the context was that stands at `offset` in the request: its new owner could not be noted.
#[inline(never)]
pub fn disown(process: &Process, request: u64, offset: u64) {
    if process.flags & process_flags::CHILDREN == 0 || offset == NONE {
        return;
    }
    let data = read_word(process.counters, request.wrapping_add(offset).wrapping_add(8));
    // SAFETY: elements live as long as the map.
    if let Some(element) = unsafe { find(process.instance, data).as_mut() } {
        element.key.address = 0;
    }
}

/// The context that the next call of [`find_parent`] starts from.
#[inline(always)]
pub fn look_at(entry: &mut InFlight, itab: u64, data: u64) {
    entry.scratch[CONTEXT] = itab;
    entry.scratch[CONTEXT + 1] = data;
}

/// The address of the context at hand.
#[inline(always)]
pub fn at_hand(entry: &InFlight) -> u64 {
    entry.scratch[CONTEXT + 1]
}

/// Goes on to the context that the one at hand holds. False if it holds none.
#[inline(always)]
pub fn follow(entry: &mut InFlight, process: &Process, layout: &Layout) -> bool {
    let holds_one = read_held(entry, process, layout);
    look_at(entry, entry.scratch[HELD], entry.scratch[HELD + 1]);
    holds_one
}

/// Makes the span a child of the one that owns the nearest context in the chain. False if none does.
///
/// If that one has ended, the next two steps compare what they come to with what was noted behind its context.
#[inline(never)]
pub fn find_parent(entry: &mut InFlight, process: &Process, layout: &Layout) -> bool {
    entry.scratch[TO_COMPARE] = 0;
    let mut followed = 0;
    while followed < limits::CONTEXTS {
        let holds_one = read_held(entry, process, layout);
        if entry.scratch[TO_COMPARE] == 0 {
            if !holds_one {
                return false;
            }
            if adopt(entry) {
                if entry.scratch[TO_COMPARE] == 0 {
                    return true;
                }
            } else {
                let slot_and_binary = u64::from(entry.counters) << 32 | u64::from(process.binary);
                let [itab, data] = [entry.scratch[CONTEXT], entry.scratch[CONTEXT + 1]];
                let ids = own_span(entry.instance, itab, data, slot_and_binary, process.bias);
                if ids != 0 {
                    return adopt_own(entry, ids);
                }
            }
        } else if is_of_noted_line(entry, holds_one) {
            return true;
        }
        look_at(entry, entry.scratch[HELD], entry.scratch[HELD + 1]);
        followed += 1;
    }
    // The end of most chains is a context that holds none.
    if holder(process, entry.scratch[CONTEXT]) != NO_HOLDER {
        count(entry.counters, Counter::ContextBound);
    }
    false
}

/// Makes the span a child of the one that owns the context at hand, if that is the one that was noted.
#[inline(never)]
fn adopt(entry: &mut InFlight) -> bool {
    let found = find(entry.instance, entry.scratch[CONTEXT + 1]);
    // SAFETY: elements live as long as the map.
    let Some(found) = (unsafe { found.as_ref() }) else { return false };
    // SAFETY: the scratch memory has room for it there; it is aligned to 8 bytes.
    let element = unsafe { &mut *entry.scratch.as_mut_ptr().add(ELEMENT).cast::<SpanContext>() };
    // Another processor may write it at any time, so what is used is what was looked at.
    *element = *found;
    if element.sum != element.sum()
        || element.key.address != entry.scratch[CONTEXT + 1]
        || element.key.instance != entry.instance
        || element.itab != entry.scratch[CONTEXT]
        || element.parent != [entry.scratch[HELD], entry.scratch[HELD + 1]]
    {
        return false;
    }
    let header = &mut entry.record.header;
    header.trace_id = element.trace_id;
    header.parent_span_id = element.span_id;
    header.trace_flags = element.trace_flags as u8;
    header.parent_rule = ParentRule::Context as u8;
    if element.ended != 0 {
        let ancestors = element.ancestors;
        entry.scratch[TO_COMPARE] = 2;
        let mut word = 0;
        while word < 4 {
            entry.scratch[NOTED + word] = ancestors[word];
            word += 1;
        }
        entry.scratch[RESUME] = entry.scratch[HELD];
        entry.scratch[RESUME + 1] = entry.scratch[HELD + 1];
    }
    true
}

/// Makes the span a child of one of the program's own SDK, whose ids stand at this address and never change.
#[inline(never)]
fn adopt_own(entry: &mut InFlight, ids: u64) -> bool {
    // SAFETY: the scratch memory has room for the four words: trace id, span id, flags and what pads them.
    if unsafe { !read_user(entry.counters, entry.scratch.as_mut_ptr().add(ELEMENT).cast(), 32, ids) } {
        count(entry.counters, Counter::ReadFault);
        return false;
    }
    let (scratch, header) = (&entry.scratch, &mut entry.record.header);
    header.trace_id = [scratch[ELEMENT], scratch[ELEMENT + 1]];
    header.parent_span_id = scratch[ELEMENT + 2];
    header.trace_flags = (scratch[ELEMENT + 3] & 3) as u8;
    header.parent_rule = ParentRule::Context as u8;
    // Zeros stand for none.
    scratch[ELEMENT] != 0 && scratch[ELEMENT + 2] != 0
}

/// Where the context at this address is noted, or null.
#[inline(always)]
fn find(instance: u32, address: u64) -> *mut SpanContext {
    element(instance, address, way_of(instance, address))
}

/// Where the context at this address is to be noted.
#[inline(never)]
fn room_for(instance: u32, address: u64) -> *mut SpanContext {
    element(instance, address, way_for(instance, address))
}

/// An element of the set of an address; null where the way is none.
#[inline(always)]
fn element(instance: u32, address: u64, way: u64) -> *mut SpanContext {
    match set(instance, address) {
        // SAFETY: elements live as long as the map, and the mask keeps within them.
        Some(set) if way != NO_WAY => unsafe { set.cast::<SpanContext>().add(masked::<WAYS_MASK>(way)) },
        _ => core::ptr::null_mut(),
    }
}

#[inline(always)]
fn set(instance: u32, address: u64) -> Option<*mut ContextSet> {
    let key = ContextKey { instance, reserved: 0, address };
    CONTEXTS.get_ptr_mut(key.set(contexts_mask()))
}

/// Which element of its set the context at this address has, or [`NO_WAY`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn way_of(instance: u32, address: u64) -> u64 {
    let Some(set) = set(instance, address) else { return NO_WAY };
    let mut way = 0;
    while way < CONTEXT_WAYS {
        // SAFETY: elements live as long as the map.
        let key = unsafe { &(*set).0[way].key };
        if key.address == address && key.instance == instance && address != 0 {
            return way as u64;
        }
        way += 1;
    }
    NO_WAY
}

/// Which element of its set the context at this address is to have: that which it has already, else one that none has, else
/// the oldest that has ended, else the oldest.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn way_for(instance: u32, address: u64) -> u64 {
    let Some(set) = set(instance, address) else { return NO_WAY };
    let mut best = 0;
    let mut least = u64::MAX;
    let mut way = 0;
    while way < CONTEXT_WAYS {
        // SAFETY: elements live as long as the map.
        let element = unsafe { &(*set).0[way] };
        let is_its = element.key.address == address && element.key.instance == instance;
        let is_open = u64::from(element.ended == 0 && element.key.address != 0);
        let rank = if is_its { 0 } else { 1 + (is_open << 63 | element.start) };
        if rank < least {
            least = rank;
            best = way;
        }
        way += 1;
    }
    best as u64
}

/// Notes the span under the context that was kept, with the ancestors that were read.
#[inline(never)]
fn note(entry: &mut InFlight) {
    let data = entry.scratch[KEPT + 1];
    // SAFETY: elements live as long as the map.
    let place = room_for(entry.instance, data);
    // SAFETY: as above.
    let Some(element) = (unsafe { place.as_mut() }) else { return };
    let (scratch, header) = (&entry.scratch, &entry.record.header);
    *element = SpanContext {
        key: ContextKey { instance: entry.instance, reserved: 0, address: data },
        itab: scratch[KEPT],
        parent: [scratch[KEPT + HELD], scratch[KEPT + HELD + 1]],
        ancestors: [
            scratch[ANCESTORS],
            scratch[ANCESTORS + 1],
            scratch[ANCESTORS + 2],
            scratch[ANCESTORS + 3],
        ],
        trace_id: header.trace_id,
        span_id: header.span_id,
        trace_flags: header.trace_flags.into(),
        start: header.start,
        sum: 0,
        ended: 0,
    }
    .summed();
}

/// Whether the context that was come to is the last to be compared with those that were noted, and none has differed. After
/// one that does, the parent is none, and the chain is followed from where it seemed to be found.
#[inline(never)]
fn is_of_noted_line(entry: &mut InFlight, holds_one: bool) -> bool {
    let scratch = &mut entry.scratch;
    if !holds_one {
        scratch[HELD] = 0;
        scratch[HELD + 1] = 0;
    }
    if scratch[HELD] != scratch[NOTED] || scratch[HELD + 1] != scratch[NOTED + 1] {
        scratch[TO_COMPARE] = 0;
        scratch[HELD] = scratch[RESUME];
        scratch[HELD + 1] = scratch[RESUME + 1];
        return false;
    }
    scratch[TO_COMPARE] -= 1;
    scratch[NOTED] = scratch[NOTED + 2];
    scratch[NOTED + 1] = scratch[NOTED + 3];
    scratch[TO_COMPARE] == 0
}

/// Keeps the context at hand and the one that it holds from being overwritten.
#[inline(always)]
fn keep(entry: &mut InFlight) {
    let mut word = 0;
    while word < 4 {
        entry.scratch[KEPT + word] = entry.scratch[CONTEXT + word];
        word += 1;
    }
}

/// The two generations behind the context that the one at hand holds. All requests of an HTTP/1 connection have the same, so
/// they are read once.
#[inline(always)]
fn find_ancestors(entry: &mut InFlight, process: &Process, layout: &Layout) {
    let held = [entry.scratch[HELD], entry.scratch[HELD + 1]];
    let is_known = entry.line[0] == held[0] && entry.line[1] == held[1];
    if !is_known {
        read_ancestors(entry, process, layout);
        // Without them it may be that they could not be read.
        let is_whole = entry.scratch[ANCESTORS + 3] != 0;
        entry.line[0] = if is_whole { held[0] } else { 0 };
        entry.line[1] = held[1];
    }
    let mut word = 0;
    while word < 4 {
        if is_known {
            entry.scratch[ANCESTORS + word] = entry.line[2 + word];
        } else {
            entry.line[2 + word] = entry.scratch[ANCESTORS + word];
        }
        word += 1;
    }
}

/// Reads two generations behind the context that the one at hand holds; zero where there is none.
#[inline(never)]
fn read_ancestors(entry: &mut InFlight, process: &Process, layout: &Layout) {
    let mut generation = 0;
    while generation < 2 {
        look_at(entry, entry.scratch[HELD], entry.scratch[HELD + 1]);
        if !read_held(entry, process, layout) {
            entry.scratch[HELD] = 0;
            entry.scratch[HELD + 1] = 0;
        }
        entry.scratch[ANCESTORS + 2 * generation] = entry.scratch[HELD];
        entry.scratch[ANCESTORS + 2 * generation + 1] = entry.scratch[HELD + 1];
        generation += 1;
    }
}

/// Reads the context that the one at hand holds. False if it holds none.
#[inline(never)]
fn read_held(entry: &mut InFlight, process: &Process, layout: &Layout) -> bool {
    let (itab, data) = (entry.scratch[CONTEXT], entry.scratch[CONTEXT + 1]);
    if itab == 0 || data == 0 {
        return false;
    }
    let holder = holder(process, itab);
    let mut held = data.wrapping_add(holder & u64::from(u32::MAX));
    if holder >> 32 == HolderKind::Request as u64 {
        let request = read_word(entry.counters, held);
        if request == 0 || layout.request.ctx == NONE {
            return false;
        }
        held = request.wrapping_add(layout.request.ctx);
    } else if holder >> 32 != HolderKind::Field as u64 && holder >> 32 != HolderKind::Value as u64 {
        return false;
    }
    // SAFETY: the scratch memory has room for the two words.
    let read = unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().add(HELD).cast(), 16, held) };
    if !read {
        count(entry.counters, Counter::ReadFault);
    }
    read
}
