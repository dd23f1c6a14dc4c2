//! What a request asks for.

use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process, Text,
    in_flight::Slice,
    layout::NONE,
    limits::{LARGE_STRUCT, REDIRECTS, REQUEST_LINE, SMALL_STRUCT, STRINGS},
    process::process_flags,
    record::http_flags,
};

use super::connection;
use crate::{
    connect, contexts,
    counters::count,
    memory::{large_struct, read_user, read_word, string, word},
    record,
};

/// Where in the scratch memory a scheme is read to, in words; before it stands the URL.
const SCHEME: usize = SMALL_STRUCT / 8 - 1;

/// Reads the request to where the strings will stand, and looks at its context. False if it cannot be read.
#[inline(never)]
pub fn read(entry: &mut InFlight, layout: &Layout, request: u64) -> bool {
    let size = layout.request.size as usize;
    let to = large_struct(entry);
    entry.request = request;
    // SAFETY: there is room for `LARGE_STRUCT` bytes.
    unsafe {
        if size > LARGE_STRUCT || !read_user(entry.counters, to.cast(), size, request) {
            return false;
        }
        let context = string(to, LARGE_STRUCT, layout.request.ctx);
        contexts::look_at(entry, context.pointer, context.length);
    }
    true
}

/// Copies method and URL of the request that was read, behind the place of its connection where that is looked for.
#[inline(never)]
pub fn copy(entry: &mut InFlight, process: &Process, layout: &Layout) {
    if process.flags & process_flags::JOIN != 0 {
        connection::reserve(entry);
    }
    let request = large_struct(entry).cast_const();
    // SAFETY: there is room for `LARGE_STRUCT` bytes.
    entry.target = unsafe {
        Slice {
            pointer: word(request, LARGE_STRUCT, layout.request.header).unwrap_or_default(),
            length: word(request, LARGE_STRUCT, layout.request.url).unwrap_or_default(),
        }
    };
    // SAFETY: there is room for `LARGE_STRUCT` bytes.
    let (url, redirect, get_body) = unsafe {
        entry.request_line = string(request, LARGE_STRUCT, layout.request.method);
        (
            entry.target.length,
            word(request, LARGE_STRUCT, layout.request.response).unwrap_or_default(),
            word(request, LARGE_STRUCT, layout.request.get_body).unwrap_or_default(),
        )
    };
    connect::note_client(entry, process, layout, get_body);
    if redirect != 0 && layout.client_response.request != NONE {
        let offsets = (layout.client_response.request, layout.request.response);
        entry.record.resend_count = count_redirects(entry.counters, offsets.0, offsets.1, redirect) as u16;
    }
    if !read_url(entry, layout, url) {
        entry.record.header.missing |=
            1 << Text::Host as u16 | 1 << Text::RequestLine as u16 | 1 << Text::Scheme as u16;
        return count(entry.counters, Counter::ReadFault);
    }
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    entry.host = unsafe { string(entry.scratch.as_ptr(), SMALL_STRUCT, layout.url.host) };
    record::append(entry, Text::Host, entry.host);
    append_line(entry, process, layout);
    append_scheme(entry, layout);
}

/// How many redirects led to the request that was made for the response `redirect`. Takes the offsets of
/// `Response.Request` and `Request.Response`.
#[inline(never)]
fn count_redirects(slot: u32, of_request: u64, of_response: u64, mut redirect: u64) -> u32 {
    let mut redirects = 0;
    while redirects < REDIRECTS as u32 && redirect != 0 {
        redirects += 1;
        let request = read_word(slot, redirect.wrapping_add(of_request));
        if request == 0 {
            break;
        }
        redirect = read_word(slot, request.wrapping_add(of_response));
    }
    redirects
}

/// Reads the URL to the scratch memory.
#[inline(always)]
fn read_url(entry: &mut InFlight, layout: &Layout, url: u64) -> bool {
    let size = layout.url.size as usize;
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    size <= SCHEME * 8 && unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), size, url) }
}

