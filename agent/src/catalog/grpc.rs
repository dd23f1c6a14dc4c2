//! `google.golang.org/grpc`: servers and clients.

use lightfoot_symbolizer::go_abi::{GoType, Signature};

use super::go_runtime::{CLASSIC_MAP, ERROR_STRING, G, M, P, STACK, SWISS_GROUPS, SWISS_MAP, SWISS_TABLE};
use super::{Layout, Library, MapField, Operation, Place, Point, Role, Way};

mod propagation;

pub use propagation::{
    BUF_WRITER, BUFFER, FRAMER, HEADER_FIELD, HTTP2_CLIENT_LIMIT, HTTP2_FRAMER, LOOPY_WRITER, PROPAGATION,
};

/// The library.
pub const LIBRARY: Library = Library {
    name: "google.golang.org/grpc",
    module: Some("google.golang.org/grpc"),
    operations: &[
        SERVER,
        HANDLER_SERVER,
        UNARY_CLIENT,
        STREAM_CLIENT,
        CONNECTION,
        PROPAGATION,
        SERVER_MESSAGES,
        CLIENT_MESSAGES,
    ],
};

/// A call that grpc-go's own HTTP/2 server has received.
pub const SERVER: Operation = Operation {
    title: "gRPC server call",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: HANDLE_STREAM,
                place: Place::Entry {
                    // (s *Server) handleStream(t transport.ServerTransport, stream *transport.ServerStream, …)
                    signature: Signature {
                        parameters: &[GoType::Pointer, GoType::Interface, GoType::Pointer],
                        results: &[],
                    },
                    needs: &[1, 2],
                    called_from: None,
                },
            }],
        },
        Point {
            role: Role::End,
            ways: &[
                // Lower case since grpc-go 1.69.
                write_status("google.golang.org/grpc/internal/transport.(*http2Server).writeStatus"),
                write_status("google.golang.org/grpc/internal/transport.(*http2Server).WriteStatus"),
            ],
        },
        Point {
            role: Role::ErrorEnd,
            ways: &[Way {
                function: PROCESS_UNARY,
                place: Place::CallBehind {
                    first: "google.golang.org/grpc.(*Server).sendResponse",
                    callee: "google.golang.org/grpc/status.FromError",
                },
            }],
        },
    ],
    layouts: &[
        &G,
        &M,
        &P,
        &STACK,
        &STREAM,
        &SERVER_STREAM,
        &HTTP2_SERVER,
        &PEER,
        &TCP_ADDR,
        &UNIX_ADDR,
        &VALUE_CONTEXT,
        &INCOMING_KEY,
        &STATUS,
        &PROTO_STATUS,
        &CONNECTION_ERROR,
        &HANDLER_TRANSPORT,
        &CLASSIC_MAP,
        &SWISS_MAP,
        &SWISS_TABLE,
        &SWISS_GROUPS,
    ],
    maps: &[METADATA],
};

/// A call that net/http has received: `(*grpc.Server).ServeHTTP`. It adds to the span of the HTTP request.
pub const HANDLER_SERVER: Operation = Operation {
    title: "gRPC server call over net/http",
    only_with: None,
    inlined: None,
    points: &[Point {
        role: Role::Status,
        ways: &[
            write_status("google.golang.org/grpc/internal/transport.(*serverHandlerTransport).writeStatus"),
            write_status("google.golang.org/grpc/internal/transport.(*serverHandlerTransport).WriteStatus"),
        ],
    }],
    layouts: &[&G, &STATUS, &PROTO_STATUS],
    maps: &[],
};

/// A unary call of a client.
pub const UNARY_CLIENT: Operation = Operation {
    title: "gRPC client call",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: INVOKE,
                place: Place::Entry {
                    // (cc *ClientConn) Invoke(ctx context.Context, method string, args, reply any, …) error
                    signature: Signature {
                        parameters: &[GoType::Pointer, GoType::Interface, GoType::String],
                        results: INVOKE_RESULTS,
                    },
                    needs: &[0, 1, 2],
                    called_from: None,
                },
            }],
        },
        Point {
            role: Role::End,
            ways: &[Way { function: INVOKE, place: Place::EmulatedReturns }, returns(INVOKE)],
        },
    ],
    layouts: &[
        &G,
        &M,
        &P,
        &STACK,
        &CLIENT_CONN,
        &CLIENT_STREAM,
        &ATTEMPT,
        &HTTP2_CLIENT,
        &TCP_ADDR,
        &UNIX_ADDR,
        &STATUS,
        &PROTO_STATUS,
        &STATUS_ERROR,
        &WRAP_ERROR,
        &ERROR_STRING,
    ],
    maps: &[],
};

