//! Served HTTP requests.
//!
//! Attributes are those that the request came with: pointers are noted when the handler gets it, before a middleware can
//! overwrite them. What the connection keeps in memory is read at the end, so that only recorded spans pay for it; what
//! a handler may drop is copied at the start.

mod http2;
mod request;
mod response;
mod router;

use lightfoot_probes_abi::{
    Cookie, Counter, InFlight, Layout, Process, RecordKind, SiteKind,
    in_flight::{Slice, state},
    layout::NONE,
    process::process_flags,
    record::http_flags,
};

#[cfg(feature = "propagate")]
use crate::propagate;
use crate::{
    contexts,
    counters::count,
    headers, in_flight,
    memory::read_word,
    parents,
    registers::{self, Registers},
    trace,
};
use request::NO_REQUEST;
use response::{finish, note_hijacking};

pub use http2::end as http2_end;
pub use router::matched as router_matched;

/// A handler gets a request: see [`note_arguments`].
#[inline(never)]
pub fn start(registers: Registers, tgid: u32, process: &Process, layout: &Layout, cookie: Cookie) {
    let (g, stack_pointer) = (registers::g(registers), registers::stack_pointer(registers));
    let entry = in_flight::open(g, stack_pointer, tgid, process, layout);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else {
        return disown(registers, process, layout, cookie);
    };
    entry.record.header.kind = RecordKind::HttpServer as u8;
    note_arguments(entry, registers, cookie);
    if entry.level != 0 {
        http2::note_inner(entry, layout);
        return in_flight::forget(entry);
    }
    parents::note_young_goids(entry, process, layout);
    let header = request::read(entry, layout);
    if header == NO_REQUEST {
        count(process.counters, Counter::NoRequest);
        return in_flight::forget(entry);
    }
    if !is_served_here(entry, registers, process, layout) {
        return in_flight::forget(entry);
    }
    headers::find(entry, &layout.header, header);
    if entry.record.header.span_id == 0 {
        count(process.counters, Counter::Started);
        trace::adopt_or_root(entry);
        trace::sample(entry, &process.sampler);
    }
    contexts::own(entry, process, layout);
    #[cfg(feature = "propagate")]
    propagate::states::keep_state(tgid, entry.record.header.goid);
    if entry.state & state::UNSAMPLED == 0 {
        // SAFETY: a reference. Volatile, lest LLVM keep on the stack what was read before.
        let flags = unsafe { (&raw const process.flags).read_volatile() };
        if flags & process_flags::HEADERS != 0 {
            find_wanted(entry, process, header);
        }
        request::copy_strings(entry, layout);
    }
}

/// Notes the headers whose values the process is asked for.
#[inline(never)]
fn find_wanted(entry: &mut InFlight, process: &Process, header: u64) {
    if process.flags & process_flags::FORWARDED != 0 {
        entry.record.flags |= http_flags::FORWARDED;
    }
    headers::find_wanted(entry.record.header.tgid, entry.record.header.goid, process.layout, header);
}

/// Notes where `ResponseWriter` and request are, in one of
/// - `serverHandler.ServeHTTP(sh serverHandler, rw ResponseWriter, req *Request)`: a receiver of one word, an interface of two;
/// - `http2Handler.ServeHTTP(h http2Handler, w *http2.ResponseWriter, req *http2.ServerRequest)`: a receiver of two;
/// - `(*serverConn).runHandler(rw *responseWriter, req *http.Request, …)` of golang.org/x/net.
#[inline(always)]
fn note_arguments(entry: &mut InFlight, registers: Registers, cookie: Cookie) {
    // All are read, lest LLVM read from where a branch says: the context takes constant offsets alone.
    let [first, second, third] = [1, 2, 3].map(|position| registers::argument(registers, position));
    let is_x = cookie.0 & Cookie::X_NET != 0;
    (entry.response, entry.request) = if is_x { (first, second) } else { (second, third) };
    if cookie.kind() == Some(SiteKind::Http2ServerStart) {
        entry.state |= if is_x { state::OWN_START | state::X_NET } else { state::OWN_START };
    }
}

