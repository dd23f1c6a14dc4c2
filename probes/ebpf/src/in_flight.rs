//! Open spans.

use aya_ebpf::bindings::BPF_ANY;
use lightfoot_probes_abi::{Counter, InFlight, InFlightKey, Layout, limits::LEVELS};

use crate::{
    counters::count,
    maps::{EMPTY, IN_FLIGHT},
    memory::read_word,
};

/// The id of the goroutine `g`, or 0 if it cannot be read. (0 is that of the scheduler's own, which runs none of our sites.)
#[inline(never)]
pub fn goid(slot: u32, layout: &Layout, g: u64) -> u64 {
    read_word(slot, g.wrapping_add(layout.g.goid))
}

/// How deep `stack_pointer` lies in the stack of the goroutine `g`, in bytes, or 0 if that cannot be told.
#[inline(never)]
pub fn depth(slot: u32, layout: &Layout, g: u64, stack_pointer: u64) -> u64 {
    let hi = read_word(slot, g.wrapping_add(layout.g.stack_hi));
    if hi == 0 { 0 } else { hi.wrapping_sub(stack_pointer) }
}

/// Makes an empty entry for a span that starts at this depth, or returns null and counts the loss.
///
/// What the goroutine has open at this depth or deeper is dead: those frames are gone, and their end was missed.
#[inline(never)]
pub fn open(tgid: u32, goid: u64, depth: u64, slot: u32) -> *mut InFlight {
    let level = drop_from(tgid, goid, depth, slot);
    if level >= LEVELS as u32 {
        count(slot, Counter::TooDeep);
        return core::ptr::null_mut();
    }
    let key = InFlightKey { tgid, level, goid };
    let Some(empty) = EMPTY.get(0) else { return core::ptr::null_mut() };
    if IN_FLIGHT.insert(&key, empty, u64::from(BPF_ANY)).is_err() {
        count(slot, Counter::InFlightFull);
        return core::ptr::null_mut();
    }
    let entry = find(tgid, goid, level);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(entry) = unsafe { entry.as_mut() } {
        entry.depth = depth;
        entry.level = level;
        entry.counters = slot;
        entry.record.header.tgid = tgid;
        entry.record.header.goid = goid;
    }
    entry
}

/// The goroutine's open span at this level, or null.
#[inline(never)]
pub fn find(tgid: u32, goid: u64, level: u32) -> *mut InFlight {
    let key = InFlightKey { tgid, level, goid };
    IN_FLIGHT.get_ptr_mut(&key).unwrap_or(core::ptr::null_mut())
}

/// Forgets a span that has ended, and those that were open within it: their end was missed.
#[inline(never)]
pub fn close(tgid: u32, goid: u64, level: u32, slot: u32) {
    let mut within = 0;
    while within < LEVELS as u32 {
        if !remove(tgid, goid, level + within) {
            return;
        }
        if within != 0 {
            count(slot, Counter::Abandoned);
        }
        within += 1;
    }
}

/// Forgets the spans of this depth or deeper. Returns how many are left.
#[inline(never)]
fn drop_from(tgid: u32, goid: u64, depth: u64, slot: u32) -> u32 {
    let mut left = 0;
    let mut level = 0;
    while level < LEVELS as u32 {
        // SAFETY: the kernel hands out elements that live at least until the program ends.
        let Some(entry) = (unsafe { find(tgid, goid, level).as_ref() }) else { break };
        level += 1;
        if entry.depth < depth {
            left = level;
        } else if remove(tgid, goid, level - 1) {
            count(slot, Counter::Abandoned);
        }
    }
    left
}

#[inline(never)]
fn remove(tgid: u32, goid: u64, level: u32) -> bool {
    IN_FLIGHT.remove(&InFlightKey { tgid, level, goid }).is_ok()
}
