//! What the programs send through the ring buffer.
//!
//! A record is a fixed part, told by [`RecordHeader::kind`] and starting with a [`RecordHeader`], and behind it its strings
//! back to back. Strings are bytes as the program had them: not necessarily UTF-8, and cut anywhere.

use crate::limits;

/// Grows with every change to a record.
pub const VERSION: u8 = 1;

/// What a record is about, and so which struct it starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A served HTTP/1 request: [`HttpServer`].
    HttpServer = 1,
}

/// How every record starts.
///
/// Ids are bytes in the order in which they are written; as integers they mean nothing, use `to_ne_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecordHeader {
    /// Bytes of the whole record.
    pub length: u32,
    /// A [`RecordKind`].
    pub kind: u8,
    /// [`VERSION`].
    pub version: u8,
    /// A bit for each [`Text`] that was cut at its limit, or dropped for being over it.
    pub cut: u8,
    /// A bit for each [`Text`] that could not be read, and [`MISSING_FIELDS`].
    pub missing: u8,
    /// The process.
    pub tgid: u32,
    /// The id of its binary.
    pub binary: u32,
    /// The goroutine's id.
    pub goid: u64,
    /// Nanoseconds of `CLOCK_BOOTTIME` at the start.
    pub start: u64,
    /// Nanoseconds of `CLOCK_BOOTTIME` at the end.
    pub end: u64,
    /// The trace id.
    pub trace_id: [u64; 2],
    /// The span id.
    pub span_id: u64,
    /// The parent's span id, or 0.
    pub parent_span_id: u64,
    /// W3C trace flags of the span: bit 0 sampled, bit 1 random trace id.
    pub trace_flags: u8,
    /// A [`ParentRule`].
    pub parent_rule: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<RecordHeader>() == 80);

/// In [`RecordHeader::missing`]: the fixed part's own fields (status, size) could not be read.
pub const MISSING_FIELDS: u8 = 1 << 7;

/// Which evidence gave a span its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ParentRule {
    /// None: the span starts a trace.
    Root = 0,
    /// The incoming `traceparent`.
    Remote = 1,
}

/// A served HTTP/1 request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HttpServer {
    /// What all records have.
    pub header: RecordHeader,
    /// Bytes of the response's body that the handler has written, before any transfer coding.
    pub written: i64,
    /// The status that was set; 0 for none, which net/http makes a 200 unless the handler panicked or hijacked.
    pub status: u16,
    /// Bits of [`http_flags`].
    pub flags: u16,
    /// Where the method ends in [`Text::RequestLine`]; after it come one space and the target.
    pub method_length: u16,
    /// The minor version of HTTP/1.
    pub protocol_minor: u16,
    /// The length of each string in bytes, by [`Text`].
    pub lengths: [u16; Text::COUNT],
    /// Zero.
    pub reserved: [u16; 2],
}

const _: () = assert!(size_of::<HttpServer>() == 112);

/// Bits of [`HttpServer::flags`].
pub mod http_flags {
    /// `wroteHeader`: a final status was sent, or at least handed to the connection.
    pub const WROTE_HEADER: u16 = 1 << 0;
    /// The connection is encrypted.
    pub const TLS: u16 = 1 << 1;
    /// The handler panicked or called `runtime.Goexit`; net/http closed the connection.
    pub const PANICKED: u16 = 1 << 2;
    /// The handler took over the connection.
    pub const HIJACKED: u16 = 1 << 3;
}

/// The strings of an [`HttpServer`] record, in the order in which they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Text {
    /// `Request.Host` as the handler got it.
    Host = 0,
    /// The first `User-Agent`.
    UserAgent = 1,
    /// `tracestate`, its values joined by commas; only beside a valid `traceparent`.
    Tracestate = 2,
    /// The pattern that `ServeMux` matched, with method and host if it has them.
    Route = 3,
    /// The request line without the protocol: method, a space, target.
    RequestLine = 4,
    /// The peer's address and port.
    Peer = 5,
}

impl Text {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All, in their order in the record.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Host, Self::UserAgent, Self::Tracestate, Self::Route, Self::RequestLine, Self::Peer];

    /// The most bytes that are kept.
    pub const fn limit(self) -> usize {
        match self {
            Self::Host => limits::HOST,
            Self::UserAgent => limits::USER_AGENT,
            Self::Tracestate => limits::TRACESTATE,
            Self::Route => limits::ROUTE,
            Self::RequestLine => limits::REQUEST_LINE,
            Self::Peer => limits::PEER,
        }
    }
}
