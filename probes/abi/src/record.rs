//! What the programs send through the ring buffer.
//!
//! A record is a fixed part, told by [`RecordHeader::kind`] and starting with a [`RecordHeader`], and behind it its strings
//! back to back. Strings are bytes as the program had them: not necessarily UTF-8, and cut anywhere.

use crate::limits;

/// Grows with every change to a record. `make bless` makes the recordings of the tests anew then.
pub const VERSION: u8 = 7;

/// What a record is about, and so which struct it starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A served HTTP request: [`Http`].
    HttpServer = 1,
    /// A request sent by an HTTP client: [`Http`].
    HttpClient = 2,
    /// A served gRPC call: [`crate::Grpc`].
    GrpcServer = 3,
    /// A gRPC call made by a client: [`crate::Grpc`].
    GrpcClient = 4,
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
    /// W3C trace flags of the span: bit 0 sampled, bit 1 random trace id.
    pub trace_flags: u8,
    /// A [`ParentRule`].
    pub parent_rule: u8,
    /// A bit for each [`Text`] that was cut at its limit, or dropped for being over it, and [`CUT_HEADERS`].
    pub cut: u16,
    /// A bit for each [`Text`] that could not be read, and [`MISSING_FIELDS`].
    pub missing: u16,
    /// The process.
    pub tgid: u32,
    /// The id of its binary.
    pub binary: u32,
    /// Which piece this is of a span that was open for long ([`crate::segment`]); 0 for a whole span, as the programs have it. The agent
    /// says the rest.
    pub segment: u32,
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
}

const _: () = assert!(size_of::<RecordHeader>() == 80);

/// In [`RecordHeader::missing`]: the fixed part's own fields (status, size) could not be read.
pub const MISSING_FIELDS: u16 = 1 << 15;

/// In [`RecordHeader::cut`] of a server: values of wanted headers were left out, for there was no room for more.
pub const CUT_HEADERS: u16 = 1 << 8;

/// In [`Http::grpc_status`]: grpc-go serves the request, and has written no status yet.
pub const GRPC_WITHOUT_STATUS: u16 = u16::MAX;

/// In [`Http::error_type_or_stream`]: there was an error, and its type could not be read.
pub const UNKNOWN_ERROR: u64 = u64::MAX;

/// Which evidence gave a span its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ParentRule {
    /// None: the span starts a trace.
    Root = 0,
    /// The incoming `traceparent`.
    Remote = 1,
    /// The chain of the call's `context.Context` leads to one that the parent owns.
    Context = 2,
    /// The innermost open span of the same goroutine.
    Goroutine = 3,
    /// The open span of the goroutine that created this one, provably while that span was open.
    ParentGoroutine = 4,
}

/// A request that was served, or sent by a client; [`RecordHeader::kind`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Http {
    /// What all records have.
    pub header: RecordHeader,
    /// Server: bytes of the response's body that the handler has written, before any transfer coding. Client: the response's
    /// `ContentLength`, -1 if unknown.
    pub size: i64,
    /// Client: the descriptor of the error's type, as a virtual address, or [`UNKNOWN_ERROR`]; 0 without an error. Server: the id of the
    /// HTTP/2 stream, if the process is joined with others; else 0.
    pub error_type_or_stream: u64,
    /// The status that was set; 0 for none, which net/http makes a 200 unless the handler panicked or hijacked.
    pub status: u16,
    /// Bits of [`http_flags`].
    pub flags: u16,
    /// Where the method ends in [`Text::RequestLine`]; after it come one space and the target.
    pub method_length: u16,
    /// The major version of HTTP.
    pub protocol_major: u8,
    /// The minor version of HTTP.
    pub protocol_minor: u8,
    /// Client: how many redirects led to this request.
    pub resend_count: u16,
    /// Client: bytes of the target's path; a `?` and the query follow if asked for.
    pub path_length: u16,
    /// Server: one more than the gRPC code, if grpc-go has answered the request; [`GRPC_WITHOUT_STATUS`]; else 0.
    pub grpc_status: u16,
    /// A [`ContentType`].
    pub content_type: u16,
    /// The length of each string in bytes, by [`Text`].
    pub lengths: [u16; Text::COUNT],
}

const _: () = assert!(size_of::<Http>() == 128);

