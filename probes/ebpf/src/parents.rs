//! The parents of spans that start within the process: by context, by goroutine, by the goroutine that created theirs.

use lightfoot_probes_abi::{
    InFlight, Layout, ParentRule, Process, layout::NONE, limits::LEVELS, process::process_flags,
};

use crate::{
    contexts, in_flight,
    memory::{read_user, read_word},
    registers::{self, Registers},
    trace,
};

const INFERRED: u64 = process_flags::CHILDREN | process_flags::INFER_PARENTS;

/// Notes which goroutines will be younger than the span, whose scratch memory begins with its goroutine's `g.m`.
///
/// A processor's cache is used up from `goidcache` to before `goidcacheend`, and the next one begins behind `goidgen`
/// (`runtime.newproc1`). The goroutine holds its processor all the while.
#[inline(always)]
pub fn note_young_goids(entry: &mut InFlight, process: &Process, layout: &Layout) {
    let m = entry.scratch[0];
    if process.flags & INFERRED != INFERRED
        || m == 0
        || layout.m.p == NONE
        || layout.goidgen == NONE
        || layout.p.goidcache == NONE
        || layout.p.goidcacheend != layout.p.goidcache.wrapping_add(8)
    {
        return;
    }
    let p = read_word(entry.counters, m.wrapping_add(layout.m.p));
    let cache = p.wrapping_add(layout.p.goidcache);
    // SAFETY: the scratch memory has room for the two words.
    let read = unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), 16, cache) };
    let goidgen = read_word(entry.counters, layout.goidgen.wrapping_add(process.bias));
    if read && goidgen != 0 {
        entry.young_goids = [entry.scratch[0], entry.scratch[1], goidgen.wrapping_add(1)];
    }
}

/// Gives the span its parent in the process, or makes it a root. The context to start from is that of
/// [`contexts::look_at`].
#[inline(always)]
pub fn adopt_or_root(registers: Registers, entry: &mut InFlight, process: &Process, layout: &Layout) {
    let has_parent = process.flags & process_flags::CHILDREN != 0
        && contexts::find_parent(entry, process, layout)
        || adopt_goroutine(entry)
        || process.flags & INFERRED == INFERRED
            && layout.g.parent_goid != NONE
            && adopt_parent_goroutine(entry, registers::g(registers).wrapping_add(layout.g.parent_goid));
    if has_parent {
        trace::child(entry);
    } else {
        trace::root(entry);
    }
}

/// Makes the span a child of the goroutine's innermost open one.
#[inline(never)]
fn adopt_goroutine(entry: &mut InFlight) -> bool {
    let header = &entry.record.header;
    if entry.level == 0 {
        return false;
    }
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let parent = unsafe { in_flight::find(header.tgid, header.goid, entry.level - 1).as_ref() };
    parent.is_some_and(|parent| adopt(entry, parent, ParentRule::Goroutine))
}

/// Makes the span a child of the innermost one of the goroutine whose id stands at `parent_goid`, if its own goroutine is
/// younger than that.
#[inline(never)]
fn adopt_parent_goroutine(entry: &mut InFlight, parent_goid: u64) -> bool {
    let parent_goid = read_word(entry.counters, parent_goid);
    let tgid = entry.record.header.tgid;
    let mut has_parent = false;
    let mut level = 0;
    while level < LEVELS as u32 {
        // SAFETY: the kernel hands out elements that live at least until the program ends.
        let Some(parent) = (unsafe { in_flight::find(tgid, parent_goid, level).as_ref() }) else { break };
        if is_younger(entry.record.header.goid, &parent.young_goids) {
            has_parent = adopt(entry, parent, ParentRule::ParentGoroutine)
                // The goroutine may end the span on another processor at any time, and the kernel use the element again.
                && is_still(parent, in_flight::find(tgid, parent_goid, level), entry)
                // An entry that is kept may be that of the connection's next request by now.
                && is_younger(entry.record.header.goid, &parent.young_goids);
        }
        level += 1;
    }
    has_parent
}

#[inline(always)]
fn is_still(parent: &InFlight, found: *const InFlight, child: &InFlight) -> bool {
    let (is, was) = (&parent.record.header, &child.record.header);
    core::ptr::eq(parent, found) && is.span_id == was.parent_span_id && is.trace_id == was.trace_id
}

#[inline(always)]
fn is_younger(goid: u64, young: &[u64; 3]) -> bool {
    young[2] != 0 && (goid >= young[2] || goid >= young[0] && goid < young[1])
}

#[inline(always)]
fn adopt(entry: &mut InFlight, parent: &InFlight, rule: ParentRule) -> bool {
    let (header, of_parent) = (&mut entry.record.header, &parent.record.header);
    header.trace_id = of_parent.trace_id;
    header.parent_span_id = of_parent.span_id;
    header.trace_flags = of_parent.trace_flags;
    header.parent_rule = rule as u8;
    header.parent_span_id != 0
}
