//! The bounds within which BPF works. What exceeds one is cut or left out, flagged and counted.

/// Bytes of `METHOD target` of an HTTP request line that are kept. A client's target has its query only if asked for.
pub const REQUEST_LINE: usize = 1024;
/// Bytes of an HTTP/2 request's method that are kept; after a longer one the target is left out. (In HTTP/1 it may take
/// up the whole of the above.)
pub const METHOD: usize = 256;
/// Bytes of the `Host` that are kept; a DNS name has at most 253.
pub const HOST: usize = 256;
/// Bytes of the `User-Agent` that are kept.
pub const USER_AGENT: usize = 256;
/// Bytes of a `tracestate`. A longer one is dropped, for half an entry would be false; W3C Trace Context asks for at
/// least 512 (section 3.3.1.5).
pub const TRACESTATE: usize = 512;
/// Values of the header `tracestate` that are joined. With more it is dropped.
pub const TRACESTATE_VALUES: usize = 4;
/// Bytes of a route pattern that are kept.
pub const ROUTE: usize = 256;
/// Bytes of a URL's scheme that are kept.
pub const SCHEME: usize = 16;
/// Bytes of an error's text that are kept.
pub const ERROR: usize = 128;
/// Bytes of a gRPC method's full name that are kept.
pub const GRPC_METHOD: usize = 256;
/// Bytes of the target of a gRPC client that are kept.
pub const GRPC_TARGET: usize = 256;
/// Bytes of the name of a unix socket that are kept: as many as the kernel takes (`sun_path`).
pub const GRPC_PEER: usize = 108;
/// Contexts in which the metadata of an incoming gRPC call is looked for. grpc-go puts it into the outermost or the second,
/// and each `stats.Handler` or tap may add some.
pub const GRPC_METADATA: usize = 16;
/// Streams of gRPC clients, one within the other, among which grpc-go's own is looked for.
pub const GRPC_WRAPPERS: usize = 5;
/// Errors of a gRPC call, one around the other, among which one with a status is looked for.
pub const GRPC_ERRORS: usize = 5;
/// Pieces of a route that nested routers have matched one after the other; later ones are left out.
pub const ROUTE_PARTS: usize = 8;
/// Routers whose sites one binary can have.
pub const ROUTERS: usize = 4;
/// Bytes of a peer's address that are kept; `[IPv6%zone]:port` needs about 64.
pub const PEER: usize = 64;

/// Bytes that the strings of one record can take together: those of a server, which are longer than those of a client.
pub const STRINGS: usize = REQUEST_LINE + HOST + USER_AGENT + TRACESTATE + ROUTE + PEER;
const _: () = assert!(PEER + REQUEST_LINE + HOST + SCHEME + ERROR <= STRINGS);
const _: () = assert!(
    GRPC_METHOD
        + GRPC_TARGET
        + TRACESTATE
        + size_of::<crate::record::Connection>()
        + GRPC_PEER
        + ERROR
        + size_of::<crate::grpc::Messages>()
        <= STRINGS
);

/// How many spans of one goroutine can be open at once, one within the other.
pub const LEVELS: usize = 8;
/// How many contexts of a chain are followed.
pub const CONTEXTS: usize = 64;
/// How many redirects are counted; net/http's own limit is 10.
pub const REDIRECTS: usize = 20;

/// How often groups (Go 1.24 and later) or buckets (before) of 8 headers are read, two at a time where they lie side by
/// side. That is enough for 224 headers in the maps of Go 1.24 and later, and for 104 in those before, which have a second
/// array of buckets while they grow.
pub const HEADER_READS: usize = 17;
/// How many pieces of a header map are followed; each overflow bucket of a classic map is one.
pub const HEADER_RUNS: usize = 10;
/// How many headers may have names as long as those that are looked for; names of further ones are not read.
pub const HEADER_CANDIDATES: usize = 40;

/// How many headers of a gRPC client's call are searched, with `--propagate`. To more none is added.
pub const GRPC_LIST: usize = 64;
/// The same as [`HEADER_READS`] for what a client sends, with `--propagate`: enough for 84 headers, or some 40 in the maps of Go before
/// 1.24, which may overflow. Of more none is added.
pub const SENT_HEADER_READS: usize = 9;
/// The same as [`HEADER_CANDIDATES`].
pub const SENT_HEADER_CANDIDATES: usize = 24;

/// Headers of served requests whose values a process may be asked for: those that rules list, and two that tell of proxies.
pub const WANTED_NAMES: usize = 8;
/// Bytes of the name of such a header; less than 64.
pub const HEADER_NAME: usize = 63;
/// Values of one such header that are kept.
pub const HEADER_VALUES: usize = 4;
/// Bytes of each that are kept.
pub const HEADER_VALUE: usize = 256;

/// Bytes of the header of a map, or of a table of a swiss map, that one read fetches at most.
pub const MAP_HEADER: usize = 64;
/// Bytes of an HTTP/2 server's `responseWriterState` that one read fetches at most.
pub const HTTP2_STATE: usize = 64;
/// Bytes of a `runtime.g`, `http.response`, `url.URL` or `http.Response` that one read fetches at most: the fields' offsets
/// plus their size must not exceed it.
pub const SMALL_STRUCT: usize = 256;
/// Bytes of an `http.Request` or of two groups that one read fetches at most.
pub const LARGE_STRUCT: usize = 1024;

// The larger structs are read to where the strings of the record will stand, behind the peer's address.
const _: () = assert!(PEER + LARGE_STRUCT <= STRINGS);
