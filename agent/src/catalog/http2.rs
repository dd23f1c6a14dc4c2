//! HTTP/2: the implementation within `net/http`, in both forms that it has had, and `golang.org/x/net/http2`, from which it
//! stems.
//!
//! | Go | server's functions and types | what handlers get as `http.ResponseWriter` |
//! |---|---|---|
//! | 1.21 to 1.26 | `net/http.http2*` (net/http/h2_bundle.go) | `*http2responseWriter` |
//! | 1.27 | `net/http/internal/http2.*`, bridged by net/http/http2.go | `http2ResponseWriter`, a struct of nothing but a `*http2.responseWriter` |
//!
//! Either way the second word of that interface is the address of a `responseWriter`, whose `rws` leads to the state with
//! the status. The bridge makes an `http.Request` of its own for each request.
//!
//! # Where a request starts and ends
//! `serverHandler.ServeHTTP` starts all requests of `net/http`'s server, also those that `golang.org/x/net/http2` serves
//! after `ConfigureServer`. With `h2c.NewHandler`, or `(*http2.Server).ServeConn` alone, x/net's `runHandler` calls the
//! handler with nothing of `net/http` in between, so it has a start of its own. Since x/net 0.55 and Go 1.27 x/net
//! hands everything to `net/http` (server_wrap.go, transport_wrap.go), and its own implementation is not compiled. The
//! bridge calls the handler there, and is the start.
//!
//! The end is `runHandler.func1`, a deferred function. It contains a `recover`, so it is never inlined, and it runs in
//! all cases: on return, on a panic and on `runtime.Goexit`; in the latter two `g._panic` is not nil. At its entry
//! `responseWriter.rws` is never nil: the one place that sets it to nil and gives the state back to its pool is
//! `(*responseWriter).handlerDone`, which `runHandler.func1` itself calls, last (sources of Go 1.21 to 1.27; x/net 0.12 to
//! 0.62). A handler that has written nothing has `wroteHeader` false there, and its status will be 200.
//! Requests that the server itself refuses, such as those with too many headers, pass the end and not the start.

use lightfoot_symbolizer::go_abi::{GoType, Signature};

use super::go_runtime::{CLASSIC_MAP, ERROR_STRING, G, M, P, STACK, SWISS_GROUPS, SWISS_MAP, SWISS_TABLE};
use super::grpc::{BUFFER, TCP_ADDR};
use super::net_http::{
    AFTER_ROUND_TRIP_IN_SEND, CLIENT_RESPONSE, CLOSURE, HEADER, NET_CONN, NET_FD, PATTERN, REQUEST, RESPONSE,
    ROUND_TRIP_ENTRY, ROUND_TRIP_RESULTS, SERVE_HTTP, TCP_CONN, TLS_CONN, URL, WRITER,
};
use super::{Inlined, Layout, Library, Operation, Place, Point, Role, Way};

/// A request over HTTP/2 to a server of `net/http`.
pub const SERVER: Operation = Operation {
    title: "HTTP/2 server request",
    only_with: None,
    inlined: None,
    points: &[
        Point { role: Role::Start, ways: &[SERVE_HTTP] },
        Point {
            role: Role::End,
            ways: &[
                Way { function: "net/http.(*http2serverConn).runHandler.func1", place: CLOSURE },
                Way { function: "net/http/internal/http2.(*serverConn).runHandler.func1", place: CLOSURE },
            ],
        },
    ],
    layouts: &[
        &G,
        &STACK,
        &REQUEST,
        &PATTERN,
        &RESPONSE,
        BUNDLED.writer,
        BUNDLED.state,
        BUNDLED.stream,
        &SERVER_REQUEST,
        INTERNAL.held,
        INTERNAL.writer,
        INTERNAL.state,
        INTERNAL.stream,
        &CLASSIC_MAP,
        &SWISS_MAP,
        &SWISS_TABLE,
        &SWISS_GROUPS,
    ],
    maps: &[HEADER],
};

