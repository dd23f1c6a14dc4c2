//! Served HTTP/2 requests: each has a goroutine of its own, `(*serverConn).runHandler`, which ends with it.
//!
//! There are two servers of common origin, net/http's own and that of golang.org/x/net. The first hands all its requests to
//! `serverHandler`, as HTTP/1 does; the second calls whatever handler it was given.

use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process,
    in_flight::state,
    layout::{Http2, ITAB_TYPE, NONE},
    limits::HTTP2_STATE,
    process::process_flags,
    record::http_flags,
};

use super::{find, response};
use crate::{
    counters::count,
    in_flight,
    memory::{byte, read_user, read_word, word},
    registers::{self, Registers},
};

/// `(*serverConn).runHandler.func1()` of either server, deferred.
#[inline(never)]
pub fn end(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { find(registers, tgid, process, layout).as_mut() }) else {
        return count(process.counters, Counter::EndWithoutStart);
    };
    if entry.record.protocol_major != 2 {
        // It was within a request that is not known.
        count(process.counters, Counter::EndWithoutStart);
        count(process.counters, Counter::Abandoned);
        return in_flight::forget(entry);
    }
    if layout.g.panic != NONE
        && read_word(process.counters, registers::g(registers).wrapping_add(layout.g.panic)) != 0
    {
        entry.record.flags |= http_flags::PANICKED;
    }
    if process.flags & process_flags::JOIN != 0 {
        let is_x = entry.state & state::X_NET != 0;
        note_stream(entry, if is_x { &layout.x_http2 } else { &layout.http2 });
    }
    response::finish(entry, layout);
    in_flight::forget(entry);
}

/// Notes the id of the stream that the request came by.
#[inline(never)]
fn note_stream(entry: &mut InFlight, fields: &Http2) {
    if fields.stream != NONE && fields.id != NONE {
        let state = read_word(entry.counters, entry.response.wrapping_add(fields.rws));
        let stream = read_word(entry.counters, state.wrapping_add(fields.stream));
        let id = read_word(entry.counters, stream.wrapping_add(fields.id));
        entry.record.error_type_or_stream = id & 0xffff_ffff;
    }
}

/// Whether a request that came to `serverHandler` with a `ResponseWriter` of this itab is from net/http's own HTTP/2 server.
#[inline(never)]
pub fn serves(itab: u64, process: &Process, layout: &Layout) -> bool {
    let slot = process.counters;
    let writer = read_word(slot, itab.wrapping_add(ITAB_TYPE)).wrapping_sub(process.bias);
    if writer == layout.http2.response_writer_type {
        return true;
    }
    // HTTP/1 takes the preface of HTTP/2, `PRI * HTTP/2.0`, for a request: that is how h2c.NewHandler gets to see it.
    if writer != layout.types.response {
        count(slot, Counter::UnknownProtocol);
    }
    false
}

/// A server's handler was called within a server's handler: it is the same request's. With `http2.ConfigureServer` the
/// server of golang.org/x/net, where the span has started, hands its requests to net/http's, which completes them.
#[inline(never)]
pub fn note_inner(inner: &InFlight, layout: &Layout) {
    let header = &inner.record.header;
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(outer) = (unsafe { in_flight::find(header.tgid, header.goid, 0).as_mut() }) else { return };
    if outer.response != inner.response {
        return;
    }
    outer.request = inner.request;
    // CONNECT comes without a scheme, and so is taken for unencrypted at first.
    let encrypted = outer.record.flags & http_flags::TLS != 0;
    if !encrypted && read_word(inner.counters, inner.request.wrapping_add(layout.request.tls)) != 0 {
        outer.record.flags |= http_flags::TLS;
    }
}

/// Makes the span of an HTTP/1 request go on as this one, if the request came with `Upgrade: h2c`: the handler of
/// golang.org/x/net/http2/h2c takes over the connection, serves HTTP/2 on it from the same goroutine and has it answer this
/// very request on its first stream.
#[inline(never)]
pub fn continue_upgraded(entry: &mut InFlight, registers: Registers, layout: &Layout) {
    if entry.record.protocol_major == 2 {
        return;
    }
    entry.record.protocol_major = 2;
    entry.record.protocol_minor = 0;
    if layout.g.parent_goid == NONE {
        return;
    }
    let parent = registers::g(registers).wrapping_add(layout.g.parent_goid);
    let goid = read_word(entry.counters, parent);
    let tgid = entry.record.header.tgid;
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(first) = (unsafe { in_flight::find(tgid, goid, 0).as_mut() }) else { return };
    // The request line is the same memory.
    if first.record.protocol_major == 1 && first.request_line.pointer == entry.request_line.pointer {
        continue_span(entry, first);
        if core::ptr::eq(first, in_flight::find(tgid, goid, 0)) {
            entry.state |= first.state & state::UNSAMPLED;
            in_flight::forget(first);
        } else {
            // The connection has ended meanwhile, and with it that span.
            entry.record.header.span_id = 0;
        }
    }
}

#[inline(never)]
fn continue_span(entry: &mut InFlight, first: &InFlight) {
    let (to, from) = (&mut entry.record.header, &first.record.header);
    to.start = from.start;
    to.trace_id = from.trace_id;
    to.span_id = from.span_id;
    to.parent_span_id = from.parent_span_id;
    to.parent_rule = from.parent_rule;
    to.trace_flags = from.trace_flags;
}

/// Reads what was made of the response.
#[inline(never)]
pub fn read_state(entry: &mut InFlight, fields: &Http2) {
    let size = fields.state_size as usize;
    let state = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has `HTTP2_STATE` bytes or more.
    let found = unsafe {
        if size <= HTTP2_STATE
            && read_user(entry.counters, state.cast(), 8, entry.response.wrapping_add(fields.rws))
            && read_user(entry.counters, state.cast(), size, (*state).wrapping_add(fields.state))
        {
            (
                word(state, HTTP2_STATE, fields.status),
                word(state, HTTP2_STATE, fields.wrote_bytes),
                byte(state, HTTP2_STATE, fields.wrote_header),
            )
        } else {
            (None, None, None)
        }
    };
    let (Some(status), Some(written), Some(wrote_header)) = found else {
        return response::note_missing(entry);
    };
    response::note(entry, status, written, wrote_header);
}
