//! What a header is added to, in the calls of clients.

use lightfoot_symbolizer::go_abi::GoType;

use super::super::go_runtime::{G, STACK};
use super::super::{Layout, Operation, Place, Point, Role, Way, http2};
use super::HTTP2_CLIENT;

/// The header `traceparent` in the calls of clients (with `--propagate`).
///
/// A call's own goroutine lists its headers, and that of the connection encodes them into a buffer (`loopyWriter.hBuf`) and hands all of
/// that on as a slice within a struct ([`http2::write_headers`]): the encoded headers are as long as its word says
/// (internal/transport/controlbuf.go). The address of the list tells the call.
pub const PROPAGATION: Operation = Operation {
    title: "gRPC client propagation",
    only_with: None,
    inlined: None,
    points: &[
        Point {
            role: Role::Listed,
            ways: &[Way {
                function: "google.golang.org/grpc/internal/transport.(*http2Client).NewStream",
                place: Place::WithReceiver(&Place::AfterCallOf {
                    callee: "google.golang.org/grpc/internal/transport.(*http2Client).createHeaderFields",
                    // ([]hpack.HeaderField, error)
                    results: &[GoType::Slice, GoType::Interface],
                    kept: &[0, 1],
                }),
            }],
        },
        Point {
            role: Role::Written,
            ways: &[Way {
                // (l *loopyWriter) writeHeader(streamID uint32, endStream bool, hf []hpack.HeaderField, onWrite func()) error
                function: "google.golang.org/grpc/internal/transport.(*loopyWriter).writeHeader",
                place: Place::WithArgument {
                    place: &http2::write_headers("golang.org/x/net/http2.(*Framer).WriteHeaders"),
                    register: 3,
                    home: 24,
                },
            }],
        },
    ],
    layouts: &[
        &G,
        &STACK,
        &LOOPY_WRITER,
        &BUFFER,
        &FRAMER,
        &HTTP2_FRAMER,
        &BUF_WRITER,
        &HTTP2_CLIENT_LIMIT,
        &HEADER_FIELD,
    ],
    maps: &[],
};

/// Who writes all that is sent over a connection.
pub const LOOPY_WRITER: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.loopyWriter",
    required: &["side", "hBuf", "framer"],
    optional: &[],
    is_optional: false,
};

/// What headers are encoded into (bytes/buffer.go).
pub const BUFFER: Layout =
    Layout { name: "bytes.Buffer", required: &["buf", "off"], optional: &[], is_optional: false };

/// What it writes frames with.
pub const FRAMER: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.framer",
    required: &["writer"],
    optional: &["fr"],
    is_optional: false,
};

/// What a frame is put together in before it is written (golang.org/x/net/http2/frame.go).
pub const HTTP2_FRAMER: Layout =
    Layout { name: "golang.org/x/net/http2.Framer", required: &[], optional: &["wbuf"], is_optional: true };

/// The buffer that a connection is written through.
pub const BUF_WRITER: Layout = Layout {
    name: "google.golang.org/grpc/internal/transport.bufWriter",
    required: &["offset"],
    // bufHandle since grpc-go 1.85, buf before.
    optional: &["buf", "bufHandle"],
    is_optional: false,
};

/// A header in a list.
pub const HEADER_FIELD: Layout = Layout {
    name: "golang.org/x/net/http2/hpack.HeaderField",
    required: &["Name", "Value", "Sensitive"],
    optional: &[],
    is_optional: false,
};

/// A client's connection: how long a list of headers the server takes.
pub const HTTP2_CLIENT_LIMIT: Layout = Layout {
    name: HTTP2_CLIENT.name,
    required: &["maxSendHeaderListSize"],
    optional: &[],
    is_optional: false,
};