/// Forgets whose the context of a request was whose span cannot be opened.
#[inline(never)]
fn disown(registers: Registers, process: &Process, layout: &Layout, cookie: Cookie) {
    let [second, third] = [2, 3].map(|position| registers::argument(registers, position));
    let is_x = cookie.0 & Cookie::X_NET != 0;
    let is_bridge = !is_x && cookie.kind() == Some(SiteKind::Http2ServerStart);
    let context = if is_bridge { layout.server_request.ctx } else { layout.request.ctx };
    contexts::disown(process, if is_x { second } else { third }, context);
}

/// Whether the request that was read is one to be traced, and by the server that this start belongs to.
#[inline(never)]
fn is_served_here(entry: &mut InFlight, registers: Registers, process: &Process, layout: &Layout) -> bool {
    if entry.state & state::OWN_START != 0 {
        http2::continue_upgraded(entry, registers, layout);
        return true;
    }
    match entry.record.protocol_major {
        1 => {
            request::join_line(entry);
            true
        }
        2 => http2::serves(registers::argument(registers, 1), process, layout),
        _ => {
            count(process.counters, Counter::UnknownProtocol);
            false
        }
    }
}

/// `(*response).finishRequest()`
#[inline(never)]
pub fn end(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { find(registers, tgid, process, layout).as_mut() }) else {
        return count(process.counters, Counter::EndWithoutStart);
    };
    if entry.response == registers::argument(registers, 0) {
        finish(entry, layout);
    } else {
        // It belongs to an earlier request on this goroutine.
        count(process.counters, Counter::EndWithoutStart);
        count(process.counters, Counter::Abandoned);
    }
    in_flight::rest(entry, process);
}

/// The handler has returned to `(*conn).serve`; no register holds the response any more.
#[inline(never)]
pub fn end_by_depth(registers: Registers, tgid: u32, process: &Process, layout: &Layout, stack_words: u64) {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { find(registers, tgid, process, layout).as_mut() }) else {
        return count(process.counters, Counter::EndWithoutStart);
    };
    if entry.record.protocol_major != 1 {
        return; // HTTP/2 returns from `ServeHTTP` as well; its end is another.
    }
    let stack_pointer = registers::stack_pointer(registers).wrapping_sub(stack_words * 8);
    let g = registers::g(registers);
    if in_flight::depth(process.counters, layout, g, stack_pointer) == entry.depth {
        note_hijacking(entry, layout);
        finish(entry, layout);
    } else {
        count(process.counters, Counter::EndWithoutStart);
        count(process.counters, Counter::Abandoned);
    }
    in_flight::rest(entry, process);
}

/// `(*conn).serve.func1()`, deferred: if a request is still open here, its handler panicked or hijacked the connection.
#[inline(never)]
pub fn connection_end(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let goid = in_flight::goid(process.counters, layout, registers::g(registers));
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::part(tgid, goid).as_mut() }) else { return };
    if entry.record.header.kind != RecordKind::HttpServer as u8 {
        // A call that was made between two requests, whose end was missed.
        count(process.counters, Counter::Abandoned);
        return in_flight::forget(entry);
    }
    note_hijacking(entry, layout);
    // Where panics can't be told, a handler that has not hijacked must have panicked to come here.
    let has_panicked = if layout.g.panic == NONE {
        entry.record.flags & http_flags::HIJACKED == 0
    } else {
        read_word(process.counters, registers::g(registers).wrapping_add(layout.g.panic)) != 0
    };
    if has_panicked {
        entry.record.flags |= http_flags::PANICKED;
    }
    finish(entry, layout);
    in_flight::forget(entry);
}

/// A route pattern that `Request.Pattern` of the original request may not have. The last one counts, unless that has one or a
/// router has told another.
#[inline(never)]
pub fn route(registers: Registers, tgid: u32, process: &Process, layout: &Layout, cookie: Cookie) {
    count(process.counters, Counter::RouteSite);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { find(registers, tgid, process, layout).as_mut() }) else { return };
    let (pointer, length) = cookie.registers();
    let pointer = registers::argument_at(registers, pointer);
    let length = registers::argument_at(registers, length);
    if length != 0 && entry.state & state::ROUTED == 0 {
        entry.route[0] = Slice { pointer, length };
        entry.route_parts = 1;
    }
}

/// The open span of the server's handler that the goroutine runs, or null. It is the outermost.
#[inline(always)]
fn find(registers: Registers, tgid: u32, process: &Process, layout: &Layout) -> *mut InFlight {
    let goid = in_flight::goid(process.counters, layout, registers::g(registers));
    in_flight::find(tgid, goid, 0)
}
