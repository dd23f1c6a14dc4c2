//! Counting.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use lightfoot_probes_abi::{Counter, Counters};

use crate::maps::COUNTERS;

/// The element of `COUNTERS` for what belongs to no selected process.
pub const NO_PROCESS: u32 = 0;

/// Adds one to a counter of the element `slot`.
#[inline(always)]
pub fn count(slot: u32, counter: Counter) {
    add(slot, counter as u32);
}

/// The same in numbers alone. Returns 0.
///
/// Elements belong to a processor only to keep processors from fighting for them: a program can be preempted and go on
/// elsewhere, so nothing less than an atomic addition counts every event. Its old value is not used: an addition that
/// returns that needs Linux 5.12.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn add(slot: u32, counter: u32) -> u32 {
    if let Some(counters) = COUNTERS.get_ptr_mut(slot) {
        let index = counter as usize % Counters::CAPACITY;
        // SAFETY: the kernel hands out elements aligned to 8 bytes, which live as long as the map; the index is within
        // the element, and programs only ever change it atomically.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(
                (&raw mut (*counters).0).cast::<u64>().add(index),
                1,
            )
        };
    }
    0
}
