//! Open spans.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use lightfoot_probes_abi::{Counter, InFlight, InFlightKey, Layout, limits::SMALL_STRUCT};

use crate::{
    counters::count,
    maps::{EMPTY, IN_FLIGHT},
    memory::{read_user, word},
};

const EEXIST: i32 = 17;

/// Makes an empty entry for the goroutine's outermost span, or returns null and counts the loss.
#[inline(never)]
pub fn open(tgid: u32, g: u64, slot: u32) -> *mut InFlight {
    let key = InFlightKey { tgid, level: 0, g };
    let Some(empty) = EMPTY.get(0) else { return core::ptr::null_mut() };
    let mut outcome = IN_FLIGHT.insert(&key, empty, u64::from(BPF_NOEXIST));
    if outcome == Err(-EEXIST) {
        // A connection's goroutine serves one request after the other: the end of this one was missed.
        count(slot, Counter::Abandoned);
        outcome = IN_FLIGHT.insert(&key, empty, u64::from(BPF_ANY));
    }
    if outcome.is_err() {
        count(slot, Counter::InFlightFull);
        return core::ptr::null_mut();
    }
    IN_FLIGHT.get_ptr_mut(&key).unwrap_or(core::ptr::null_mut())
}

/// The goroutine's outermost open span, or null.
#[inline(never)]
pub fn find(tgid: u32, g: u64) -> *mut InFlight {
    let key = InFlightKey { tgid, level: 0, g };
    IN_FLIGHT.get_ptr_mut(&key).unwrap_or(core::ptr::null_mut())
}

/// Forgets the goroutine's outermost open span.
#[inline(never)]
pub fn close(tgid: u32, g: u64) {
    let key = InFlightKey { tgid, level: 0, g };
    let _ = IN_FLIGHT.remove(&key); // it can only fail if it is gone
}

/// Reads the goroutine `g` to the scratch memory.
#[inline(never)]
pub fn read_goroutine(entry: &mut InFlight, layout: &Layout, g: u64) -> bool {
    let size = layout.g.size as usize;
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    size <= SMALL_STRUCT && unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), size, g) }
}

/// The id of the goroutine that was read to the scratch memory.
#[inline(always)]
pub fn goid(entry: &InFlight, layout: &Layout) -> Option<u64> {
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    unsafe { word(entry.scratch.as_ptr(), SMALL_STRUCT, layout.g.goid) }
}

/// How deep `stack_pointer` lies in the stack of the goroutine that was read to the scratch memory.
#[inline(always)]
pub fn depth(entry: &InFlight, layout: &Layout, stack_pointer: u64) -> Option<u64> {
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let hi = unsafe { word(entry.scratch.as_ptr(), SMALL_STRUCT, layout.g.stack_hi) }?;
    Some(hi.wrapping_sub(stack_pointer))
}
