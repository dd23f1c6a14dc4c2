//! Where one binary keeps what the programs read, as found in its own type descriptors.
//!
//! Offsets are in bytes from the start of the named struct; [`NONE`] stands for a field that the binary does not have or
//! that could not be found, and what depends on it is left out. An offset that leads past the bytes fetched by one read
//! ([`crate::limits`]) counts as a failed read. All have 64 bits: of narrower ones LLVM masks copies after they were
//! compared with their limit, and the kernel's verifier does not see that the limit still holds.
//!
//! Addresses are virtual addresses of the executable, as its program headers have them; in a process they lie higher by
//! the bias at which it was loaded. [`NONE`] stands for one that is not known.

use crate::limits;

mod connection;
mod grpc;
mod propagation;
mod router;

pub use connection::{ClientConnection, Http2Connection};
pub use grpc::{Grpc, GrpcClient, GrpcInvoke, GrpcMetadata, GrpcStatus, GrpcStream, GrpcTransport};
pub use propagation::{GrpcPropagation, Http2Propagation, Propagation};
pub use router::Router;

/// No such field, or no such address.
pub const NONE: u64 = u64::MAX;

/// Where an itab has the address of the type descriptor of what the interface holds (`abi.ITab.Type`, internal/abi/iface.go;
/// `runtime.itab._type` up to Go 1.21). For a pointer that is the descriptor of the pointer type.
pub const ITAB_TYPE: u64 = 8;

/// The layout of everything that is read of one binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// `runtime.g`.
    pub g: G,
    /// `runtime.m`.
    pub m: M,
    /// `runtime.p`.
    pub p: P,
    /// The address of `runtime.sched.goidgen`, the last goroutine id that was handed to a processor's cache.
    pub goidgen: u64,
    /// The descriptors by which BPF tells what an interface holds.
    pub types: Types,
    /// `connectrpc.com/connect`.
    pub connect: Connect,
    /// `net/http.response`.
    pub response: Response,
    /// `net/http.conn`.
    pub connection: Connection,
    /// `net/http.Request`.
    pub request: Request,
    /// `net/http/internal/http2.ServerRequest`, from which net/http makes one since Go 1.27; its `Context` is here `ctx`.
    pub server_request: Request,
    /// `net/url.URL`.
    pub url: Url,
    /// `net/http.Response`, what a client gets.
    pub client_response: ClientResponse,
    /// The HTTP/2 server in the standard library.
    pub http2: Http2,
    /// That of `golang.org/x/net/http2`.
    pub x_http2: Http2,
    /// `map[string][]string`.
    pub header: Map,
    /// The routers that the agent knows, by [`crate::Cookie::router`].
    pub routers: [Router; limits::ROUTERS],
    /// `google.golang.org/grpc`.
    pub grpc: Grpc,
    /// What the programs that write need.
    pub propagation: Propagation,
    /// The connections of HTTP/1 clients.
    pub client_connection: ClientConnection,
    /// The same of an HTTP/2 client of `net/http`.
    pub http2_connection: Http2Connection,
    /// And of `golang.org/x/net/http2`.
    pub x_http2_connection: Http2Connection,
}

const _: () = assert!(size_of::<Layout>() == (114 + 2 + 2 + 36 + 34 + 6 + 9 + 10) * 8);

impl Layout {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        g: G { size: NONE, stack_hi: NONE, panic: NONE, goid: NONE, m: NONE, parent_goid: NONE },
        m: M { p: NONE },
        p: P { goidcache: NONE, goidcacheend: NONE },
        goidgen: NONE,
        types: Types { response: NONE, error_string: NONE },
        connect: Connect { of_message: NONE, of_nothing: NONE },
        response: Response { size: NONE, connection: NONE, wrote_header: NONE, status: NONE, written: NONE },
        connection: Connection { hijacked: NONE },
        request: Request::UNKNOWN,
        server_request: Request::UNKNOWN,
        url: Url {
            size: NONE,
            scheme: NONE,
            opaque: NONE,
            user: NONE,
            host: NONE,
            path: NONE,
            raw_path: NONE,
            raw_query: NONE,
            fragment: NONE,
            raw_fragment: NONE,
            force_query: NONE,
            omit_host: NONE,
        },
        client_response: ClientResponse {
            size: NONE,
            status_code: NONE,
            proto_major: NONE,
            proto_minor: NONE,
            content_length: NONE,
            request: NONE,
        },
        http2: Http2::UNKNOWN,
        x_http2: Http2::UNKNOWN,
        header: Map {
            kind: MapKind::Unknown as u64,
            size: NONE,
            groups: NONE,
            old_groups: NONE,
            length: NONE,
            table_size: NONE,
            table_groups: NONE,
            table_mask: NONE,
            group_size: NONE,
            keys: NONE,
            key_stride: NONE,
            values: NONE,
            value_stride: NONE,
            overflow: NONE,
            first_in_use: 0,
            last_in_use: 0,
            rpc: 0,
        },
        routers: [Router::UNKNOWN; limits::ROUTERS],
        grpc: Grpc::UNKNOWN,
        propagation: Propagation::UNKNOWN,
        client_connection: ClientConnection::UNKNOWN,
        http2_connection: Http2Connection::UNKNOWN,
        x_http2_connection: Http2Connection::UNKNOWN,
    };
}

