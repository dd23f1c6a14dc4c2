//! One finished operation as the kernel saw it: the record of the ring buffer, decoded.
//!
//! What comes after the ring works on this alone, so it needs neither privileges nor BPF.

/// A trace id, in the byte order of `traceparent`.
pub type TraceId = [u8; 16];
/// A span id, in the byte order of `traceparent`.
pub type SpanId = [u8; 8];

/// A finished operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
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
    pub trace_state: Option<String>,
    /// What kind of operation it was.
    pub operation: Operation,
}

/// A parent and the evidence for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's id.
    pub span_id: SpanId,
    /// How it was found.
    pub rule: ParentRule,
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

/// The operations, one for each in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A request that `net/http` served.
    HttpServer(HttpServer),
}

/// A request that `net/http` served. Texts are as the client sent them, cut at the limits of `lightfoot-probes-abi`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpServer {
    /// The method of the request line, whatever it is.
    pub method: String,
    /// The target of the request line: path and query, `*`, an authority or a whole URL.
    pub target: String,
    /// The `Host` header, or the authority of the target.
    pub host: String,
    /// The pattern that the router matched, as registered, with method and host if it has them.
    pub pattern: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Address and port of the connection's other end, or the path of a unix socket.
    pub peer: String,
    /// The protocol's version, such as (1, 1).
    pub protocol: (u8, u8),
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
    /// The texts that were cut at their limit, by the names of the fields above.
    pub cut: Vec<&'static str>,
}