/// A stream of a client.
pub const STREAM_CLIENT: Operation = Operation {
    title: "gRPC client stream",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: NEW_STREAM,
                place: Place::Entry {
                    // (cc *ClientConn) NewStream(ctx context.Context, desc *StreamDesc, method string, …) (ClientStream, error)
                    signature: Signature {
                        parameters: &[GoType::Pointer, GoType::Interface, GoType::Pointer, GoType::String],
                        results: NEW_STREAM_RESULTS,
                    },
                    needs: &[0, 1, 3],
                    called_from: None,
                },
            }],
        },
        Point {
            role: Role::Opened,
            ways: &[Way { function: NEW_STREAM, place: Place::EmulatedReturns }, returns(NEW_STREAM)],
        },
        Point {
            role: Role::End,
            ways: &[
                finish_in("google.golang.org/grpc.newClientStreamWithParams.func4"),
                finish_in("google.golang.org/grpc.newClientStreamWithParams.func5"),
                finish_in("google.golang.org/grpc.newClientStreamWithParams.func3"),
            ],
        },
    ],
    layouts: &[
        &G,
        &M,
        &P,
        &STACK,
        &CLIENT_CONN,
        &CLIENT_STREAM,
        &ATTEMPT,
        &STREAM,
        &TRANSPORT_STREAM,
        &HTTP2_CLIENT,
        &TCP_ADDR,
        &UNIX_ADDR,
        &STATUS,
        &PROTO_STATUS,
        &STATUS_ERROR,
        &WRAP_ERROR,
        &ERROR_STRING,
    ],
    maps: &[],
};

/// The connection and the stream that a call goes over (with `--join`).
///
/// `RecvMsg` finishes a stream when nothing more comes, on the goroutine that receives: that of the call, if it is unary. If its message
/// cannot be sent `SendMsg` does. Streams pass there, too, though what is read of them is read at their own end.
pub const CONNECTION: Operation = Operation {
    title: "gRPC client connection",
    only_with: None,
    inlined: None,
    points: &[
        Point { role: Role::Connected, ways: &[finish_in("google.golang.org/grpc.(*clientStream).RecvMsg")] },
        Point {
            role: Role::ErrorEnd,
            ways: &[finish_in("google.golang.org/grpc.(*clientStream).SendMsg.func1")],
        },
    ],
    layouts: &[
        &G,
        &STACK,
        &CLIENT_STREAM,
        &STREAM_DESC,
        &ATTEMPT,
        &STREAM,
        &TRANSPORT_STREAM,
        &HTTP2_CLIENT,
        &TCP_ADDR,
    ],
    maps: &[],
};

/// The messages of streams that are served.
pub const SERVER_MESSAGES: Operation = Operation {
    title: "messages of gRPC server streams",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Sent,
            ways: &[
                // Up to grpc-go 1.64, from 1.69 on, and from 1.85 on: the first of these interfaces has the method as `Write`.
                written_by("google.golang.org/grpc.(*serverStream).SendMsg", &WRITE_AT_72),
                written_by("google.golang.org/grpc.(*serverStream).SendMsg", &WRITE_AT_64),
                written_by("google.golang.org/grpc.(*serverStream).SendMsg", &WRITE_AT_80),
            ],
        },
        Point {
            role: Role::Received,
            ways: &[Way {
                function: "google.golang.org/grpc.(*serverStream).RecvMsg",
                place: Place::WithReceiver(&Place::AfterCallOf {
                    callee: "google.golang.org/grpc.recv",
                    results: &[GoType::Interface],
                    kept: &[0],
                }),
            }],
        },
    ],
    layouts: &[&STREAM_OF_SERVER],
    maps: &[],
};