/// `runtime.g`. All but `parent_goid` lie within [`crate::limits::SMALL_STRUCT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct G {
    /// How many bytes to read so that the fields up to `m` are among them; 160 to 168 in Go 1.21 to 1.27.
    pub size: u64,
    /// `stack.hi`: where the stack starts; it grows downwards.
    pub stack_hi: u64,
    /// `_panic`: not nil while a panic or `runtime.Goexit` unwinds the stack.
    pub panic: u64,
    /// `goid`.
    pub goid: u64,
    /// `m`, a pointer to the thread that runs the goroutine.
    pub m: u64,
    /// `parentGoid`: the goroutine whose `go` statement made this one. It is read alone: it lies at 272 to 280 in Go 1.21
    /// to 1.27, and only the last rule for parents asks for it.
    pub parent_goid: u64,
}

/// `runtime.m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct M {
    /// `p`, a pointer to the processor that the thread holds; not nil while Go code runs.
    pub p: u64,
}

/// `runtime.p`. Ids of new goroutines are taken from `goidcache` on, up to and without `goidcacheend`; at the end of the
/// cache the next 16 are taken from `sched.goidgen` (`runtime.newproc1`). The two lie side by side in Go 1.21 to 1.27.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct P {
    /// `goidcache`: the next id.
    pub goidcache: u64,
    /// `goidcacheend`.
    pub goidcacheend: u64,
}

/// Addresses of type descriptors, as an itab has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Types {
    /// `*net/http.response`, the `ResponseWriter` of HTTP/1.
    pub response: u64,
    /// `*errors.errorString`, what `errors.New` makes: a pointer to a struct that is one string.
    pub error_string: u64,
}

/// `connectrpc.com/connect`: the functions that `Request.GetBody` is in what its clients send. Known where they speak no other
/// protocol than Connect's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connect {
    /// That of requests with one message.
    pub of_message: u64,
    /// That of requests without a body.
    pub of_nothing: u64,
}

/// `net/http.response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Response {
    /// How many bytes to read so that all fields below are among them.
    pub size: u64,
    /// `conn`, a pointer.
    pub connection: u64,
    /// `wroteHeader`, one byte.
    pub wrote_header: u64,
    /// `status`.
    pub status: u64,
    /// `written`.
    pub written: u64,
}

/// `net/http.conn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// `hijackedv`, one byte.
    pub hijacked: u64,
}

/// `net/http.Request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// How many bytes to read so that all fields up to `ctx` are among them; 248 to 264 in Go 1.21 to 1.27.
    pub size: u64,
    /// `Method`.
    pub method: u64,
    /// `URL`, a pointer.
    pub url: u64,
    /// `ProtoMajor`.
    pub proto_major: u64,
    /// `ProtoMinor`.
    pub proto_minor: u64,
    /// `Header`.
    pub header: u64,
    /// `GetBody`, a pointer to a function value, whose first word is the function's address.
    pub get_body: u64,
    /// `Host`.
    pub host: u64,
    /// `RemoteAddr`.
    pub remote_addr: u64,
    /// `RequestURI`.
    pub request_uri: u64,
    /// `TLS`.
    pub tls: u64,
    /// `Response`, a pointer to the response that redirected a client here; see [`ClientResponse::request`].
    pub response: u64,
    /// `ctx`, an interface: itab and data. Both words are nil in a request whose client set none.
    pub ctx: u64,
    /// `Pattern` (Go 1.23 and later).
    pub pattern: u64,
    /// `pat`, a pointer to `http.pattern` (Go 1.22 and later; needed where there is no `Pattern`).
    pub pat: u64,
    /// `str` in `net/http.pattern`.
    pub pattern_str: u64,
}

impl Request {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        size: NONE,
        method: NONE,
        url: NONE,
        proto_major: NONE,
        proto_minor: NONE,
        header: NONE,
        get_body: NONE,
        host: NONE,
        remote_addr: NONE,
        request_uri: NONE,
        tls: NONE,
        response: NONE,
        ctx: NONE,
        pattern: NONE,
        pat: NONE,
        pattern_str: NONE,
    };
}

/// `net/url.URL`: what its method `String` works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Url {
    /// How many bytes to read so that all fields below are among them, at most [`crate::limits::SMALL_STRUCT`]; 138 to 144
    /// in Go 1.21 to 1.27, where the whole struct takes 144.
    pub size: u64,
    /// `Scheme`.
    pub scheme: u64,
    /// `Opaque`.
    pub opaque: u64,
    /// `User`, a pointer; nil without user information.
    pub user: u64,
    /// `Host`.
    pub host: u64,
    /// `Path`, without escapes.
    pub path: u64,
    /// `RawPath`: the path with its escapes, where the usual ones would not give it; may be empty or not match `Path`.
    pub raw_path: u64,
    /// `RawQuery`.
    pub raw_query: u64,
    /// `Fragment`.
    pub fragment: u64,
    /// `RawFragment`.
    pub raw_fragment: u64,
    /// `ForceQuery`, one byte.
    pub force_query: u64,
    /// `OmitHost`, one byte.
    pub omit_host: u64,
}