/// The library.
pub const LIBRARY: Library = Library {
    name: "golang.org/x/net/http2",
    module: Some("golang.org/x/net"),
    operations: &[X_SERVER, X_SERVER_BY_NET_HTTP, X_CLIENT, X_CONNECTION, X_PROPAGATION],
};

/// A request to its server.
pub const X_SERVER: Operation = Operation {
    title: "x/net HTTP/2 server request",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: "golang.org/x/net/http2.(*serverConn).runHandler",
                place: Place::Entry {
                    // (sc *serverConn) runHandler(rw *responseWriter, req *http.Request, handler func(…))
                    signature: Signature {
                        parameters: &[GoType::Pointer, GoType::Pointer, GoType::Pointer, GoType::Pointer],
                        results: &[],
                    },
                    needs: &[1, 2],
                    called_from: None,
                },
            }],
        },
        Point {
            role: Role::End,
            ways: &[Way {
                function: "golang.org/x/net/http2.(*serverConn).runHandler.func1",
                place: CLOSURE,
            }],
        },
    ],
    layouts: &[
        &G,
        &STACK,
        &REQUEST,
        &PATTERN,
        X.writer,
        X.state,
        X.stream,
        &CLASSIC_MAP,
        &SWISS_MAP,
        &SWISS_TABLE,
        &SWISS_GROUPS,
    ],
    maps: &[HEADER],
};

/// A request that it lets `net/http` serve. Those that `net/http` serves on its own behalf pass this start, too.
pub const X_SERVER_BY_NET_HTTP: Operation = Operation {
    title: "x/net HTTP/2 server request by net/http",
    only_with: Some((
        "golang.org/x/net/http2.(*Server).serveConn",
        "it serves no connections but those of net/http, if any",
    )),
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: "net/http.http2Handler.ServeHTTP",
                place: Place::Entry {
                    // (h http2Handler) ServeHTTP(w *http2.ResponseWriter, req *http2.ServerRequest)
                    signature: Signature {
                        parameters: &[GoType::Struct(&[GoType::Interface]), GoType::Pointer, GoType::Pointer],
                        results: &[],
                    },
                    needs: &[1, 2],
                    // Interfaces call it through a pointer to their copy of the receiver.
                    called_from: Some("net/http.(*http2Handler).ServeHTTP"),
                },
            }],
        },
        Point {
            role: Role::End,
            ways: &[Way {
                function: "net/http/internal/http2.(*serverConn).runHandler.func1",
                place: CLOSURE,
            }],
        },
    ],
    layouts: &[
        &G,
        &STACK,
        &SERVER_REQUEST,
        INTERNAL.writer,
        INTERNAL.state,
        INTERNAL.stream,
        &CLASSIC_MAP,
        &SWISS_MAP,
        &SWISS_TABLE,
        &SWISS_GROUPS,
    ],
    maps: &[HEADER],
};

/// A request of its client. `net/http`'s transport calls this one after `ConfigureTransport`: one request, two starts. Where x/net
/// hands everything to `net/http`, it calls `RoundTrip` of that directly, which is inlined and so no second start.
pub const X_CLIENT: Operation = Operation {
    title: "x/net HTTP/2 client request",
    only_with: None,
    inlined: Some(&Inlined {
        functions: &[X_ROUND_TRIP, X_ROUND_TRIP_OPT],
        // Since x/net 0.55 RoundTripOpt, too, does nothing but call another function.
        callees: &["golang.org/x/net/http2.(*Transport).roundTripOpt", X_ROUND_TRIP_OPT],
        results: ROUND_TRIP_RESULTS,
        // What net/http's transport calls after ConfigureTransport.
        except: &[
            "golang.org/x/net/http2.noDialH2RoundTripper.RoundTrip",
            "golang.org/x/net/http2.(*noDialH2RoundTripper).RoundTrip",
            "golang.org/x/net/http2.unencryptedTransport.RoundTrip",
            "golang.org/x/net/http2.(*unencryptedTransport).RoundTrip",
        ],
    }),
    points: &[
        Point { role: Role::Start, ways: &[Way { function: X_ROUND_TRIP, place: ROUND_TRIP_ENTRY }] },
        Point {
            role: Role::End,
            ways: &[
                Way { function: X_ROUND_TRIP, place: Place::EmulatedReturns },
                AFTER_ROUND_TRIP_IN_SEND,
                Way { function: X_ROUND_TRIP, place: Place::Returns },
            ],
        },
        Point { role: Role::StandIn, ways: &[Way { function: X_ROUND_TRIP, place: Place::Returns }] },
    ],
    layouts: &[&G, &M, &P, &STACK, &REQUEST, &URL, &CLIENT_RESPONSE, &ERROR_STRING],
    maps: &[],
};