/// The messages of clients' streams.
pub const CLIENT_MESSAGES: Operation = Operation {
    title: "messages of gRPC client streams",
    only_with: None,
    inlined: None,
    points: &[
        Point { role: Role::Sent, ways: &[retried("google.golang.org/grpc.(*clientStream).SendMsg")] },
        Point { role: Role::Received, ways: &[retried("google.golang.org/grpc.(*clientStream).RecvMsg")] },
    ],
    layouts: &[],
    maps: &[],
};

/// Handles a call: all that the server has received itself, or net/http.
pub const HANDLE_STREAM: &str = "google.golang.org/grpc.(*Server).handleStream";
const PROCESS_UNARY: &str = "google.golang.org/grpc.(*Server).processUnaryRPC";
/// What it calls, and what writes the status when the handler has returned. One does both since grpc-go 1.85.
pub const PROCESS_CALL: [&str; 3] = [
    PROCESS_UNARY,
    "google.golang.org/grpc.(*Server).processStreamingRPC",
    "google.golang.org/grpc.(*Server).processRPC",
];

const INVOKE: &str = "google.golang.org/grpc.(*ClientConn).Invoke";
const NEW_STREAM: &str = "google.golang.org/grpc.(*ClientConn).NewStream";
/// What `Invoke` calls unless there are interceptors, and what that calls for the call's stream: (ClientStream, error).
pub const UNARY: [&str; 3] =
    [INVOKE, "google.golang.org/grpc.invoke", "google.golang.org/grpc.newClientStream"];
/// What `Invoke` returns.
pub const INVOKE_RESULTS: &[GoType<'static>] = &[GoType::Interface];
/// What `NewStream` returns.
pub const NEW_STREAM_RESULTS: &[GoType<'static>] = &[GoType::Interface, GoType::Interface];

const fn write_status(function: &'static str) -> Way {
    Way {
        function,
        place: Place::Entry {
            // (t *http2Server) writeStatus(s *ServerStream, st *status.Status) error
            signature: Signature {
                parameters: &[GoType::Pointer, GoType::Pointer, GoType::Pointer],
                results: &[GoType::Interface],
            },
            needs: &[1, 2],
            called_from: None,
        },
    }
}

/// What `SendMsg` and `RecvMsg` of a client do, as often as it takes.
const fn retried(function: &'static str) -> Way {
    Way {
        function,
        place: Place::WithReceiver(&Place::AfterCallOf {
            callee: "google.golang.org/grpc.(*clientStream).withRetry",
            results: &[GoType::Interface],
            kept: &[0],
        }),
    }
}

const WRITE_AT_64: Place = write_at(64);
const WRITE_AT_72: Place = write_at(72);
const WRITE_AT_80: Place = write_at(80);

/// Behind the call of the server transport's `write(s *ServerStream, hdr []byte, data mem.BufferSlice, opts *WriteOptions) error`.
const fn write_at(itab_offset: u64) -> Place {
    Place::AfterInterfaceCalls {
        itab_offset,
        parameters: &[GoType::Pointer, GoType::Pointer, GoType::Slice, GoType::Slice, GoType::Pointer],
        results: &[GoType::Interface],
    }
}

const fn written_by(function: &'static str, place: &'static Place) -> Way {
    Way { function, place: Place::WithReceiver(place) }
}

const fn returns(function: &'static str) -> Way {
    Way { function, place: Place::Returns }
}

/// Where a stream is finished: among others in its own goroutine, when its context is done or the connection is closed.
const fn finish_in(function: &'static str) -> Way {
    Way { function, place: Place::CallsOf("google.golang.org/grpc.(*clientStream).finish") }
}

/// A stream of either side up to grpc-go 1.68, and since then what both sides' have in common.
pub const STREAM: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.Stream",
    required: &["ctx", "method"],
    optional: &["status", "id"],
    is_optional: false,
};

/// A server's stream since grpc-go 1.69.
pub const SERVER_STREAM: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.ServerStream",
    required: &["Stream"],
    optional: &[],
    is_optional: true,
};

