//! Calls of connect, which are HTTP requests.

/// The protocol of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Connect's own for unary calls, whose HTTP status tells whether they went well.
    ConnectUnary,
    /// Connect's own for streams, which tell what became of them behind the last message. Or for a call of a client that may be
    /// one.
    Connect,
    /// gRPC, or gRPC-Web: its status is a trailer.
    Grpc,
}
