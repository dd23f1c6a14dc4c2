//! Routes that routers other than `ServeMux` have matched.

use core::mem::size_of;

use lightfoot_probes_abi::{
    Cookie, Counter, InFlight, Layout, Process, RecordKind, Text,
    in_flight::{Slice, state},
    layout::{NONE, Router},
    limits::ROUTE_PARTS,
    record::http_flags,
};

use super::find;
use crate::{
    counters::count,
    memory::{read_string, read_user, read_word},
    registers::{self, Registers},
};

/// A router has matched a request, or is done with it: notes its pattern. The last one counts, for routers may hand on to
/// others.
#[inline(never)]
pub fn matched(registers: Registers, tgid: u32, process: &Process, layout: &Layout, cookie: Cookie) {
    count(process.counters, Counter::RouterSite);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { find(registers, tgid, process, layout).as_mut() }) else { return };
    let is_server = entry.record.header.kind == RecordKind::HttpServer as u8;
    if !is_server || entry.state & state::UNSAMPLED != 0 {
        return;
    }
    let router = &layout.routers[cookie.router() as usize];
    let (register, _) = cookie.registers();
    let argument = registers::argument_at(registers, register);
    if argument == 0 {
        // gorilla/mux has no route where its NotFoundHandler answers.
        return;
    }
    let from = argument.wrapping_add(router.at);
    if router.in_pieces == 0 {
        note_pattern(entry, router, from);
    } else {
        note_pieces(entry, from);
    }
}

/// Notes the pattern at `from`, or behind the pointer there. An empty one tells that nothing has matched.
#[inline(never)]
fn note_pattern(entry: &mut InFlight, router: &Router, mut from: u64) {
    if router.behind != NONE {
        let pointer = read_word(entry.counters, from);
        if pointer == 0 {
            return;
        }
        from = pointer.wrapping_add(router.behind);
    }
    if read_string(entry, from) && entry.scratch[1] != 0 {
        entry.route[0] = Slice { pointer: entry.scratch[0], length: entry.scratch[1] };
        entry.record.flags &= !http_flags::ROUTE_IN_PIECES;
        note_parts(entry, 1);
    }
}

/// Notes the first of the pieces that the slice at `from` has.
#[inline(never)]
fn note_pieces(entry: &mut InFlight, from: u64) {
    if !read_string(entry, from) {
        return;
    }
    let (pointer, mut number) = (entry.scratch[0], entry.scratch[1] as usize);
    if number == 0 {
        return;
    }
    if number > ROUTE_PARTS {
        number = ROUTE_PARTS;
        entry.record.header.cut |= 1 << Text::Route as u16;
        count(entry.counters, Counter::CutString);
    }
    // SAFETY: at most all parts are read.
    let read = unsafe {
        let to = entry.route.as_mut_ptr().cast();
        read_user(entry.counters, to, number * size_of::<Slice>(), pointer)
    };
    if !read {
        entry.record.header.missing |= 1 << Text::Route as u16;
        return count(entry.counters, Counter::ReadFault);
    }
    entry.record.flags |= http_flags::ROUTE_IN_PIECES;
    note_parts(entry, number as u64);
}

#[inline(always)]
fn note_parts(entry: &mut InFlight, parts: u64) {
    entry.state |= state::ROUTED;
    entry.route_parts = parts;
}