/// What the handler of a stream has.
pub const STREAM_OF_SERVER: Layout = Layout {
    name: "google.golang.org/grpc.serverStream",
    required: &["s"],
    optional: &[],
    is_optional: false,
};

/// A client's stream of a transport since grpc-go 1.69.
pub const TRANSPORT_STREAM: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.ClientStream",
    required: &["status"],
    optional: &["Stream"],
    is_optional: true,
};

/// A server's connection.
pub const HTTP2_SERVER: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.http2Server",
    required: &[],
    // peer since grpc-go 1.60, remoteAddr before.
    optional: &["peer", "remoteAddr"],
    is_optional: false,
};

/// A client's connection.
pub const HTTP2_CLIENT: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.http2Client",
    required: &[],
    optional: &["remoteAddr", "localAddr"],
    is_optional: true,
};

/// The other end of a connection.
pub const PEER: Layout = Layout {
    name: "google.golang.org/grpc/peer.Peer",
    required: &[],
    optional: &["Addr"],
    is_optional: true,
};

/// The address of a TCP connection.
pub const TCP_ADDR: Layout =
    Layout { name: "net.TCPAddr", required: &[], optional: &["IP", "Port"], is_optional: true };

/// The name of a unix socket.
pub const UNIX_ADDR: Layout =
    Layout { name: "net.UnixAddr", required: &[], optional: &["Name"], is_optional: true };

/// A context that has a value.
pub const VALUE_CONTEXT: Layout =
    Layout { name: "context.valueCtx", required: &["key", "val"], optional: &[], is_optional: false };

/// The key under which a context has the metadata of an incoming call.
pub const INCOMING_KEY: Layout = Layout {
    name: "google.golang.org/grpc/metadata.mdIncomingKey",
    required: &[],
    optional: &[],
    is_optional: false,
};

/// What became of a call.
pub const STATUS: Layout = Layout {
    name: "google.golang.org/grpc/internal/status.Status",
    required: &["s"],
    optional: &[],
    is_optional: false,
};

/// The same as it is sent.
pub const PROTO_STATUS: Layout = Layout {
    name: "google.golang.org/genproto/googleapis/rpc/status.Status",
    required: &["Code"],
    optional: &["Message"],
    is_optional: false,
};

/// The same as an error.
pub const STATUS_ERROR: Layout = Layout {
    name: "google.golang.org/grpc/internal/status.Error",
    required: &["s"],
    optional: &[],
    is_optional: false,
};

/// What `fmt.Errorf` makes around one other error (fmt/errors.go).
pub const WRAP_ERROR: Layout =
    Layout { name: "fmt.wrapError", required: &[], optional: &["err"], is_optional: true };

/// The error of a connection that is gone.
pub const CONNECTION_ERROR: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.ConnectionError",
    required: &[],
    optional: &[],
    is_optional: true,
};

const HANDLER_TRANSPORT: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.serverHandlerTransport",
    required: &[],
    optional: &["headerMD"],
    is_optional: true,
};

/// The metadata of a call: `map[string][]string`, as an `http.Header` is.
pub const METADATA: MapField = MapField { structure: HANDLER_TRANSPORT.name, field: "headerMD" };

/// A client's connections to one target.
pub const CLIENT_CONN: Layout = Layout {
    name: "google.golang.org/grpc.ClientConn",
    required: &["target"],
    optional: &[],
    is_optional: false,
};

/// A client's stream.
pub const CLIENT_STREAM: Layout = Layout {
    name: "google.golang.org/grpc.clientStream",
    required: &["attempt", "finished"],
    optional: &["desc"],
    is_optional: false,
};

/// Which side of a call sends more than one message.
pub const STREAM_DESC: Layout = Layout {
    name: "google.golang.org/grpc.StreamDesc",
    required: &[],
    optional: &["ServerStreams", "ClientStreams"],
    is_optional: true,
};

/// One of the attempts to make a call.
pub const ATTEMPT: Layout = Layout {
    name: "google.golang.org/grpc.csAttempt",
    required: &[],
    // The longer names since grpc-go 1.75.
    optional: &["transport", "t", "transportStream", "s"],
    is_optional: false,
};