/// `net/http.Response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ClientResponse {
    /// How many bytes to read so that all fields below are among them, at most [`crate::limits::SMALL_STRUCT`]; 136 in Go
    /// 1.21 to 1.27.
    pub size: u64,
    /// `StatusCode`.
    pub status_code: u64,
    /// `ProtoMajor`.
    pub proto_major: u64,
    /// `ProtoMinor`.
    pub proto_minor: u64,
    /// `ContentLength`; -1 if it is not known.
    pub content_length: u64,
    /// `Request`, a pointer to the request that was answered.
    pub request: u64,
}

/// An HTTP/2 server's `ResponseWriter`. Interfaces of that type hold, in their second word, the address of a
/// `responseWriter` struct, in all versions of both libraries: Go 1.27's `net/http.http2ResponseWriter` is a struct of one
/// pointer, which an interface holds as if it were that pointer.
///
/// The struct has one pointer, `rws`, to a `responseWriterState`: not nil until `runHandler.func1` calls `handlerDone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Http2 {
    /// The address of the descriptor in the itab of such an interface.
    pub response_writer_type: u64,
    /// `rws` in `responseWriter`, a pointer.
    pub rws: u64,
    /// Where to start reading in `responseWriterState`: it has 120 bytes, 288 in Go 1.27, and few of them matter.
    pub state: u64,
    /// How many bytes to read there so that all fields below are among them, at most [`crate::limits::HTTP2_STATE`]; 32 in
    /// Go 1.21 to 1.27.
    pub state_size: u64,
    /// `status`, from `state` on.
    pub status: u64,
    /// `wroteHeader`, one byte, from `state` on.
    pub wrote_header: u64,
    /// `wroteBytes`, from `state` on.
    pub wrote_bytes: u64,
    /// `stream` in `responseWriterState`, a pointer.
    pub stream: u64,
    /// `id` in that, 4 bytes.
    pub id: u64,
}

impl Http2 {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        response_writer_type: NONE,
        rws: NONE,
        state: NONE,
        state_size: NONE,
        status: NONE,
        wrote_header: NONE,
        wrote_bytes: NONE,
        stream: NONE,
        id: NONE,
    };
}

/// The header map. Both kinds keep 8 names and values together: a bucket in Go's classic maps, a group in the swiss maps
/// that Go has since 1.24. Unlike elsewhere all fields are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Map {
    /// A [`MapKind`].
    pub kind: u64,
    /// How many bytes of the map's header to read so that the fields up to `length` are among them; at most
    /// [`crate::limits::MAP_HEADER`].
    pub size: u64,
    /// Classic: `runtime.hmap.buckets`. Swiss: `internal/runtime/maps.Map.dirPtr`.
    pub groups: u64,
    /// Classic: `oldbuckets`, where entries wait that were not moved yet while the map grows. Swiss: unused.
    pub old_groups: u64,
    /// Classic: `B`, the binary logarithm of the number of buckets, one byte. Swiss: `dirLen`, 0 for a single group.
    pub length: u64,
    /// Swiss: how many bytes to read of `internal/runtime/maps.table` so that the two fields below are among them; at most
    /// [`crate::limits::MAP_HEADER`].
    pub table_size: u64,
    /// Swiss: `groups.data` in the table.
    pub table_groups: u64,
    /// Swiss: `groups.lengthMask` in the table, the number of groups less one.
    pub table_mask: u64,
    /// The size of a bucket or group; at most [`crate::limits::LARGE_STRUCT`] / 2. The first 8 bytes tell which slots are in use.
    pub group_size: u64,
    /// Where the first name stands in it.
    pub keys: u64,
    /// From one name to the next.
    pub key_stride: u64,
    /// Where the first value stands in it.
    pub values: u64,
    /// From one value to the next.
    pub value_stride: u64,
    /// Classic: where the pointer to the overflow bucket stands in it.
    pub overflow: u64,
    /// A slot is in use if its byte among the first 8 is at least this (5 in classic maps, `minTopHash`; 0 in swiss maps) …
    pub first_in_use: u64,
    /// … and at most this (255 in classic maps; 127 in swiss maps).
    pub last_in_use: u64,
    /// 1 where the headers are looked for, too, that tell the protocol of a call; else 0.
    pub rpc: u64,
}

/// How the groups of a map are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum MapKind {
    /// Unknown; headers are not read.
    Unknown = 0,
    /// Up to Go 1.23 (`runtime/map.go`).
    Classic = 1,
    /// Since Go 1.24 (`internal/runtime/maps`).
    Swiss = 2,
}
