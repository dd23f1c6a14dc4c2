//! Requests of clients that wait to be written, for the programs that write.
//!
//! A client hands a request to the goroutine that writes to the connection, so the span's goroutine is not the one that writes. What
//! tells the request there is what all copies that `net/http.Transport` makes of it share: its header map and its URL.

use crate::trace_state::BUFFER;

/// Tells a request of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PendingKey {
    /// [`crate::Process::instance`].
    pub instance: u32,
    /// Zero.
    pub reserved: u32,
    /// The address of the header map. gRPC: of the list of headers.
    pub header: u64,
    /// The address of the URL. gRPC: 0.
    pub url: u64,
}

const _: () = assert!(size_of::<PendingKey>() == 24);

/// The bytes of the header that is added: `traceparent: 00-…-…-01`, and the end of the line.
pub const HEADER: usize = 70;
/// The same in words.
pub const HEADER_WORDS: usize = HEADER.div_ceil(8);

/// The bytes of the same field as HPACK has it, a literal without indexing: its kind, the length of the name, the name, the length of
/// the value, the value.
pub const FIELD: usize = 1 + 1 + 11 + 1 + 55;
/// The same in words.
pub const FIELD_WORDS: usize = FIELD.div_ceil(8);
/// What it adds to the size of a list of headers (RFC 9113, section 6.5.2).
pub const FIELD_LIST_SIZE: u64 = 11 + 55 + 32;
/// What an entry of HPACK's static table adds to that at most (RFC 7541, appendix A).
pub const STATIC_ENTRY: u64 = 64;
/// What a frame begins with, in bytes (RFC 9113, section 4.1).
pub const FRAME_HEADER: u64 = 9;
/// The longest frame that each peer takes (RFC 9113, section 4.2).
pub const MAX_FRAME: u64 = 16384;

/// The longest encoded headers that are moved to where there is room, in bytes.
pub const BLOCK: usize = 512;

/// What is to be added to a request: an element of `PENDING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Pending {
    /// The id of the request's span, as in [`crate::RecordHeader`].
    pub span_id: u64,
    /// The key of its element of `IN_FLIGHT`.
    pub goid: u64,
    /// As above.
    pub tgid: u32,
    /// As above.
    pub level: u32,
    /// A [`PendingState`].
    pub state: u64,
    /// As in the key: elements are used anew while programs look at them.
    pub header: u64,
    /// As above.
    pub url: u64,
    /// As above.
    pub instance: u64,
    /// How many headers the map had when it was searched. gRPC: the stream that the call has become, or 0.
    pub headers: u64,
    /// The header as HTTP/1 has it, of [`HEADER`] bytes.
    pub text: [u64; HEADER_WORDS],
    /// The same as HPACK has it, of [`FIELD`] bytes.
    pub field: [u64; FIELD_WORDS],
    /// Where it is read back to.
    pub back: [u64; HEADER_WORDS],
    /// HTTP/2: the encoded headers, while they are moved. Then the value of `tracestate`.
    pub block: [u64; BUFFER / 8],
    /// The id of the span whose request's `tracestate` is passed on, the parent's; 0 if the program sends one of its own.
    pub parent_span_id: u64,
    /// [`Self::span_id`] again: of an element that is just used anew the two differ, or have changed.
    pub span_id_again: u64,
}

const _: () =
    assert!(size_of::<Pending>() == (10 + 2 * HEADER_WORDS + FIELD_WORDS) * 8 + BUFFER && BLOCK <= BUFFER);

/// Tells a served request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct TraceStateKey {
    /// The id of its span.
    pub span_id: u64,
    /// [`crate::Process::instance`].
    pub instance: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TraceStateKey>() == 16);

/// What a served request came with, for those that are sent on its behalf: an element of `TRACE_STATES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TraceState {
    /// The values of `tracestate`, joined by commas, and zeros.
    pub text: [u64; BUFFER / 8],
    /// The bytes of it that are not zeros.
    pub length: u64,
    /// What [`sum`] comes to: elements are used anew while programs look at them.
    pub sum: u64,
}

const _: () = assert!(size_of::<TraceState>() == BUFFER + 16);

/// What tells an element of `TRACE_STATES` that is of one piece: the id of the span, the length, and the words of the text, one after
/// the other, go into it by this.
#[inline]
pub const fn sum(sum: u64, word: u64) -> u64 {
    sum.rotate_left(9) ^ word
}

/// What may be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum PendingState {
    /// It has no trace context.
    Free = 1,
    /// It has one.
    Own = 2,
    /// Another one that is open has the same key.
    Shared = 3,
    /// Not all of its headers could be searched.
    Unproven = 4,
    /// The server does not take a longer list of headers.
    NoRoom = 5,
}