/// Bits of [`Http::flags`].
pub mod http_flags {
    /// `wroteHeader`: a final status was sent, or at least handed to the connection.
    pub const WROTE_HEADER: u16 = 1 << 0;
    /// The connection is encrypted.
    pub const TLS: u16 = 1 << 1;
    /// The handler panicked or called `runtime.Goexit`; net/http closed the connection.
    pub const PANICKED: u16 = 1 << 2;
    /// The handler took over the connection.
    pub const HIJACKED: u16 = 1 << 3;
    /// Client: the path is as the program sees it, decoded; it is not what was sent.
    pub const DECODED_PATH: u16 = 1 << 4;
    /// Client: the URL has user info, which is not copied.
    pub const USER_INFO: u16 = 1 << 5;
    /// Client: the target is the URL's opaque part.
    pub const OPAQUE: u16 = 1 << 6;
    /// Client: the end is that of a call around this one, for the caller was not known yet.
    pub const ENDED_BY_OUTER: u16 = 1 << 7;
    /// Server: [`super::Text::Route`] is what nested routers have matched one after the other.
    pub const ROUTE_IN_PIECES: u16 = 1 << 8;
    /// Server: the request has the header `Connect-Protocol-Version`. Client:
    /// connect made it ([`crate::layout::Connect`]).
    pub const CONNECT: u16 = 1 << 9;
    /// Server: values of wanted headers stand between [`super::Text::UserAgent`] and [`super::Text::RequestLine`]: see
    /// [`super::header_flags`].
    pub const HEADERS: u16 = 1 << 10;
    /// Server: these tell whom a proxy has forwarded the request for.
    pub const FORWARDED: u16 = 1 << 11;
}

/// The values of wanted headers begin with the number of all their bytes, two of them, these included. Then of each value two bytes of
/// its length, one of flags, and one of the length of its name, which is 0 for a further value of the header before; the name, and the
/// value. The lower byte of a number comes first.
pub mod header_flags {
    /// The value is to be shown.
    pub const SHOWN: u8 = 1 << 0;
    /// The value was longer, or the header has further ones that are left out.
    pub const CUT: u8 = 1 << 1;
}

/// The connection that a client's request or call went over, and since when. All zero if it was not found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// Nanoseconds of `CLOCK_BOOTTIME` when it was known.
    pub since: u64,
    /// The IP addresses of this end and of the other one, as many bytes as `lengths` says.
    pub addresses: [[u8; 16]; 2],
    /// Their ports.
    pub ports: [u16; 2],
    /// Bytes of their addresses: 4 or 16.
    pub lengths: [u16; 2],
    /// The id of the stream of HTTP/2; 0 over HTTP/1.
    pub stream: u64,
}

/// Words of a [`Connection`].
pub const CONNECTION_WORDS: usize = size_of::<Connection>() / 8;

const _: () = assert!(size_of::<Connection>() == 56 && size_of::<Connection>() <= limits::PEER);

/// What the request's `Content-Type` tells of the protocol of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ContentType {
    /// It was not looked for.
    Unknown = 0,
    /// There is none, or another one.
    Other = 1,
    /// `application/proto`.
    Proto = 2,
    /// `application/connect+…`.
    ConnectStream = 3,
    /// `application/grpc`, `application/grpc+…`.
    Grpc = 4,
    /// `application/grpc-web`, `application/grpc-web+…`.
    GrpcWeb = 5,
}

/// The strings of an [`Http`] record, in the order in which they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Text {
    /// Server: the peer's address and port. Client: a [`Connection`], if the programs look for these.
    Peer = 0,
    /// Server: `Request.Host` as the handler got it. Client: `URL.Host`.
    Host = 1,
    /// `tracestate`, its values joined by commas; only beside a valid `traceparent`.
    Tracestate = 2,
    /// The first `User-Agent`.
    UserAgent = 3,
    /// The method, a space and the target.
    RequestLine = 4,
    /// Client: the scheme, unless it is `http` or `https`.
    Scheme = 5,
    /// Client: what an error made by `errors.New` says.
    Error = 6,
    /// The pattern that a router matched, with method and host if it has them.
    Route = 7,
}

impl Text {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All, in their order in the record.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Peer,
        Self::Host,
        Self::Tracestate,
        Self::UserAgent,
        Self::RequestLine,
        Self::Scheme,
        Self::Error,
        Self::Route,
    ];

    /// The most bytes that are kept.
    pub const fn limit(self) -> usize {
        match self {
            Self::Host => limits::HOST,
            Self::UserAgent => limits::USER_AGENT,
            Self::Tracestate => limits::TRACESTATE,
            Self::RequestLine => limits::REQUEST_LINE,
            Self::Peer => limits::PEER,
            Self::Scheme => limits::SCHEME,
            Self::Error => limits::ERROR,
            Self::Route => limits::ROUTE,
        }
    }
}
