//! Calls of `connectrpc.com/connect`, which are HTTP requests: what tells their protocol.

use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process,
    in_flight::HeaderName,
    layout::NONE,
    record::{ContentType, http_flags},
};

use crate::{
    counters::count,
    memory::{read_string, read_user, read_word},
};

/// The shortest of the types that are looked for, `application/grpc`.
const SHORTEST: usize = 16;
/// As much of a type is read as tells them apart.
const LONGEST: usize = 24;

/// Notes whether a client's request is one that connect made, by its `GetBody`.
#[inline(always)]
pub fn note_client(entry: &mut InFlight, process: &Process, layout: &Layout, get_body: u64) {
    if layout.connect.of_message == NONE || get_body == 0 {
        return;
    }
    let function = read_word(entry.counters, get_body).wrapping_sub(process.bias);
    if function == layout.connect.of_message || function == layout.connect.of_nothing {
        entry.record.flags |= http_flags::CONNECT;
    }
}

/// Notes the content type of a request whose headers were looked through. Overwrites the scratch memory.
#[inline(never)]
pub fn note_content_type(entry: &mut InFlight) {
    entry.record.content_type = ContentType::Other as u16;
    let values = entry.headers[HeaderName::ContentType as usize];
    if values.length == 0 || !read_string(entry, values.pointer) {
        return;
    }
    let (pointer, mut length) = (entry.scratch[0], entry.scratch[1] as usize);
    if length < SHORTEST {
        return;
    }
    if length > LONGEST {
        length = LONGEST;
    }
    entry.scratch[2] = 0;
    // SAFETY: the scratch memory has more than `LONGEST` bytes.
    if unsafe { !read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), length, pointer) } {
        return count(entry.counters, Counter::ReadFault);
    }
    entry.record.content_type = told_by(entry.scratch[0], entry.scratch[1], entry.scratch[2]) as u16;
}

/// What the first 24 bytes of a type tell, in words.
#[inline(always)]
fn told_by(first: u64, second: u64, third: u64) -> ContentType {
    let next = third as u8;
    if first != chars(*b"applicat") {
        ContentType::Other
    } else if second == chars(*b"ion/grpc") && is_end(next) {
        ContentType::Grpc
    } else if second == chars(*b"ion/grpc") && third as u32 == WEB && is_end((third >> 32) as u8) {
        ContentType::GrpcWeb
    } else if second == chars(*b"ion/conn") && third as u32 == STREAM {
        ContentType::ConnectStream
    } else if second == chars(*b"ion/prot") && next == b'o' && matches!((third >> 8) as u8, 0 | b';' | b' ') {
        ContentType::Proto
    } else {
        ContentType::Other
    }
}

const WEB: u32 = u32::from_le_bytes(*b"-web");
const STREAM: u32 = u32::from_le_bytes(*b"ect+");

/// Whether what stands before is the whole of a type's name, but for its encoding and parameters.
#[inline(always)]
fn is_end(next: u8) -> bool {
    matches!(next, 0 | b'+' | b';' | b' ')
}

const fn chars(text: [u8; 8]) -> u64 {
    u64::from_le_bytes(text)
}
