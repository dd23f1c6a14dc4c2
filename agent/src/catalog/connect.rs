//! `connectrpc.com/connect`: its calls are requests of `net/http`, and add to their spans.
//!
//! No code of it is probed. What a program has of it tells what else is to be read of requests (sources of connect 1.11 to
//! 1.21, and of connect-go 1.10, as it was called before).

use super::{Library, Operation, Place, Point, Role, Way};

/// The library.
pub const LIBRARY: Library = Library {
    name: "connectrpc.com/connect",
    module: Some("connectrpc.com/connect"),
    operations: &[SERVER, CLIENT],
};

/// A call that a server gets: the request's headers tell it, and its protocol.
pub const SERVER: Operation = operation(
    "connect server call",
    &[Point { role: Role::Told, ways: &[linked(SERVERS[0], None), linked(SERVERS[1], None)] }],
);

/// A call that a client makes: the request's `GetBody` tells it.
pub const CLIENT: Operation = operation(
    "connect client call",
    &[Point {
        role: Role::Told,
        ways: &[linked(
            OF_MESSAGE,
            Some((OTHER_PROTOCOL, "WithGRPC is linked, so its protocol cannot be told")),
        )],
    }],
);

/// What serves every call: `(h *Handler) ServeHTTP(responseWriter http.ResponseWriter, request *http.Request)`. It is called
/// through `http.Handler`, so every program has it that serves calls.
pub const SERVERS: [&str; 2] =
    ["connectrpc.com/connect.(*Handler).ServeHTTP", "github.com/bufbuild/connect-go.(*Handler).ServeHTTP"];

/// `Request.GetBody` of what clients send, if it is one message: a closure of a function with a defer, which is never inlined
/// (duplex_http_call.go, since connect 1.15). Of a stream of messages there is none.
pub const OF_MESSAGE: &str = "connectrpc.com/connect.(*duplexHTTPCall).sendUnary.func1";
/// The same of an empty message, and of a call by `GET`.
pub const OF_NOTHING: &str = "connectrpc.com/connect.getNoBody";

/// What `WithGRPC` and `WithGRPCWeb` make of a client, called through `ClientOption`. In a program without it, all clients
/// speak Connect's own protocol (`newClientConfig`, client.go).
pub const OTHER_PROTOCOL: &str = "connectrpc.com/connect.(*grpcOption).applyToClient";

const fn linked(function: &'static str, unless: Option<(&'static str, &'static str)>) -> Way {
    Way { function, place: Place::Nowhere { unless } }
}

const fn operation(title: &'static str, points: &'static [Point]) -> Operation {
    Operation { title, only_with: None, inlined: None, points, layouts: &[], maps: &[] }
}
