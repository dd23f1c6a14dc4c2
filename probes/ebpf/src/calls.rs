//! Calls of clients, which end where they return to: their callers are noted for the agent, who places probes behind them.

use aya_ebpf::bindings::BPF_ANY;
use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process, ProcessEvent, Site, SiteKind, in_flight::state,
};

use crate::{
    counters::count,
    in_flight, life,
    maps::CALLERS,
    memory::read_word,
    registers::{self, Registers},
};

/// Notes where the call returns to, on the stack of a function that was just entered, and tells the agent. `end` is what
/// happens there.
#[inline(always)]
pub fn note_caller(entry: &mut InFlight, registers: Registers, stack_words: u64, end: SiteKind) {
    if let Some(at) = registers::return_address(registers, stack_words) {
        entry.caller = read_word(entry.counters, at);
        tell_caller(entry.record.header.tgid, entry.caller, entry.counters, end as u64);
    }
}

/// The span of the call that has returned to this place, or of one that was made within it, or null.
#[inline(never)]
pub fn returned(
    registers: Registers,
    tgid: u32,
    process: &Process,
    layout: &Layout,
    stack_words: u64,
) -> *mut InFlight {
    let (slot, g) = (process.counters, registers::g(registers));
    let goid = in_flight::goid(slot, layout, g);
    if in_flight::find(tgid, goid, 0).is_null() {
        return core::ptr::null_mut();
    }
    let stack_pointer = registers::stack_pointer(registers).wrapping_sub(stack_words * 8);
    let depth = in_flight::depth(slot, layout, g, stack_pointer);
    if depth == 0 {
        return core::ptr::null_mut();
    }
    let found = in_flight::find_from(tgid, goid, depth);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(entry) = unsafe { found.as_mut() }
        && entry.depth != depth
    {
        entry.state |= state::ENDED_BY_OUTER;
    }
    found
}

/// Whether the call that has returned is another one, around that of the span.
#[inline(always)]
pub fn ends_by_outer(entry: &InFlight) -> bool {
    let is_outer = entry.state & state::ENDED_BY_OUTER != 0;
    if is_outer {
        count(entry.counters, Counter::EndedByOuter);
    }
    is_outer
}

#[inline(never)]
fn tell_caller(tgid: u32, address: u64, slot: u32, end: u64) {
    let caller = Site { tgid, reserved: 0, address };
    if address == 0 || CALLERS.get_ptr(&caller).is_some() {
        return;
    }
    if CALLERS.insert(&caller, &end, u64::from(BPF_ANY)).is_ok() {
        life::tell_of(tgid, ProcessEvent::CALLED);
    } else {
        count(slot, Counter::CallersFull);
    }
}
