//! Served HTTP/1 requests.
//!
//! Attributes are those that the request came with: pointers are noted when the handler gets it, before a middleware can
//! overwrite them. What the connection keeps in memory is read at the end, so that only recorded spans pay for it; what
//! a handler may drop is copied at the start.

mod request;
mod response;

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process, RecordKind,
    in_flight::state,
    limits::SMALL_STRUCT,
    record::{VERSION, http_flags},
};

use crate::{
    counters::count,
    headers, in_flight,
    memory::word,
    registers::{self, Registers},
    trace,
};
use request::{NO_REQUEST, NOT_HTTP1};
use response::{finish, note_hijacking, replace_route};

/// `serverHandler.ServeHTTP(sh serverHandler, rw ResponseWriter, req *Request)`: the receiver is one word, the interface
/// two.
#[inline(never)]
pub fn start(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let g = registers::g(registers);
    let entry = in_flight::open(tgid, g, process.counters);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    fill_header(entry, tgid, process);
    entry.response = registers::argument(registers, 2);
    entry.request = registers::argument(registers, 3);
    if !identify(entry, layout, g, registers::stack_pointer(registers)) {
        count(process.counters, Counter::NoGoroutine);
        return in_flight::close(tgid, g);
    }
    let header = match request::read(entry, layout) {
        NO_REQUEST => {
            count(process.counters, Counter::NoRequest);
            return in_flight::close(tgid, g);
        }
        NOT_HTTP1 => {
            count(process.counters, Counter::NotHttp1);
            return in_flight::close(tgid, g);
        }
        header => header,
    };
    count(process.counters, Counter::Started);
    headers::find(entry, &layout.header, header);
    trace::adopt_or_root(entry);
    trace::sample(entry, &process.sampler);
    if entry.state & state::UNSAMPLED == 0 {
        request::copy_strings(entry);
    }
}

/// `(*response).finishRequest()`
#[inline(never)]
pub fn end(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let g = registers::g(registers);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::find(tgid, g).as_mut() }) else {
        return count(process.counters, Counter::EndWithoutStart);
    };
    if entry.response == registers::argument(registers, 0) {
        finish(entry, layout);
    } else {
        // It belongs to an earlier request on this goroutine, or to an earlier goroutine.
        count(process.counters, Counter::EndWithoutStart);
        count(process.counters, Counter::Abandoned);
    }
    in_flight::close(tgid, g);
}

/// The handler has returned to `(*conn).serve`; no register holds the response any more.
#[inline(never)]
pub fn end_by_depth(registers: Registers, tgid: u32, process: &Process, layout: &Layout, stack_words: u64) {
    let g = registers::g(registers);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::find(tgid, g).as_mut() }) else {
        return count(process.counters, Counter::EndWithoutStart);
    };
    let stack_pointer = registers::stack_pointer(registers).wrapping_sub(stack_words * 8);
    if is_same(entry, layout, g, stack_pointer) {
        note_hijacking(entry, layout);
        finish(entry, layout);
    } else {
        count(process.counters, Counter::EndWithoutStart);
        count(process.counters, Counter::Abandoned);
    }
    in_flight::close(tgid, g);
}

/// `(*conn).serve.func1()`, deferred: if a request is still open here, its handler panicked or hijacked the connection.
#[inline(never)]
pub fn connection_end(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let g = registers::g(registers);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::find(tgid, g).as_mut() }) else { return };
    if in_flight::read_goroutine(entry, layout, g) && in_flight::goid(entry, layout) == Some(entry.goid) {
        // SAFETY: the goroutine was just read to the scratch memory, which has `SMALL_STRUCT` bytes.
        let panic = unsafe { word(entry.scratch.as_ptr(), SMALL_STRUCT, layout.g.panic) };
        note_hijacking(entry, layout);
        // Where panics can't be told, a handler that has not hijacked must have panicked to come here.
        if panic.unwrap_or(u64::from(entry.record.flags & http_flags::HIJACKED == 0)) != 0 {
            entry.record.flags |= http_flags::PANICKED;
        }
        finish(entry, layout);
    } else {
        count(process.counters, Counter::Abandoned);
    }
    in_flight::close(tgid, g);
}

/// A route pattern that `Request.Pattern` of the original request may not have. The last one counts, unless that has one.
#[inline(never)]
pub fn route(tgid: u32, process: &Process, g: u64, pointer: u64, length: u64) {
    count(process.counters, Counter::RouteSite);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::find(tgid, g).as_mut() }) else { return };
    if entry.state & state::UNSAMPLED == 0 {
        replace_route(entry, pointer, length);
    }
}

/// Fills in what the record has from the start.
#[inline(never)]
fn fill_header(entry: &mut InFlight, tgid: u32, process: &Process) {
    entry.counters = process.counters;
    let header = &mut entry.record.header;
    header.kind = RecordKind::HttpServer as u8;
    header.version = VERSION;
    header.tgid = tgid;
    header.binary = process.binary;
    // SAFETY: without arguments.
    header.start = unsafe { bpf_ktime_get_boot_ns() };
}

/// Notes which goroutine starts the span and how deep in its stack.
#[inline(never)]
fn identify(entry: &mut InFlight, layout: &Layout, g: u64, stack_pointer: u64) -> bool {
    if !in_flight::read_goroutine(entry, layout, g) {
        return false;
    }
    let (goid, depth) = (in_flight::goid(entry, layout), in_flight::depth(entry, layout, stack_pointer));
    let (Some(goid), Some(depth)) = (goid, depth) else { return false };
    entry.goid = goid;
    entry.record.header.goid = goid;
    entry.depth = depth;
    true
}

/// Whether the goroutine is the one that started the span, and as deep in its stack.
#[inline(never)]
fn is_same(entry: &mut InFlight, layout: &Layout, g: u64, stack_pointer: u64) -> bool {
    in_flight::read_goroutine(entry, layout, g)
        && in_flight::goid(entry, layout) == Some(entry.goid)
        && in_flight::depth(entry, layout, stack_pointer) == Some(entry.depth)
}
