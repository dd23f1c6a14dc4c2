//! Contexts: a server's span owns that of its request, and a call whose own descends from it is its child.
//!
//! The chain is followed from a context to the one that it holds, through any type of the program that holds one.

mod holders;

use aya_ebpf::bindings::BPF_ANY;
use lightfoot_probes_abi::{
    ContextKey, Counter, InFlight, Layout, ParentRule, Process, SpanContext, context::HolderKind,
    layout::NONE, limits, process::process_flags,
};

use crate::{
    counters::count,
    maps::CONTEXTS,
    memory::{read_user, read_word},
};
use holders::{NO_HOLDER, holder};

// The scratch memory, in words: the context at hand, the one that it holds, the two that these hold in turn, and a new
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
    read_ancestors(entry, process, layout);
    let header = &entry.record.header;
    let element = SpanContext {
        itab,
        parent: [entry.scratch[KEPT + HELD], entry.scratch[KEPT + HELD + 1]],
        ancestors: [
            entry.scratch[ANCESTORS],
            entry.scratch[ANCESTORS + 1],
            entry.scratch[ANCESTORS + 2],
            entry.scratch[ANCESTORS + 3],
        ],
        ended: 0,
        trace_id: header.trace_id,
        span_id: header.span_id,
        trace_flags: header.trace_flags.into(),
    };
    // SAFETY: the scratch memory has room for it there; it is aligned to 8 bytes.
    let place = unsafe { &mut *entry.scratch.as_mut_ptr().add(ELEMENT).cast::<SpanContext>() };
    *place = element;
    let key = ContextKey { instance: process.instance, reserved: 0, address: data };
    // Where it fails the end of the span counts it.
    let _ = CONTEXTS.insert(&key, &*place, u64::from(BPF_ANY));
}

/// Notes at the end of a span that its context may die from now on. Counts if it was dropped for others.
#[inline(always)]
pub fn check_own(entry: &InFlight) {
    let [itab, data] = entry.context;
    if itab == 0 {
        return;
    }
    let key = ContextKey { instance: entry.instance, reserved: 0, address: data };
    if let Some(element) = CONTEXTS.get_ptr_mut(&key) {
        // SAFETY: the kernel hands out elements that live at least until the program ends. Should it give this one to
        // another key meanwhile, that one's owner is looked at more closely than it must.
        let element = unsafe { &mut *element };
        if element.span_id == entry.record.header.span_id {
            element.ended = 1;
            return;
        }
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
    let key = ContextKey { instance: process.instance, reserved: 0, address: data };
    let _ = CONTEXTS.remove(&key);
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
            if adopt(entry) && entry.scratch[TO_COMPARE] == 0 {
                return true;
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
    let key = ContextKey { instance: entry.instance, reserved: 0, address: entry.scratch[CONTEXT + 1] };
    let Some(place) = CONTEXTS.get_ptr(&key) else { return false };
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let element = unsafe { &*place };
    let held = [entry.scratch[HELD], entry.scratch[HELD + 1]];
    if element.itab != entry.scratch[CONTEXT] || element.parent != held {
        return false;
    }
    if element.ended != 0 {
        entry.scratch[TO_COMPARE] = 2;
        let mut word = 0;
        while word < 4 {
            entry.scratch[NOTED + word] = element.ancestors[word];
            word += 1;
        }
        entry.scratch[RESUME] = held[0];
        entry.scratch[RESUME + 1] = held[1];
    }
    let header = &mut entry.record.header;
    header.trace_id = element.trace_id;
    header.parent_span_id = element.span_id;
    header.trace_flags = element.trace_flags as u8;
    header.parent_rule = ParentRule::Context as u8;
    // The kernel may give the element to another key at any time.
    let is_still_its = CONTEXTS.get_ptr(&key) == Some(place);
    if !is_still_its {
        entry.scratch[TO_COMPARE] = 0;
    }
    is_still_its
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

/// Reads two generations behind the context that the one at hand holds; zero where there is none.
#[inline(always)]
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
    } else if holder >> 32 != HolderKind::Field as u64 {
        return false;
    }
    // SAFETY: the scratch memory has room for the two words.
    let read = unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().add(HELD).cast(), 16, held) };
    if !read {
        count(entry.counters, Counter::ReadFault);
    }
    read
}
