//! What a request came with, read before its handler runs.

use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Text,
    in_flight::{HeaderName, Slice, state},
    layout,
    limits::{LARGE_STRUCT, METHOD, REQUEST_LINE, STRINGS},
    record::http_flags,
};

use crate::{
    connect,
    counters::count,
    headers,
    memory::{large_struct, read_string, read_user, string, word},
    record,
};

/// The request could not be read.
pub const NO_REQUEST: u64 = u64::MAX;

/// Reads the request and notes what is needed of it; returns the address of its header map.
#[inline(never)]
pub fn read(entry: &mut InFlight, layout: &Layout) -> u64 {
    if entry.state & (state::OWN_START | state::X_NET) != state::OWN_START {
        return read_with(entry, &layout.request);
    }
    let header = read_with(entry, &layout.server_request);
    entry.request = 0;
    header
}

#[inline(always)]
fn read_with(entry: &mut InFlight, fields: &layout::Request) -> u64 {
    let size = fields.size as usize;
    if size > LARGE_STRUCT {
        return NO_REQUEST;
    }
    let request = large_struct(entry);
    // SAFETY: there is room for `LARGE_STRUCT` bytes.
    unsafe {
        if !read_user(entry.counters, request.cast(), size, entry.request) {
            return NO_REQUEST;
        }
        let major = word(request, LARGE_STRUCT, fields.proto_major).unwrap_or_default();
        let minor = word(request, LARGE_STRUCT, fields.proto_minor).unwrap_or_default();
        entry.record.protocol_major = major as u8;
        entry.record.protocol_minor = minor as u8;
        if word(request, LARGE_STRUCT, fields.tls).unwrap_or_default() != 0 {
            entry.record.flags |= http_flags::TLS;
        }
        note_peer(entry, string(request, LARGE_STRUCT, fields.remote_addr));
        entry.host = string(request, LARGE_STRUCT, fields.host);
        let context = string(request, LARGE_STRUCT, fields.ctx);
        entry.context = [context.pointer, context.length];
        entry.request_line = string(request, LARGE_STRUCT, fields.method);
        entry.target = string(request, LARGE_STRUCT, fields.request_uri);
        word(request, LARGE_STRUCT, fields.header).unwrap_or_default()
    }
}

/// Each request of a connection has the address that the connection keeps.
#[inline(always)]
fn note_peer(entry: &mut InFlight, peer: Slice) {
    if entry.peer.pointer != peer.pointer || entry.peer.length != peer.length {
        entry.peer_length = 0;
    }
    entry.peer = peer;
}

/// In HTTP/1 method and target are parts of one string, the request line: `http.readRequest` cuts it at its spaces. The
/// connection keeps the method, `http.conn.lastMethod`, and so the whole line in memory.
#[inline(always)]
pub fn join_line(entry: &mut InFlight) {
    let (method, target) = (entry.request_line, entry.target);
    if target.pointer != method.pointer.wrapping_add(method.length).wrapping_add(1) {
        entry.request_line.length = 0;
        entry.record.header.missing |= 1 << Text::RequestLine as u16;
        return count(entry.counters, Counter::Unexpected);
    }
    entry.request_line = Slice { pointer: method.pointer, length: method.length + 1 + target.length };
    let limit = Text::RequestLine.limit() as u64;
    entry.record.method_length = if method.length > limit { limit as u16 } else { method.length as u16 };
}

/// Copies the peer's address, and what a handler may drop: of an HTTP/2 request everything, for method and target are strings
/// of their own.
#[inline(never)]
pub fn copy_strings(entry: &mut InFlight, layout: &Layout) {
    append_peer(entry);
    record::append(entry, Text::Host, entry.host);
    record::append_tracestate(entry);
    let agent = entry.headers[HeaderName::UserAgent as usize];
    if agent.length != 0 && read_string(entry, agent.pointer) {
        record::append(entry, Text::UserAgent, Slice { pointer: entry.scratch[0], length: entry.scratch[1] });
    }
    if entry.route_parts != 0 {
        headers::append_found(entry.record.header.tgid, entry.record.header.goid);
    }
    if layout.header.rpc != 0 {
        connect::note_content_type(entry);
    }
    if entry.record.protocol_major == 2 {
        append_method(entry);
        append_target(entry);
    }
}

/// Appends the peer's address, unless that of the connection's last request still stands there. It is the first string.
#[inline(always)]
fn append_peer(entry: &mut InFlight) {
    if entry.peer_length != 0 {
        entry.strings_length = entry.peer_length;
        entry.record.lengths[Text::Peer as usize] = entry.peer_length as u16;
        return;
    }
    record::append(entry, Text::Peer, entry.peer);
    if entry.strings_length == entry.peer.length {
        entry.peer_length = entry.strings_length;
    }
}

/// Appends the method of an HTTP/2 request.
#[inline(always)]
fn append_method(entry: &mut InFlight) {
    let mut method = entry.request_line;
    if method.length > METHOD as u64 {
        method.length = METHOD as u64;
        entry.target.length = 0;
        entry.record.header.cut |= 1 << Text::RequestLine as u16;
        count(entry.counters, Counter::CutString);
    }
    entry.record.method_length = method.length as u16;
    record::append(entry, Text::RequestLine, method);
}

/// Appends a space and the target to the method that was just appended.
#[inline(never)]
fn append_target(entry: &mut InFlight) {
    const METHOD_AND_TARGET: u16 = 1 << Text::RequestLine as u16;
    let end = entry.strings_length as usize;
    let mut length = entry.target.length as usize;
    if length == 0 || entry.record.header.missing & METHOD_AND_TARGET != 0 {
        return;
    }
    let room = REQUEST_LINE - 1 - entry.record.method_length as usize;
    if length > room {
        length = room;
        entry.record.header.cut |= METHOD_AND_TARGET;
        count(entry.counters, Counter::CutString);
    }
    if length > REQUEST_LINE || end > STRINGS - REQUEST_LINE - 1 {
        return; // it can't be
    }
    // SAFETY: at most `REQUEST_LINE` bytes are read to at most `STRINGS - REQUEST_LINE`.
    let read = unsafe {
        let to = entry.strings.as_mut_ptr().cast::<u8>().add(end);
        *to = b' ';
        read_user(entry.counters, to.add(1), length, entry.target.pointer)
    };
    if !read {
        entry.record.header.missing |= METHOD_AND_TARGET;
        return count(entry.counters, Counter::ReadFault);
    }
    entry.strings_length = (end + 1 + length) as u64;
    entry.record.lengths[Text::RequestLine as usize] += (1 + length) as u16;
}
