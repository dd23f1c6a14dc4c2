//! Calls of gRPC.

use std::net::SocketAddr;

use super::{CallError, Connection};

/// A call that was served. Texts are as the client sent them, cut at the limits of `lightfoot-probes-abi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcServer<'a> {
    /// The method: `/package.Service/Method`.
    pub method: &'a str,
    /// The code of the status that was sent; `None` if none was, for the client had gone or the handler panicked.
    pub code: Option<u32>,
    /// What the status says, if it is not OK.
    pub message: &'a str,
    /// The connection's other end, if it is one of TCP.
    pub peer: Option<SocketAddr>,
    /// The name of the unix socket that it is; `@` or empty if it has none.
    pub peer_name: &'a str,
    /// The id of the HTTP/2 stream, if it is known; else 0.
    pub stream: u32,
    /// The messages of a stream, sent and received, if they were counted.
    pub messages: Option<(u64, u64)>,
    /// Whether the handler panicked.
    pub has_panicked: bool,
    /// The texts that were cut at their limit, by the names of the fields above.
    pub cut: &'a [&'static str],
}

/// A call that a client made. Texts are as the program had them, cut at the limits of `lightfoot-probes-abi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcClient<'a> {
    /// The method: `/package.Service/Method`.
    pub method: &'a str,
    /// What the program gave to `grpc.NewClient` or `grpc.Dial`.
    pub target: &'a str,
    /// The code of the status; `None` if there is none, or if it could not be read.
    pub code: Option<u32>,
    /// What the status says, if it is not OK.
    pub message: &'a str,
    /// An error that has no status.
    pub error: Option<CallError<'a>>,
    /// The connection's other end, if it is known and one of TCP.
    pub peer: Option<SocketAddr>,
    /// The name of the unix socket that it is, if that is known.
    pub peer_name: &'a str,
    /// The connection that it went over, if that was looked for and found.
    pub connection: Option<Connection>,
    /// The messages of a stream, sent and received, if they were counted.
    pub messages: Option<(u64, u64)>,
    /// Whether the end is that of a call around this one.
    pub ended_by_outer: bool,
    /// The texts that were cut at their limit, by the names of the fields above.
    pub cut: &'a [&'static str],
}
