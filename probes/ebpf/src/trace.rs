//! Parents, ids and the sampling decision.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use lightfoot_probes_abi::{
    Counter, InFlight, ParentRule, Sampler,
    in_flight::{HeaderName, state},
    trace_context::{self, BYTES, OFFSET},
};

use crate::{counters::count, memory::read_user};

/// Where in the scratch memory a string's pointer and length are read to; before them stands the text.
const STRING: usize = 8;

/// Gives the span a remote parent, or makes it a root.
#[inline(never)]
pub fn adopt_or_root(entry: &mut InFlight) {
    let values = entry.headers[HeaderName::Traceparent as usize];
    if values.length != 0 {
        // More than one is as good as none (section 3.2.1: a list is malformed).
        if values.length == 1 && remote_parent(entry, values.pointer) {
            return child(entry);
        }
        count(entry.counters, Counter::BadTraceparent);
        entry.headers[HeaderName::Tracestate as usize].length = 0;
    }
    root(entry);
}

/// Gives an id to the span, which has a parent.
#[inline(always)]
pub fn child(entry: &mut InFlight) {
    entry.record.header.span_id = random();
}

/// Has a trace begin with the span.
#[inline(always)]
pub fn root(entry: &mut InFlight) {
    let header = &mut entry.record.header;
    header.trace_id = [random(), random()];
    header.span_id = random();
    header.parent_span_id = 0;
    header.parent_rule = ParentRule::Root as u8;
    header.trace_flags = 0;
}

/// Decides whether the span is recorded.
#[inline(always)]
pub fn sample(entry: &mut InFlight, sampler: &Sampler) {
    let header = &mut entry.record.header;
    let has_parent = header.parent_rule != ParentRule::Root as u8;
    let parent = has_parent.then_some(header.trace_flags & 1 != 0);
    if sampler.samples(u64::from_be(header.trace_id[1]), parent) {
        header.trace_flags |= 1;
    } else {
        header.trace_flags &= !1;
        entry.state |= state::UNSAMPLED;
    }
}

/// Takes ids and flags from the header value whose string stands at `value`. False if it is not valid.
#[inline(always)]
fn remote_parent(entry: &mut InFlight, value: u64) -> bool {
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has room for the text and the string.
    unsafe {
        if !read_user(entry.counters, scratch.add(STRING).cast(), 16, value) {
            return false;
        }
        let (pointer, length) = (*scratch.add(STRING), *scratch.add(STRING + 1));
        let kept = if length < BYTES as u64 { BYTES - 1 } else { BYTES };
        if length < BYTES as u64 - 1
            || !read_user(entry.counters, scratch.cast::<u8>().add(OFFSET), kept, pointer)
        {
            return false;
        }
        parse(entry, length)
    }
}

#[inline(always)]
fn parse(entry: &mut InFlight, length: u64) -> bool {
    let Some(text) = entry.scratch.first_chunk() else { return false };
    let Some(parent) = trace_context::parse(text, length) else { return false };
    let header = &mut entry.record.header;
    header.trace_id = parent.trace_id;
    header.parent_span_id = parent.span_id;
    // Sampled, and since Level 2 random. The other bits are not defined, and must not be passed on (section 3.2.2.5).
    header.trace_flags = parent.flags & 3;
    header.parent_rule = ParentRule::Remote as u8;
    true
}

/// A random number that is not zero, as ids must not be.
#[inline(always)]
fn random() -> u64 {
    // SAFETY: without arguments.
    let number = unsafe { u64::from(bpf_get_prandom_u32()) << 32 | u64::from(bpf_get_prandom_u32()) };
    // Without a branch, which the verifier would follow both ways.
    number | u64::from(number == 0)
}
