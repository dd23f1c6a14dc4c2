//! Spans that have started and not ended.

use crate::limits;
use crate::record::Http;

/// Tells an open span.
///
/// A goroutine's id is never given twice in a process (`runtime.newproc1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct InFlightKey {
    /// The process.
    pub tgid: u32,
    /// How many open spans the goroutine has around this one; less than [`limits::LEVELS`]. Or [`Self::STREAM`].
    pub level: u32,
    /// The goroutine's id; the address of the stream.
    pub goid: u64,
}

impl InFlightKey {
    /// The level of an open stream of a gRPC client, which belongs to no goroutine.
    pub const STREAM: u32 = u32::MAX;
}

const _: () = assert!(size_of::<InFlightKey>() == 16);

/// An open span: what its end needs, and its record in the making.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct InFlight {
    /// How deep in the goroutine's stack the span's function started, in bytes: `g.stack.hi` less the stack pointer at its
    /// entry. The same in every copy of the stack.
    pub depth: u64,
    /// HTTP/1 server: the address of the `http.response`. HTTP/2 server: of the `responseWriter`. gRPC server: of the stream.
    /// HTTP client: what may be added to the request, a [`crate::PendingState`], or 0.
    /// gRPC client: of the stream that is open; of a unary call what stood before it where its stream is looked for afterwards.
    pub response: u64,
    /// Client: the address that the call returns to; 0 where it does not lie on the stack (arm64).
    pub caller: u64,
    /// The address of the original `http.Request`, or 0 if net/http has not made it yet.
    pub request: u64,
    /// HTTP/1: `METHOD target`; `http.conn.lastMethod` keeps it in memory until the connection reads the next request.
    /// HTTP/2: the method alone, good at the start only.
    pub request_line: Slice,
    /// The target, good at the start only. gRPC client: the stack pointer at the start, then. HTTP client: the header map
    /// and the URL of its request.
    pub target: Slice,
    /// `Request.RemoteAddr` as it came. HTTP/1: `http.conn.remoteAddr`, which the connection keeps in memory.
    pub peer: Slice,
    /// How many bytes of it stand at the start of `strings`, if all do. They are good for all requests of a connection.
    pub peer_length: u64,
    /// What the context of the connection's last request held, an interface, and that one's ancestors as in
    /// [`crate::SpanContext`]; zero if not known. That context lives as long as the connection and never changes.
    pub line: [u64; 6],
    /// `Request.Host`, which may be dropped during the request and so is good at its start only.
    pub host: Slice,
    /// The values of the headers that are looked for, by [`HeaderName`]. Good at the start only.
    pub headers: [Slice; HeaderName::COUNT],
    /// The route that optional sites have told, in pieces. Routers keep these strings as long as they live.
    pub route: [Slice; limits::ROUTE_PARTS],
    /// How many pieces.
    pub route_parts: u64,
    /// The context that the request came with, an interface's two words: the addresses of its itab, 0 unless the span owns it,
    /// and of its data.
    pub context: [u64; 2],
    /// Server: goroutines created since the start of the span have ids from the first to before the second of these, or
    /// not below the third: the rest of the processor's `p.goidcache`, and what follows `sched.goidgen`, as they were. All
    /// zero if not known.
    pub young_goids: [u64; 3],
    /// See [`state`].
    pub state: u32,
    /// As in its key.
    pub level: u32,
    /// [`crate::Process::instance`].
    pub instance: u32,
    /// The index of the process's counters.
    pub counters: u32,
    /// How many bytes of `strings` are in use.
    pub strings_length: u64,
    /// Where small structs are read to.
    pub scratch: [u64; limits::SMALL_STRUCT / 8],
    /// The record, of which `strings` is the end. That of a gRPC call is a [`crate::Grpc`] in the same place.
    pub record: Http,
    /// The record's strings back to back; before they are there, larger structs are read behind the first [`limits::PEER`] bytes.
    pub strings: [u64; limits::STRINGS / 8],
}

const _: () = assert!(size_of::<Http>() == size_of::<crate::Grpc>());
const _: () = assert!(
    size_of::<InFlight>()
        == 4 * 8
            + (8 + limits::ROUTE_PARTS) * 16
            + 7 * 8
            + 8
            + 16
            + 24
            + 16
            + 8
            + 256
            + size_of::<Http>()
            + limits::STRINGS
);

/// Bits of [`InFlight::state`].
pub mod state {
    /// The sampler decided against the span.
    pub const UNSAMPLED: u32 = 1 << 0;
    /// The server is that of `golang.org/x/net/http2`.
    pub const X_NET: u32 = 1 << 1;
    /// An HTTP/2 server's own start has opened the span, not `serverHandler`'s.
    pub const OWN_START: u32 = 1 << 2;
    /// A router has told the route.
    pub const ROUTED: u32 = 1 << 3;
    /// The goroutine's outermost span: another was opened within it. Without it there is none to be forgotten.
    pub const NESTED: u32 = 1 << 4;
    /// A gRPC stream's status was sent before its handler returned.
    pub const STATUS_SENT: u32 = 1 << 5;
    /// The end that was seen last is that of a call around this one.
    pub const ENDED_BY_OUTER: u32 = 1 << 6;
    /// The entry outlives the span: it is of the goroutine of an HTTP/1 connection, and in `KEPT`.
    pub const KEPT: u32 = 1 << 7;
    /// Such an entry, while no span is open.
    pub const IDLE: u32 = 1 << 8;
    /// The goroutine's outermost span is in such an entry, so this one may become another.
    pub const WITHIN_KEPT: u32 = 1 << 9;
    /// The goroutine's outermost span: entries within it are kept, too.
    pub const KEEPS_WITHIN: u32 = 1 << 10;
    /// The messages of the gRPC stream are counted.
    pub const MESSAGES: u32 = 1 << 11;
    /// What the request came with is in `TRACE_STATES`, or was.
    pub const TRACE_STATE: u32 = 1 << 12;
    /// Client: its last connection could not be read.
    pub const UNCONNECTED: u32 = 1 << 13;
    /// gRPC client: it was read.
    pub const CONNECTED: u32 = 1 << 14;
}

/// A Go string, or a slice without its capacity.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Slice {
    /// The address of the first element.
    pub pointer: u64,
    /// How many elements.
    pub length: u64,
}

/// The headers that are looked for, in Go's canonical spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderName {
    /// `Traceparent`.
    Traceparent = 0,
    /// `Tracestate`.
    Tracestate = 1,
    /// `User-Agent`.
    UserAgent = 2,
    /// `Content-Type`, if [`crate::layout::Map::rpc`] asks for it.
    ContentType = 3,
}

impl HeaderName {
    /// How many there are.
    pub const COUNT: usize = 4;
}
