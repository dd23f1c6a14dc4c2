//! Served HTTP/1 requests.
//!
//! Attributes are those that the request came with: pointers are noted when the handler gets it, before a middleware can
//! overwrite them. What the connection keeps in memory is read at the end, so that only recorded spans pay for it; what
//! a handler may drop is copied at the start.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process, RecordKind, Text,
    in_flight::{HeaderName, Slice, state},
    layout::NONE,
    limits::{LARGE_STRUCT, SMALL_STRUCT, STRINGS, TRACESTATE, TRACESTATE_VALUES},
    record::{MISSING_FIELDS, VERSION, http_flags},
};

use crate::{
    counters::count,
    headers, in_flight,
    memory::{byte, read_user, word},
    record,
    registers::{self, Registers},
    trace,
};

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
    let header = match read_request(entry, layout) {
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
        copy_strings(entry);
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

/// A route pattern that `Request.Pattern` of the original request will not have. The last one counts.
#[inline(never)]
pub fn route(tgid: u32, g: u64, pointer: u64, length: u64) {
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { in_flight::find(tgid, g).as_mut() }) else { return };
    if entry.state & state::UNSAMPLED == 0 {
        replace_route(entry, pointer, length);
    }
}

const NO_REQUEST: u64 = u64::MAX;
const NOT_HTTP1: u64 = u64::MAX - 1;

/// Reads the request and notes what is needed of it; returns the address of its header map.
#[inline(never)]
fn read_request(entry: &mut InFlight, layout: &Layout) -> u64 {
    let size = layout.request.size as usize;
    if size > LARGE_STRUCT {
        return NO_REQUEST;
    }
    let request = entry.strings.as_mut_ptr();
    // SAFETY: the strings take `LARGE_STRUCT` bytes or more.
    unsafe {
        if !read_user(entry.counters, request.cast(), size, entry.request) {
            return NO_REQUEST;
        }
        // Only net/http's own HTTP/1 server and its HTTP/2 and HTTP/3 bridges come here, each with its version.
        if word(request, LARGE_STRUCT, layout.request.proto_major) != Some(1) {
            return NOT_HTTP1;
        }
        let minor = word(request, LARGE_STRUCT, layout.request.proto_minor).unwrap_or_default();
        entry.record.protocol_minor = minor as u16;
        if word(request, LARGE_STRUCT, layout.request.tls).unwrap_or_default() != 0 {
            entry.record.flags |= http_flags::TLS;
        }
        entry.peer = string(request, layout.request.remote_addr);
        entry.host = string(request, layout.request.host);
    }
    note_request_line(entry, layout);
    // SAFETY: as above.
    unsafe { word(request, LARGE_STRUCT, layout.request.header) }.unwrap_or_default()
}

/// Method and target are parts of one string, the request line: `http.readRequest` cuts it at its spaces. The connection
/// keeps the method, `http.conn.lastMethod`, and so the whole line in memory.
#[inline(never)]
fn note_request_line(entry: &mut InFlight, layout: &Layout) {
    let request = entry.strings.as_ptr();
    // SAFETY: the strings take `LARGE_STRUCT` bytes or more.
    let (method, target) =
        unsafe { (string(request, layout.request.method), string(request, layout.request.request_uri)) };
    if target.pointer != method.pointer.wrapping_add(method.length).wrapping_add(1) {
        entry.record.header.missing |= 1 << Text::RequestLine as u8;
        return count(entry.counters, Counter::Unexpected);
    }
    entry.request_line = Slice { pointer: method.pointer, length: method.length + 1 + target.length };
    let limit = Text::RequestLine.limit() as u64;
    entry.record.method_length = if method.length > limit { limit as u16 } else { method.length as u16 };
}

/// The string at `offset` of a struct of up to `LARGE_STRUCT` bytes; empty if it does not lie in it.
///
/// # Safety
/// `buffer` must be valid for reads of `LARGE_STRUCT` bytes.
#[inline(always)]
unsafe fn string(buffer: *const u64, offset: u64) -> Slice {
    // SAFETY: the caller vouches for `buffer`. An offset that does not fit 16 bits is past its end.
    unsafe {
        let pointer = word(buffer, LARGE_STRUCT, offset).unwrap_or_default();
        let length = word(buffer, LARGE_STRUCT, offset.saturating_add(8)).unwrap_or_default();
        Slice { pointer, length }
    }
}

/// Copies what a handler may drop.
#[inline(never)]
fn copy_strings(entry: &mut InFlight) {
    record::append(entry, Text::Host, entry.host);
    let agent = entry.headers[HeaderName::UserAgent as usize];
    if agent.length != 0 && read_string(entry, agent.pointer) {
        record::append(entry, Text::UserAgent, Slice { pointer: entry.scratch[0], length: entry.scratch[1] });
    }
    let states = entry.headers[HeaderName::Tracestate as usize];
    if states.length != 0 && entry.record.header.parent_span_id != 0 {
        copy_tracestate(entry, states.pointer, states.length);
    }
}

