//! Counts how often each site is hit and does nothing else: for tests that place probes wherever the planner ever would.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(clippy::needless_pass_by_value, reason = "aya hands contexts over by value")]
#![expect(internal_features, reason = "the stable atomics lack read-modify-write on this target")]

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_attach_cookie,
    macros::{map, uprobe},
    maps::Array,
    programs::ProbeContext,
};

/// By the cookies of sites.
#[map]
static HITS: Array<u64> = Array::with_max_entries(1024, 0);

/// Every site, with its number for a cookie.
#[uprobe(multi)]
pub fn on_hit(context: ProbeContext) -> u32 {
    // SAFETY: the context is the one that the kernel gave to this program.
    let site = unsafe { bpf_get_attach_cookie(context.as_ptr()) };
    if let Some(hits) = HITS.get_ptr_mut(site as u32) {
        // SAFETY: elements are aligned to 8 bytes and live as long as the map, and are only ever changed atomically.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(hits, 1) };
    }
    0
}

/// As the other object has it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
