//! Requests that HTTP clients send.
//!
//! What a request asks for is copied at its start: many clients send copies of their own, which nobody keeps. A span that
//! is not recorded copies nothing.

mod connection;
mod request;
mod response;

use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process, RecordKind, SiteKind, in_flight::state, record::http_flags,
};

#[cfg(feature = "propagate")]
use crate::propagate;
use crate::{
    calls,
    counters::count,
    in_flight, parents,
    registers::{self, Registers},
    trace,
};

pub use connection::{note as note_connection, note_http2 as note_http2_connection};

const KIND: u8 = RecordKind::HttpClient as u8;

/// `(t *Transport).RoundTrip(req *Request) (*Response, error)`
#[inline(never)]
pub fn start(registers: Registers, tgid: u32, process: &Process, layout: &Layout, stack_words: u64) {
    let stack_pointer = registers::stack_pointer(registers).wrapping_sub(stack_words * 8);
    let entry = in_flight::open(registers::g(registers), stack_pointer, tgid, process, layout);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    entry.record.header.kind = KIND;
    calls::note_caller(entry, registers, stack_words, SiteKind::HttpClientEnd);
    #[cfg(feature = "propagate")]
    propagate::search(entry, process, layout, registers::argument(registers, 1));
    if !request::read(entry, layout, registers::argument(registers, 1)) {
        count(process.counters, Counter::NoRequest);
        return in_flight::forget(entry);
    }
    count(process.counters, Counter::Started);
    parents::adopt_or_root(registers, entry, process, layout);
    trace::sample(entry, &process.sampler);
    #[cfg(feature = "propagate")]
    propagate::note(entry, layout);
    if entry.state & state::UNSAMPLED == 0 {
        request::copy(entry, process, layout);
    }
}

/// Whether this is called by a transport whose span is open, to do its work.
#[inline(never)]
pub fn is_nested(registers: Registers, tgid: u32, process: &Process, layout: &Layout) -> bool {
    let is_nested = !around(registers, tgid, process, layout).is_null();
    if is_nested {
        count(process.counters, Counter::NestedClient);
    }
    is_nested
}

/// The open span of the request that this is done for, or null.
#[inline(always)]
fn around(registers: Registers, tgid: u32, process: &Process, layout: &Layout) -> *mut InFlight {
    let (slot, g) = (process.counters, registers::g(registers));
    let goid = in_flight::goid(slot, layout, g);
    let outer = in_flight::innermost(tgid, goid);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { outer.as_ref() }) else { return core::ptr::null_mut() };
    if entry.record.header.kind != KIND {
        return core::ptr::null_mut();
    }
    let stack_pointer = registers::stack_pointer(registers);
    let depth = in_flight::depth(slot, layout, g, stack_pointer);
    if in_flight::has_frame(entry, depth, stack_pointer) { outer } else { core::ptr::null_mut() }
}

/// A call of one of these, or a call around it, has returned: its results are in the registers.
#[inline(never)]
pub fn end(registers: Registers, tgid: u32, process: &Process, layout: &Layout, stack_words: u64) {
    let entry = calls::returned(registers, tgid, process, layout, stack_words);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    // Other calls return here as well, such as those of a transport within the one that was entered.
    if entry.record.header.kind != KIND {
        return;
    }
    if calls::ends_by_outer(entry) {
        entry.record.flags |= http_flags::ENDED_BY_OUTER;
    }
    #[cfg(feature = "propagate")]
    propagate::forget(entry);
    response::finish(registers, entry, process, layout);
    in_flight::forget(entry);
}
