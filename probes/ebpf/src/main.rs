//! The BPF programs that run at probe sites. They only read the program they watch.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the stable atomics lack read-modify-write on this target")]

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    macros::{map, uprobe},
    maps::Array,
    programs::ProbeContext,
};
use lightfoot_probes_abi::Counter;

/// Counts that only grow, indexed by [`Counter`].
#[map]
static COUNTERS: Array<u64> = Array::with_max_entries(Counter::COUNT, 0);

/// What the kernel asks before it offers helpers that only programs under the GPL may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// Counts each hit of its site.
#[uprobe(multi)]
pub fn count_hit(_context: ProbeContext) -> u32 {
    count(Counter::Hits);
    0
}

/// Adds one to a counter. Programs are preemptible and run on all processors at once, so nothing less than an atomic
/// addition counts every event. The old value is not used: an addition that returns it needs Linux 5.12.
#[inline(always)]
fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter.index()) {
        // SAFETY: the kernel hands out array elements aligned to 8 bytes, which live as long as the map, and this
        // program only ever changes them atomically.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(value, 1) };
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