/// The connection and the stream that a request of a client of `net/http` goes over by HTTP/2 (with `--join`).
///
/// Each stream has a goroutine, which that of the request creates (`(*ClientConn).roundTrip`) and waits for. It has the stream's id when it
/// begins to write the headers. Functions with a defer, as this one, are never inlined (cmd/compile/internal/inline/inl.go).
pub const CONNECTION: Operation = Operation {
    title: "HTTP/2 client connection",
    only_with: None,
    inlined: None,
    points: &[Point {
        role: Role::Connected,
        ways: &[headers_of(BUNDLED_SENDER.caller), headers_of(INTERNAL_SENDER.caller)],
    }],
    layouts: &[
        &G,
        &REQUEST,
        INTERNAL_SENDER.request,
        BUNDLED_SENDER.stream,
        BUNDLED_SENDER.connection,
        INTERNAL_SENDER.stream,
        INTERNAL_SENDER.connection,
        &TLS_CONN,
        &TCP_CONN,
        &NET_CONN,
        &NET_FD,
        &TCP_ADDR,
    ],
    maps: &[],
};

/// The same of a request of its client.
pub const X_CONNECTION: Operation = Operation {
    title: "x/net HTTP/2 client connection",
    only_with: None,
    inlined: None,
    points: &[Point { role: Role::Connected, ways: &[headers_of(X_SENDER.caller)] }],
    layouts: &[
        &G,
        X_SENDER.request,
        X_SENDER.stream,
        X_SENDER.connection,
        &TLS_CONN,
        &TCP_CONN,
        &NET_CONN,
        &NET_FD,
        &TCP_ADDR,
    ],
    maps: &[],
};

/// The header `traceparent` in what a client of `net/http` sends over HTTP/2 (with `--propagate`).
///
/// The goroutine of a stream encodes the headers of its request into the connection's buffer (`ClientConn.hbuf`) and hands all of that on as
/// a slice within a struct ([`write_headers`]), as in gRPC ([`PROPAGATION`](super::grpc::PROPAGATION)). The request stands in the frame of the function that has encoded its headers
/// ([`Sender`]).
pub const PROPAGATION: Operation = Operation {
    title: "HTTP/2 client propagation",
    only_with: None,
    inlined: None,
    points: &[Point {
        role: Role::Written,
        ways: &[
            framed_in(BUNDLED_SENDER.function, &write_headers("net/http.(*http2Framer).WriteHeaders")),
            framed_in(
                INTERNAL_SENDER.function,
                &write_headers("net/http/internal/http2.(*Framer).WriteHeaders"),
            ),
        ],
    }],
    layouts: &[
        &REQUEST,
        BUNDLED_SENDER.connection,
        INTERNAL_SENDER.connection,
        INTERNAL_SENDER.request,
        BUNDLED_SENDER.encoder,
        BUNDLED_SENDER.table,
        &WRITER,
        &BUFFER,
        &CLASSIC_MAP,
        &SWISS_MAP,
        &SWISS_TABLE,
        &SWISS_GROUPS,
    ],
    maps: &[HEADER],
};

/// The same of its client.
pub const X_PROPAGATION: Operation = Operation {
    title: "x/net HTTP/2 client propagation",
    only_with: None,
    inlined: None,
    points: &[Point {
        role: Role::Written,
        ways: &[framed_in(
            X_SENDER.function,
            &write_headers("golang.org/x/net/http2.(*Framer).WriteHeaders"),
        )],
    }],
    layouts: &[
        X_SENDER.connection,
        X_SENDER.request,
        X_SENDER.encoder,
        X_SENDER.table,
        &WRITER,
        &BUFFER,
        &CLASSIC_MAP,
        &SWISS_MAP,
        &SWISS_TABLE,
        &SWISS_GROUPS,
    ],
    maps: &[HEADER],
};

