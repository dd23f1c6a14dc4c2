//! One finished operation as the kernel saw it: the record of the ring buffer, decoded.
//!
//! What comes after the ring works on this alone, so it needs neither privileges nor BPF. Texts are where the record is, or
//! in the arena of whoever decoded it.

use std::net::SocketAddr;

mod connect;
mod grpc;

pub use connect::Protocol;
pub use grpc::{GrpcClient, GrpcServer};

/// A trace id, in the byte order of `traceparent`.
pub type TraceId = [u8; 16];
/// A span id, in the byte order of `traceparent`.
pub type SpanId = [u8; 8];

/// A finished operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The process, by its number in the agent's PID namespace.
    pub pid: u32,
    /// Start, in nanoseconds of `CLOCK_BOOTTIME`.
    pub start: u64,
    /// End, in nanoseconds of `CLOCK_BOOTTIME`.
    pub end: u64,
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// Its parent.
    pub parent: Option<Parent>,
    /// The trace flags of `traceparent`: bit 0 is "sampled".
    pub flags: u8,
    /// The caller's `tracestate`, unless it was longer than the limit.
    pub trace_state: Option<&'a str>,
    /// Which piece it is of an operation that was open for long; `None` for a whole one.
    pub segment: Option<Segment>,
    /// What kind of operation it was.
    pub operation: Operation<'a>,
}

/// A parent and the evidence for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's id.
    pub span_id: SpanId,
    /// How it was found.
    pub rule: ParentRule,
}

/// A piece of an operation that was open for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number, from 1.
    pub number: u32,
    /// Whether the operation was still open at its end.
    pub is_open: bool,
    /// The id of the one before.
    pub before: Option<SpanId>,
}

/// The evidence for a parent, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParentRule {
    /// The trace context that came with the request: the parent is in another process.
    Incoming,
    /// The call's `context.Context` descends from the parent's.
    Context,
    /// The parent was the innermost open span of the same goroutine.
    Goroutine,
    /// The goroutine was started by the parent's while that was open.
    ParentGoroutine,
}

impl ParentRule {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Incoming, Self::Context, Self::Goroutine, Self::ParentGoroutine];

    /// The name that `lightfoot.parent.rule` has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Context => "context",
            Self::Goroutine => "goroutine",
            Self::ParentGoroutine => "parent_goroutine",
        }
    }
}

/// The operations, one for each in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A request that `net/http` served.
    HttpServer(HttpServer<'a>),
    /// A request that an HTTP client of `net/http` sent.
    HttpClient(HttpClient<'a>),
    /// A gRPC call that was served.
    GrpcServer(GrpcServer<'a>),
    /// A gRPC call that a client made.
    GrpcClient(GrpcClient<'a>),
}

/// A request that `net/http` served. Texts are as the client sent them, cut at the limits of `lightfoot-probes-abi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct HttpServer<'a> {
    /// The method of the request line, whatever it is.
    pub method: &'a str,
    /// The target of the request line: path and query, `*`, an authority or a whole URL.
    pub target: &'a str,
    /// The `Host` header, or the authority of the target.
    pub host: &'a str,
    /// The pattern that the router matched, as registered, with method and host if it has them.
    pub pattern: &'a str,
    /// The `User-Agent` header.
    pub user_agent: &'a str,
    /// Address and port of the connection's other end, or the path of a unix socket.
    pub peer: &'a str,
    /// The protocol's version, such as (1, 1).
    pub protocol: (u8, u8),
    /// The id of the HTTP/2 stream, if it was looked for and found; else 0.
    pub stream: u32,
    /// The status sent; `None` where none was, as after a panic before the header or in a hijacked connection.
    pub status: Option<u16>,
    /// Bytes of the response's body.
    pub response_size: u64,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// Whether the handler panicked (http.ErrAbortHandler too).
    pub has_panicked: bool,
    /// Whether the handler took over the connection.
    pub was_hijacked: bool,
    /// The protocol of a call of connect, if it is one.
    pub rpc: Option<Protocol>,
    /// The headers that rules ask for, by name.
    pub headers: &'a [RequestHeader<'a>],
    /// Whether what proxies have written is believed.
    pub is_forwarded: bool,
    /// The texts that were cut at their limit, by the names of the fields above.
    pub cut: &'a [&'static str],
}

/// A header of a request that was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Its name in lower case.
    pub name: &'a str,
    /// Its values, in their order.
    pub values: &'a [&'a str],
    /// Whether these are to be shown; else they are only to be understood.
    pub is_shown: bool,
    /// Whether the last one was longer, or further ones are left out.
    pub is_cut: bool,
}

/// A request that an HTTP client of `net/http` sent. Texts are as the program had them, cut at the limits of
/// `lightfoot-probes-abi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpClient<'a> {
    /// `Request.Method`; empty stands for GET.
    pub method: &'a str,
    /// `URL.Scheme`.
    pub scheme: &'a str,
    /// `URL.Host`: host and, if the program gave one, port.
    pub host: &'a str,
    /// The path of the URL.
    pub path: &'a str,
    /// Which of the URL's fields `path` is.
    pub path_form: PathForm,
    /// `URL.RawQuery`; `None` unless queries are asked for.
    pub query: Option<&'a str>,
    /// Whether the URL has user info, which is never read.
    pub has_user_info: bool,
    /// The version of the response's protocol, such as (1, 1); (0, 0) without a response.
    pub protocol: (u8, u8),
    /// The status of the response.
    pub status: Option<u16>,
    /// Whether the response may have a body.
    pub has_body: bool,
    /// The connection that it went over, if that was looked for and found.
    pub connection: Option<Connection>,
    /// How many redirects led to this request.
    pub resend_count: u16,
    /// Why there is no response.
    pub error: Option<CallError<'a>>,
    /// Whether the end is that of a call around this one.
    pub ended_by_outer: bool,
    /// The protocol of a call of connect, if it is one.
    pub rpc: Option<Protocol>,
    /// The texts that were cut at their limit, by the names of the fields above.
    pub cut: &'a [&'static str],
}

/// A connection of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// When it was known, in nanoseconds of `CLOCK_BOOTTIME`: of an HTTP request before it was sent.
    pub since: u64,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// The id of the stream of HTTP/2; 0 over HTTP/1.
    pub stream: u32,
}

/// Which field of a `net/url.URL` a path comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathForm {
    /// `RawPath`, or a `Path` that needs no escaping.
    #[default]
    Encoded,
    /// `Path`: characters that a path cannot have are to be escaped.
    Decoded,
    /// `Opaque`.
    Opaque,
}

/// The error that a call returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallError<'a> {
    /// The virtual address of its type's descriptor in the executable.
    pub descriptor: u64,
    /// The type's name as `reflect` tells it, such as `*net.OpError`, once it was looked up.
    pub type_name: Option<&'a str>,
    /// What it says, if it was made by `errors.New`.
    pub text: &'a str,
}