/// Puts the method and the target together.
#[inline(never)]
fn append_line(entry: &mut InFlight, process: &Process, layout: &Layout) {
    let start = entry.strings_length;
    append_piece(entry, start, entry.request_line);
    entry.record.method_length = (entry.strings_length - start) as u16;
    append_byte(entry, start, b' ');
    let before = entry.strings_length;
    append_target(entry, start, layout);
    entry.record.path_length = (entry.strings_length - before) as u16;
    if process.flags & process_flags::QUERIES != 0 {
        // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
        let query = unsafe { string(entry.scratch.as_ptr(), SMALL_STRUCT, layout.url.raw_query) };
        if query.length != 0 {
            append_byte(entry, start, b'?');
            append_piece(entry, start, query);
        }
    }
    entry.record.lengths[Text::RequestLine as usize] = (entry.strings_length - start) as u16;
}

/// Appends the opaque part of the URL, or its path, and notes which and whether there is user info.
#[inline(always)]
fn append_target(entry: &mut InFlight, start: u64, layout: &Layout) {
    let (fields, url) = (&layout.url, entry.scratch.as_ptr());
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let target = unsafe {
        if word(url, SMALL_STRUCT, fields.user).unwrap_or_default() != 0 {
            entry.record.flags |= http_flags::USER_INFO;
        }
        let (opaque, raw) =
            (string(url, SMALL_STRUCT, fields.opaque), string(url, SMALL_STRUCT, fields.raw_path));
        if opaque.length != 0 {
            entry.record.flags |= http_flags::OPAQUE;
            opaque
        } else if raw.length != 0 {
            raw
        } else {
            entry.record.flags |= http_flags::DECODED_PATH;
            string(url, SMALL_STRUCT, fields.path)
        }
    };
    append_piece(entry, start, target);
}

/// Appends to the line that begins at `start` of the strings, as much as its limit permits.
#[inline(never)]
fn append_piece(entry: &mut InFlight, start: u64, piece: Slice) {
    let room = REQUEST_LINE as u64 - (entry.strings_length - start);
    let mut length = piece.length;
    if length > room {
        length = room;
        if entry.record.header.cut & 1 << Text::RequestLine as u16 == 0 {
            entry.record.header.cut |= 1 << Text::RequestLine as u16;
            count(entry.counters, Counter::CutString);
        }
    }
    record::append(entry, Text::RequestLine, Slice { pointer: piece.pointer, length });
}

#[inline(never)]
fn append_byte(entry: &mut InFlight, start: u64, byte: u8) {
    let end = entry.strings_length as usize;
    if end < STRINGS && entry.strings_length - start < REQUEST_LINE as u64 {
        // SAFETY: within the strings, by the comparison.
        unsafe { *entry.strings.as_mut_ptr().cast::<u8>().add(end) = byte };
        entry.strings_length = end as u64 + 1;
    }
}

/// Appends the scheme, unless it is one of the two that have a flag.
#[inline(never)]
fn append_scheme(entry: &mut InFlight, layout: &Layout) {
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let scheme = unsafe { string(entry.scratch.as_ptr(), SMALL_STRUCT, layout.url.scheme) };
    if scheme.length == 4 || scheme.length == 5 {
        let length = if scheme.length == 5 { 5 } else { 4 };
        entry.scratch[SCHEME] = 0;
        // SAFETY: a word has more than 5 bytes.
        let read = unsafe {
            let to = entry.scratch.as_mut_ptr().add(SCHEME);
            read_user(entry.counters, to.cast(), length, scheme.pointer)
        };
        if read && entry.scratch[SCHEME] == u64::from_le_bytes(*b"http\0\0\0\0") {
            return;
        }
        if read && entry.scratch[SCHEME] == u64::from_le_bytes(*b"https\0\0\0") {
            entry.record.flags |= http_flags::TLS;
            return;
        }
    }
    record::append(entry, Text::Scheme, scheme);
}
