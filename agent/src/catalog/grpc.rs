//! `google.golang.org/grpc`: servers and clients.

use lightfoot_symbolizer::go_abi::{GoType, Signature};

use super::go_runtime::{G, STACK};
use super::{Layout, Library, Operation, Place, Point, Role, Way};

/// The library.
pub const LIBRARY: Library = Library {
    name: "google.golang.org/grpc",
    module: Some("google.golang.org/grpc"),
    operations: &[SERVER, UNARY_CLIENT, STREAM_CLIENT],
};

const SERVER: Operation = Operation {
    title: "gRPC server call",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: "google.golang.org/grpc.(*Server).handleStream",
                place: Place::Entry {
                    // (s *Server) handleStream(t transport.ServerTransport, stream *transport.Stream, …)
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
                // Lower case since grpc-go 1.69; it takes the status as its third parameter.
                write_status("google.golang.org/grpc/internal/transport.(*http2Server).writeStatus"),
                write_status("google.golang.org/grpc/internal/transport.(*http2Server).WriteStatus"),
            ],
        },
    ],
    layouts: &[&G, &STACK, &SERVER_STREAM],
    maps: &[],
};

const UNARY_CLIENT: Operation = Operation {
    title: "gRPC client call",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: "google.golang.org/grpc.(*ClientConn).Invoke",
                place: Place::Entry {
                    // (cc *ClientConn) Invoke(ctx context.Context, method string, args, reply any, …) error
                    signature: Signature {
                        parameters: &[GoType::Pointer, GoType::Interface, GoType::String],
                        results: &[GoType::Interface],
                    },
                    needs: &[0, 1, 2],
                    called_from: None,
                },
            }],
        },
        Point {
            role: Role::End,
            ways: &[Way { function: "google.golang.org/grpc.(*ClientConn).Invoke", place: Place::Returns }],
        },
    ],
    layouts: &[&G, &STACK, &CLIENT_CONN],
    maps: &[],
};

const STREAM_CLIENT: Operation = Operation {
    title: "gRPC client stream",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Start,
            ways: &[Way {
                function: "google.golang.org/grpc.(*clientStream).newAttemptLocked",
                place: Place::Entry {
                    signature: Signature {
                        parameters: &[GoType::Pointer, GoType::Bool],
                        results: &[GoType::Pointer, GoType::Interface],
                    },
                    needs: &[0],
                    called_from: None,
                },
            }],
        },
        Point {
            role: Role::End,
            ways: &[Way {
                function: "google.golang.org/grpc.(*clientStream).finish",
                place: Place::Entry {
                    signature: Signature { parameters: &[GoType::Pointer, GoType::Interface], results: &[] },
                    needs: &[0, 1],
                    called_from: None,
                },
            }],
        },
    ],
    layouts: &[&G, &STACK, &CLIENT_STREAM],
    maps: &[],
};

const fn write_status(function: &'static str) -> Way {
    Way {
        function,
        place: Place::Entry {
            signature: Signature {
                parameters: &[GoType::Pointer, GoType::Pointer, GoType::Pointer],
                results: &[GoType::Interface],
            },
            needs: &[1, 2],
            called_from: None,
        },
    }
}

const SERVER_STREAM: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.Stream",
    required: &["ctx", "method"],
    optional: &["id"],
    is_optional: false,
};

const CLIENT_CONN: Layout = Layout {
    name: "google.golang.org/grpc.ClientConn",
    required: &["target"],
    optional: &[],
    is_optional: false,
};

const CLIENT_STREAM: Layout = Layout {
    name: "google.golang.org/grpc.clientStream",
    required: &["ctx", "callHdr"],
    optional: &["cc", "desc"],
    is_optional: false,
};