/// Reads the pointer and the length of the string at `from` to the scratch memory.
#[inline(never)]
fn read_string(entry: &mut InFlight, from: u64) -> bool {
    // SAFETY: the scratch memory has more than 16 bytes.
    let read = unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), 16, from) };
    if !read {
        count(entry.counters, Counter::ReadFault);
    }
    read
}

/// Copies the values of `tracestate`, joined by commas: several are to be taken as one list (section 3.3.1.1).
#[inline(never)]
fn copy_tracestate(entry: &mut InFlight, values: u64, number: u64) {
    let start = entry.strings_length;
    let mut value = 0;
    while value < TRACESTATE_VALUES as u64
        && value < number
        && append_tracestate(entry, start, values + value * 16)
    {
        value += 1;
    }
    if value == number {
        entry.record.lengths[Text::Tracestate as usize] = (entry.strings_length - start) as u16;
    } else {
        entry.strings_length = start;
        entry.record.header.cut |= 1 << Text::Tracestate as u8;
        count(entry.counters, Counter::TracestateDropped);
    }
}

/// Appends the value whose string stands at `from` to the `tracestate` that begins at `start` of the strings.
#[inline(never)]
fn append_tracestate(entry: &mut InFlight, start: u64, from: u64) -> bool {
    if !read_string(entry, from) {
        return false;
    }
    let length = entry.scratch[1] as usize;
    let end = entry.strings_length as usize;
    let start = start as usize;
    let comma = usize::from(end != start);
    if length > TRACESTATE || end - start + comma + length > TRACESTATE || end > STRINGS - 2 * TRACESTATE {
        return false;
    }
    // SAFETY: at most `TRACESTATE` bytes are read to at most `STRINGS - 2 * TRACESTATE + 1`.
    let read = unsafe {
        let to = entry.strings.as_mut_ptr().cast::<u8>().add(end);
        *to = b',';
        read_user(entry.counters, to.add(comma), length, entry.scratch[0])
    };
    if !read {
        count(entry.counters, Counter::ReadFault);
        return false;
    }
    entry.strings_length = (end + comma + length) as u64;
    true
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

/// Notes whether the connection was hijacked.
#[inline(never)]
fn note_hijacking(entry: &mut InFlight, layout: &Layout) {
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
        entry.record.header.missing |= MISSING_FIELDS;
        count(entry.counters, Counter::ReadFault);
    } else if entry.scratch[0] & 0xff != 0 {
        entry.record.flags |= http_flags::HIJACKED;
    }
}

/// Completes the record and sends it.
#[inline(never)]
fn finish(entry: &mut InFlight, layout: &Layout) {
    // SAFETY: without arguments.
    entry.record.header.end = unsafe { bpf_ktime_get_boot_ns() };
    if entry.state & state::UNSAMPLED != 0 {
        return count(entry.counters, Counter::Unsampled);
    }
    read_response(entry, layout);
    read_pattern(entry, layout);
    record::append(entry, Text::RequestLine, entry.request_line);
    record::append(entry, Text::Peer, entry.peer);
    record::send(entry);
}

#[inline(never)]
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
        entry.record.header.missing |= MISSING_FIELDS;
        return count(entry.counters, Counter::ReadFault);
    };
    entry.record.status = status as u16;
    entry.record.written = written.cast_signed();
    if wrote_header != 0 {
        entry.record.flags |= http_flags::WROTE_HEADER;
    }
}

/// Takes the route from the original request; a middleware's copy has its own.
#[inline(never)]
fn read_pattern(entry: &mut InFlight, layout: &Layout) {
    let request = &layout.request;
    let mut from = entry.request.wrapping_add(request.pattern);
    if request.pattern == NONE {
        if request.pat == NONE {
            return;
        }
        // SAFETY: the scratch memory has more than 8 bytes.
        let read = unsafe {
            let pattern = entry.request.wrapping_add(request.pat);
            read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), 8, pattern)
        };
        if !read {
            return count(entry.counters, Counter::ReadFault);
        }
        if entry.scratch[0] == 0 {
            return;
        }
        from = entry.scratch[0].wrapping_add(request.pattern_str);
    }
    if read_string(entry, from) && entry.scratch[1] != 0 {
        replace_route(entry, entry.scratch[0], entry.scratch[1]);
    }
}

/// Sets the route, also if it was set before. It is the last string before the end of the span.
#[inline(never)]
fn replace_route(entry: &mut InFlight, pointer: u64, length: u64) {
    let earlier = &mut entry.record.lengths[Text::Route as usize];
    entry.strings_length -= u64::from(*earlier);
    *earlier = 0;
    record::append(entry, Text::Route, Slice { pointer, length });
}
