//! `net/http`: servers and clients.

use lightfoot_symbolizer::go_abi::{GoType, Signature};

use super::go_runtime::{CLASSIC_MAP, ERROR_STRING, G, M, P, STACK, SWISS_GROUPS, SWISS_MAP, SWISS_TABLE};
use super::{Inlined, Layout, Library, MapField, Operation, Place, Point, Role, Way};
use super::{grpc, http2};

/// The library.
pub const LIBRARY: Library = Library {
    name: "net/http",
    module: None,
    operations: &[
        SERVER_1,
        http2::SERVER,
        CLIENT,
        CONNECTION_1,
        http2::CONNECTION,
        PROPAGATION_1,
        http2::PROPAGATION,
    ],
};

/// A request over HTTP/1.
pub const SERVER_1: Operation = Operation {
    title: "HTTP/1 server request",
    only_with: None,
    inlined: None,
    points: &[
        Point { role: Role::Start, ways: &[SERVE_HTTP] },
        Point {
            role: Role::End,
            ways: &[
                Way {
                    function: FINISH_REQUEST,
                    place: Place::Entry {
                        signature: ONE_POINTER,
                        needs: &[],
                        called_from: Some("net/http.(*conn).serve"),
                    },
                },
                // A profile-guided build inlines finishRequest. The check that stands before it has a defer, and
                // such functions are never inlined (cmd/compile/internal/inline/inl.go).
                Way { function: "net/http.(*conn).serve", place: Place::CallOf("net/http.(*conn).hijacked") },
                Way { function: "net/http.serverHandler.ServeHTTP", place: Place::Returns },
            ],
        },
        Point {
            role: Role::ConnectionEnd,
            ways: &[Way { function: "net/http.(*conn).serve.func1", place: CLOSURE }],
        },
        Point {
            role: Role::Route,
            // Since Go 1.22; before, a pattern is known to ServeMux alone.
            ways: &[Way {
                function: "net/http.(*ServeMux).ServeHTTP",
                place: Place::AfterCallOf {
                    callee: "net/http.(*ServeMux).findHandler",
                    // func (mux *ServeMux) findHandler(r *Request) (h Handler, patStr string, _ *pattern, matches []string)
                    results: &[GoType::Interface, GoType::String, GoType::Pointer, GoType::Slice],
                    kept: &[1],
                },
            }],
        },
    ],
    layouts: &[
        &G,
        &STACK,
        &REQUEST,
        &PATTERN,
        &RESPONSE,
        &CONN,
        &CLASSIC_MAP,
        &SWISS_MAP,
        &SWISS_TABLE,
        &SWISS_GROUPS,
    ],
    maps: &[HEADER],
};

/// Completes a response; it does not run after a panic or a hijack.
pub const FINISH_REQUEST: &str = "net/http.(*response).finishRequest";

/// A request of a client, whatever the version of HTTP. Redirects and retries of `http.Client` are requests of their own, those
/// within the transport are not.
pub const CLIENT: Operation = Operation {
    title: "HTTP client request",
    only_with: None,
    inlined: Some(&Inlined {
        functions: &[ROUND_TRIP],
        callees: &["net/http.(*Transport).roundTrip"],
        results: ROUND_TRIP_RESULTS,
        except: &["golang.org/x/net/http2.(*Transport).roundTripOpt"],
    }),
    points: &[
        Point { role: Role::Start, ways: &[Way { function: ROUND_TRIP, place: ROUND_TRIP_ENTRY }] },
        Point {
            role: Role::End,
            ways: &[
                Way { function: ROUND_TRIP, place: Place::EmulatedReturns },
                AFTER_ROUND_TRIP_IN_SEND,
                Way { function: ROUND_TRIP, place: Place::Returns },
            ],
        },
        Point { role: Role::StandIn, ways: &[Way { function: ROUND_TRIP, place: Place::Returns }] },
    ],
    layouts: &[&G, &M, &P, &STACK, &REQUEST, &URL, &CLIENT_RESPONSE, &ERROR_STRING],
    maps: &[],
};

/// The connection that a client's request over HTTP/1 goes over (with `--join`).
///
/// `(*Transport).roundTrip` calls it, in the goroutine of the request, once it has a connection that speaks HTTP/1.
pub const CONNECTION_1: Operation = Operation {
    title: "HTTP/1 client connection",
    only_with: None,
    inlined: None,
    points: &[Point {
        role: Role::Connected,
        ways: &[Way {
            function: "net/http.(*persistConn).roundTrip",
            place: Place::Entry {
                signature: Signature {
                    parameters: &[GoType::Pointer, GoType::Pointer],
                    results: ROUND_TRIP_RESULTS,
                },
                needs: &[0],
                called_from: Some("net/http.(*Transport).roundTrip"),
            },
        }],
    }],
    layouts: &[&G, &STACK, &PERSIST_CONN, &TLS_CONN, &TCP_CONN, &NET_CONN, &NET_FD, &grpc::TCP_ADDR],
    maps: &[],
};

/// A client's connection (net/http/transport.go).
pub const PERSIST_CONN: Layout =
    Layout { name: "net/http.persistConn", required: &["conn"], optional: &[], is_optional: false };

/// One that is encrypted.
pub const TLS_CONN: Layout =
    Layout { name: "crypto/tls.Conn", required: &["conn"], optional: &[], is_optional: true };