/// How an HTTP/2 client sends the headers of a request.
#[derive(Debug)]
pub struct Sender {
    /// `(cc *ClientConn) writeHeaders(streamID uint32, endStream bool, maxFrameSize int, hdrs []byte) error`: puts encoded headers into frames.
    pub function: &'static str,
    /// `(cs *clientStream) encodeAndWriteHeaders(req *http.Request) error`: calls it, once, for the headers of a request.
    pub caller: &'static str,
    /// `clientStream`.
    pub stream: &'static Layout,
    /// `ClientConn`.
    pub connection: &'static Layout,
    /// The request that the caller has.
    pub request: &'static Layout,
    /// `hpack.Encoder`.
    pub encoder: &'static Layout,
    /// The dynamic table in it.
    pub table: &'static Layout,
}

/// All of them.
pub const SENDERS: [&Sender; 3] = [&BUNDLED_SENDER, &INTERNAL_SENDER, &X_SENDER];

/// That of `net/http` up to Go 1.26.
pub const BUNDLED_SENDER: Sender = Sender {
    function: "net/http.(*http2ClientConn).writeHeaders",
    caller: "net/http.(*http2clientStream).encodeAndWriteHeaders",
    stream: &client_stream("net/http.http2clientStream"),
    connection: &client_conn("net/http.http2ClientConn"),
    request: &REQUEST,
    encoder: &encoder("vendor/golang.org/x/net/http2/hpack.Encoder"),
    table: &table("vendor/golang.org/x/net/http2/hpack.dynamicTable"),
};

/// That of `net/http` since Go 1.27, which makes a request of its own for each `http.Request`, with the same header map and URL.
pub const INTERNAL_SENDER: Sender = Sender {
    function: "net/http/internal/http2.(*ClientConn).writeHeaders",
    caller: "net/http/internal/http2.(*clientStream).encodeAndWriteHeaders",
    stream: &client_stream("net/http/internal/http2.clientStream"),
    connection: &client_conn("net/http/internal/http2.ClientConn"),
    request: &Layout {
        name: "net/http/internal/http2.ClientRequest",
        required: &["Header", "URL"],
        optional: &[],
        is_optional: true,
    },
    ..BUNDLED_SENDER
};

/// That of `golang.org/x/net/http2`.
pub const X_SENDER: Sender = Sender {
    function: "golang.org/x/net/http2.(*ClientConn).writeHeaders",
    caller: "golang.org/x/net/http2.(*clientStream).encodeAndWriteHeaders",
    stream: &client_stream("golang.org/x/net/http2.clientStream"),
    connection: &client_conn("golang.org/x/net/http2.ClientConn"),
    request: &REQUEST,
    encoder: &encoder("golang.org/x/net/http2/hpack.Encoder"),
    table: &table("golang.org/x/net/http2/hpack.dynamicTable"),
};

/// The call of a method `(f *Framer) WriteHeaders(p HeadersFrameParam) error` (frame.go): x86-64 has not registers enough for the struct,
/// so it stands on the stack; arm64 has.
pub const fn write_headers(callee: &'static str) -> Place {
    // StreamID, BlockFragment, EndStream, EndHeaders, PadLength, and Priority: StreamDep, Exclusive, Weight. Newer releases have more
    // behind these.
    const PRIORITY: GoType<'static> = GoType::Struct(&[GoType::Int(4), GoType::Bool, GoType::Int(1)]);
    const PARAMETERS: &[GoType<'static>] = &[
        GoType::Pointer,
        GoType::Struct(&[
            GoType::Int(4),
            GoType::Slice,
            GoType::Bool,
            GoType::Bool,
            GoType::Int(1),
            PRIORITY,
        ]),
    ];
    Place::CallOnStack { callee, parameters: PARAMETERS, argument: 1 }
}

