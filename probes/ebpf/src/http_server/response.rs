//! What became of a request, read when it ends.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Text,
    in_flight::{Slice, state},
    layout::NONE,
    limits::{ROUTE_PARTS, SMALL_STRUCT},
    record::{MISSING_FIELDS, http_flags},
};

use super::http2;
#[cfg(feature = "propagate")]
use crate::propagate;
use crate::{
    contexts,
    counters::count,
    memory::{byte, read_string, read_user, read_word, word},
    record,
};

// What the original request says of its route.
const UNKNOWN_PATTERN: u64 = 0;
const NO_PATTERN: u64 = 1;
const PATTERN: u64 = 2;

/// The first status that tells of an error (RFC 9110, section 15.5).
const FIRST_ERROR: u16 = 400;

/// Notes whether the connection was hijacked.
#[inline(never)]
pub fn note_hijacking(entry: &mut InFlight, layout: &Layout) {
    let connection = layout.response.connection;
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has more than 8 bytes.
    let read = unsafe {
        read_user(entry.counters, scratch.cast(), 8, entry.response.wrapping_add(connection))
            && read_user(
                entry.counters,
                scratch.cast(),
                1,
                (*scratch).wrapping_add(layout.connection.hijacked),
            )
    };
    if !read {
        note_missing(entry);
    } else if entry.scratch[0] & 0xff != 0 {
        entry.record.flags |= http_flags::HIJACKED;
    }
}

/// Completes the record and sends it.
#[inline(never)]
pub fn finish(entry: &mut InFlight, layout: &Layout) {
    // SAFETY: without arguments.
    entry.record.header.end = unsafe { bpf_ktime_get_boot_ns() };
    contexts::check_own(entry);
    #[cfg(feature = "propagate")]
    propagate::states::check_kept(entry);
    if entry.state & state::UNSAMPLED != 0 {
        return count(entry.counters, Counter::Unsampled);
    }
    if entry.record.protocol_major == 2 {
        let is_x = entry.state & state::X_NET != 0;
        http2::read_state(entry, if is_x { &layout.x_http2 } else { &layout.http2 });
    } else {
        read_response(entry, layout);
        record::append(entry, Text::RequestLine, entry.request_line);
    }
    // What a router says is closer to the handler than the pattern under which `ServeMux` has the router.
    if entry.state & state::ROUTED == 0 && read_pattern(entry, layout) == NO_PATTERN {
        note_route(entry);
    }
    append_route(entry);
    record::send(entry);
}

#[inline(always)]
fn read_response(entry: &mut InFlight, layout: &Layout) {
    let size = layout.response.size as usize;
    let response = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let fields = unsafe {
        if size <= SMALL_STRUCT && read_user(entry.counters, response.cast(), size, entry.response) {
            (
                word(response, SMALL_STRUCT, layout.response.status),
                word(response, SMALL_STRUCT, layout.response.written),
                byte(response, SMALL_STRUCT, layout.response.wrote_header),
            )
        } else {
            (None, None, None)
        }
    };
    let (Some(status), Some(written), Some(wrote_header)) = fields else {
        return note_missing(entry);
    };
    note(entry, status, written, wrote_header);
}

/// Notes that status and size could not be read.
#[inline(never)]
pub fn note_missing(entry: &mut InFlight) {
    entry.record.header.missing |= MISSING_FIELDS;
    count(entry.counters, Counter::ReadFault);
}

/// Notes what was read.
#[inline(always)]
pub fn note(entry: &mut InFlight, status: u64, written: u64, wrote_header: u8) {
    entry.record.status = status as u16;
    entry.record.size = written.cast_signed();
    if wrote_header != 0 {
        entry.record.flags |= http_flags::WROTE_HEADER;
    }
}

/// Takes the route from the original request; a middleware's copy has its own.
#[inline(always)]
fn read_pattern(entry: &mut InFlight, layout: &Layout) -> u64 {
    let fields = &layout.request;
    if entry.request == 0 {
        return NO_PATTERN;
    }
    let mut from = entry.request.wrapping_add(fields.pattern);
    if fields.pattern == NONE {
        if fields.pat == NONE {
            return UNKNOWN_PATTERN;
        }
        // SAFETY: the scratch memory has more than 8 bytes.
        let read = unsafe {
            let pattern = entry.request.wrapping_add(fields.pat);
            read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), 8, pattern)
        };
        if !read {
            count(entry.counters, Counter::ReadFault);
            return UNKNOWN_PATTERN;
        }
        if entry.scratch[0] == 0 {
            return NO_PATTERN;
        }
        from = entry.scratch[0].wrapping_add(fields.pattern_str);
    }
    if !read_string(entry, from) {
        return UNKNOWN_PATTERN;
    }
    if !is_kept(entry, layout) || entry.scratch[1] == 0 {
        return NO_PATTERN;
    }
    entry.route[0] = Slice { pointer: entry.scratch[0], length: entry.scratch[1] };
    entry.route_parts = 1;
    PATTERN
}

/// Whether the memory that was read is still the request's. Since Go 1.27 nothing keeps a request that came over HTTP/2
/// (`http2Handler.ServeHTTP`, net/http/http2.go): once its handler makes no more use of it, it may be collected. Its context
/// lives as long as its stream (`stream.ctx`, net/http/internal/http2/server.go), so no other request has the same.
#[inline(always)]
fn is_kept(entry: &InFlight, layout: &Layout) -> bool {
    let has_keeper = entry.record.protocol_major != 2
        || entry.state & state::X_NET != 0
        || layout.server_request.ctx == NONE;
    if has_keeper {
        return true;
    }
    let context = entry.request.wrapping_add(layout.request.ctx).wrapping_add(8);
    let is_kept = read_word(entry.counters, context) == entry.context[1];
    if !is_kept {
        count(entry.counters, Counter::RequestGone);
    }
    is_kept
}

/// Counts a request that has no pattern of its own: whether the optional site brings one, and if not whether it might.
/// Errors are often answered before a route is looked for, or because there is none.
#[inline(always)]
fn note_route(entry: &InFlight) {
    if entry.route_parts != 0 {
        count(entry.counters, Counter::RouteOfCopy);
    } else if entry.record.status < FIRST_ERROR {
        count(entry.counters, Counter::WithoutRoute);
    }
}

/// Joins the pieces of the route.
#[inline(always)]
fn append_route(entry: &mut InFlight) {
    let start = entry.strings_length;
    let mut part = 0;
    while part < ROUTE_PARTS && part < entry.route_parts as usize {
        let piece = entry.route[part];
        record::append(entry, Text::Route, piece);
        part += 1;
    }
    entry.record.lengths[Text::Route as usize] = (entry.strings_length - start) as u16;
}