/// One of TCP.
pub const TCP_CONN: Layout =
    Layout { name: "net.TCPConn", required: &["conn"], optional: &[], is_optional: false };

/// What all connections of package `net` are.
pub const NET_CONN: Layout =
    Layout { name: "net.conn", required: &["fd"], optional: &[], is_optional: false };

/// What these share with their copies.
pub const NET_FD: Layout =
    Layout { name: "net.netFD", required: &["laddr", "raddr"], optional: &[], is_optional: false };

/// The header `traceparent` in what a client sends over HTTP/1 (with `--propagate`).
///
/// `(*Request).write` writes all of a request's headers into its connection's buffer, and then the empty line, by its only call of
/// `io.WriteString`: there the buffer holds the headers so far, and no register has anything of it.
pub const PROPAGATION_1: Operation = Operation {
    title: "HTTP/1 client propagation",
    only_with: None,
    inlined: None,
    points: &[Point {
        role: Role::Written,
        ways: &[Way {
            function: "net/http.(*Request).write",
            place: Place::WithReceiver(&Place::CallOf("io.WriteString")),
        }],
    }],
    layouts: &[&REQUEST, &WRITER, &CLASSIC_MAP, &SWISS_MAP, &SWISS_TABLE, &SWISS_GROUPS],
    maps: &[HEADER],
};

/// The buffer that a connection is written through (bufio/bufio.go).
pub const WRITER: Layout =
    Layout { name: "bufio.Writer", required: &["buf", "n"], optional: &[], is_optional: false };

/// `func (sh serverHandler) ServeHTTP(rw ResponseWriter, req *Request)`: every request of a server passes it.
pub const SERVE_HTTP: Way = Way {
    function: "net/http.serverHandler.ServeHTTP",
    place: Place::Entry {
        signature: Signature {
            parameters: &[GoType::Struct(&[GoType::Pointer]), GoType::Interface, GoType::Pointer],
            results: &[],
        },
        needs: &[1, 2],
        called_from: None,
    },
};

/// Does nothing but call `roundTrip`. A direct call of it, by a program or by a struct that embeds a `*Transport`, is inlined;
/// since Go 1.27 `golang.org/x/net/http2` calls it so, within its own `RoundTrip`.
const ROUND_TRIP: &str = "net/http.(*Transport).RoundTrip";

const ONE_POINTER: Signature<'static> = Signature { parameters: &[GoType::Pointer], results: &[] };

/// A deferred function without parameters; what it captured is not read.
pub const CLOSURE: Place =
    Place::Entry { signature: Signature { parameters: &[], results: &[] }, needs: &[], called_from: None };

/// `func (t *Transport) RoundTrip(req *Request) (*Response, error)`, of both transports.
pub const ROUND_TRIP_ENTRY: Place = Place::Entry {
    signature: Signature {
        parameters: &[GoType::Pointer, GoType::Pointer],
        results: &[GoType::Pointer, GoType::Interface],
    },
    needs: &[0, 1],
    called_from: None,
};

/// What RoundTrip returns.
pub const ROUND_TRIP_RESULTS: &[GoType<'static>] = &[GoType::Pointer, GoType::Interface];

/// In `send`, which all requests of an `http.Client` pass: behind `rt.RoundTrip(req)`, the only method of a `RoundTripper`.
pub const AFTER_ROUND_TRIP_IN_SEND: Way = Way {
    function: "net/http.send",
    place: Place::AfterInterfaceCalls {
        itab_offset: 24,
        parameters: &[GoType::Pointer, GoType::Pointer],
        results: ROUND_TRIP_RESULTS,
    },
};

/// A request, of a server or a client.
pub const REQUEST: Layout = Layout {
    name: "net/http.Request",
    required: &["Method", "URL", "ProtoMajor", "ProtoMinor", "Header", "Host", "RequestURI", "TLS", "ctx"],
    // Pattern is there since Go 1.23, pat since 1.22.
    optional: &["Pattern", "pat", "RemoteAddr", "Response"],
    is_optional: false,
};

/// Where a request goes.
pub const URL: Layout = Layout {
    name: "net/url.URL",
    required: &["Scheme", "Opaque", "User", "Host", "Path", "RawPath", "RawQuery"],
    optional: &["Fragment", "RawFragment", "ForceQuery", "OmitHost"],
    is_optional: false,
};

/// A response in the making.
pub const RESPONSE: Layout = Layout {
    name: "net/http.response",
    required: &["conn", "req", "wroteHeader", "status", "written"],
    optional: &[],
    is_optional: false,
};

/// A server's connection.
pub const CONN: Layout =
    Layout { name: "net/http.conn", required: &["hijackedv"], optional: &[], is_optional: false };

/// What a pattern was registered as, behind `Request.pat`.
pub const PATTERN: Layout =
    Layout { name: "net/http.pattern", required: &["str"], optional: &[], is_optional: true };

/// A request's header.
pub const HEADER: MapField = MapField { structure: "net/http.Request", field: "Header" };

/// What a client gets.
pub const CLIENT_RESPONSE: Layout = Layout {
    name: "net/http.Response",
    required: &["StatusCode"],
    optional: &["ProtoMajor", "ProtoMinor", "ContentLength", "Request"],
    is_optional: false,
};
