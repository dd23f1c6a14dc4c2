//! `connectrpc.com/connect`: its calls are requests of `net/http`, and add to their spans.
//!
//! No code of it is probed. What a program has of it tells what else is to be read of requests (sources of connect 1.11 to
//! 1.21, and of connect-go 1.10, as it was called before).

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

/// All of these.
pub fn functions() -> impl Iterator<Item = &'static str> {
    SERVERS.into_iter().chain([OF_MESSAGE, OF_NOTHING, OTHER_PROTOCOL])
}