const fn framed_in(function: &'static str, call: &'static Place) -> Way {
    Way { function, place: Place::WithReceiver(call) }
}

/// `(cs *clientStream) encodeAndWriteHeaders(req *http.Request) error`, or of a `*ClientRequest`.
const fn headers_of(function: &'static str) -> Way {
    Way {
        function,
        place: Place::Entry {
            signature: Signature {
                parameters: &[GoType::Pointer, GoType::Pointer],
                results: &[GoType::Interface],
            },
            needs: &[0, 1],
            called_from: None,
        },
    }
}

const fn client_stream(name: &'static str) -> Layout {
    Layout { name, required: &[], optional: &["ID", "cc"], is_optional: true }
}

const fn client_conn(name: &'static str) -> Layout {
    // Go 1.27 has another struct of the same name as that before.
    let optional = &["hbuf", "bw", "henc", "peerMaxHeaderListSize", "tconn"];
    Layout { name, required: &[], optional, is_optional: true }
}

const fn encoder(name: &'static str) -> Layout {
    Layout { name, required: &["dynTab"], optional: &[], is_optional: false }
}

const fn table(name: &'static str) -> Layout {
    Layout { name, required: &["maxSize"], optional: &[], is_optional: false }
}

const X_ROUND_TRIP: &str = "golang.org/x/net/http2.(*Transport).RoundTrip";
const X_ROUND_TRIP_OPT: &str = "golang.org/x/net/http2.(*Transport).RoundTripOpt";

/// What an HTTP/2 server answers with.
#[derive(Debug)]
pub struct ResponseWriter {
    /// The struct that `http.ResponseWriter`s of this server hold.
    pub held: &'static Layout,
    /// Whether they hold a pointer to it; else it is itself no more than a pointer to a `responseWriter`.
    pub by_pointer: bool,
    /// `responseWriter`.
    pub writer: &'static Layout,
    /// `responseWriterState`.
    pub state: &'static Layout,
    /// `stream`.
    pub stream: &'static Layout,
}

/// That of `net/http` up to Go 1.26.
pub const BUNDLED: ResponseWriter = ResponseWriter {
    held: &BUNDLED_WRITER,
    by_pointer: true,
    writer: &BUNDLED_WRITER,
    state: &state("net/http.http2responseWriterState"),
    stream: &stream("net/http.http2stream"),
};

/// That of `net/http` since Go 1.27.
pub const INTERNAL: ResponseWriter = ResponseWriter {
    held: &Layout {
        name: "net/http.http2ResponseWriter",
        required: &[],
        optional: &["ResponseWriter"],
        is_optional: true,
    },
    by_pointer: false,
    writer: &writer("net/http/internal/http2.responseWriter"),
    state: &state("net/http/internal/http2.responseWriterState"),
    stream: &stream("net/http/internal/http2.stream"),
};

/// What it makes an `http.Request` of.
pub const SERVER_REQUEST: Layout = Layout {
    name: "net/http/internal/http2.ServerRequest",
    required: &["Method", "ProtoMajor", "ProtoMinor", "Header", "Host", "RemoteAddr", "RequestURI", "TLS"],
    optional: &["Context"],
    is_optional: true,
};

/// That of `golang.org/x/net/http2`.
pub const X: ResponseWriter = ResponseWriter {
    held: &X_WRITER,
    by_pointer: true,
    writer: &X_WRITER,
    state: &state("golang.org/x/net/http2.responseWriterState"),
    stream: &stream("golang.org/x/net/http2.stream"),
};

const BUNDLED_WRITER: Layout = writer("net/http.http2responseWriter");
const X_WRITER: Layout = writer("golang.org/x/net/http2.responseWriter");

const fn writer(name: &'static str) -> Layout {
    Layout { name, required: &["rws"], optional: &[], is_optional: true }
}

const fn state(name: &'static str) -> Layout {
    Layout {
        name,
        required: &["status", "wroteHeader"],
        optional: &["wroteBytes", "stream"],
        is_optional: true,
    }
}

const fn stream(name: &'static str) -> Layout {
    Layout { name, required: &[], optional: &["id"], is_optional: true }
}
