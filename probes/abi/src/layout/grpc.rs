//! `google.golang.org/grpc`: where it keeps what is read of its calls.

use super::NONE;

/// Everything that is read of grpc-go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Grpc {
    /// The stream that a server's handler gets.
    pub stream: GrpcStream,
    /// The connection that it came by.
    pub transport: GrpcTransport,
    /// The context in which incoming metadata is.
    pub metadata: GrpcMetadata,
    /// The result of a call.
    pub status: GrpcStatus,
    /// What clients have.
    pub client: GrpcClient,
}

/// The stream of a server, `internal/transport.ServerStream`; before grpc-go 1.69 `internal/transport.Stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcStream {
    /// 1: the struct that has the fields is reached through a pointer, embedded at its start (grpc-go 1.69 to 1.7x).
    pub by_pointer: u64,
    /// How many bytes to read so that the fields below are among them, at most [`crate::limits::SMALL_STRUCT`].
    pub size: u64,
    /// `ctx`, an interface.
    pub ctx: u64,
    /// `method`, a string.
    pub method: u64,
    /// `id`, 4 bytes.
    pub id: u64,
    /// How much deeper than `(*Server).handleStream` a status is written at most, in bytes of stack, when the handler has
    /// returned: `SendMsg` and `RecvMsg` of a stream that fails write one earlier, from further below.
    pub status_depth: u64,
    /// `s` in `grpc.serverStream`, what `SendMsg` and `RecvMsg` are methods of: a pointer to the stream.
    pub of_server: u64,
}

/// `internal/transport.http2Server`, and what else can be in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcTransport {
    /// The descriptor of `*http2Server`.
    pub http2_server: u64,
    /// Where it has the peer's address, a `net.Addr`: `peer.Addr` since grpc-go 1.59, `remoteAddr` before.
    pub peer: u64,
    /// Where `http2Client` has the address of its peer: `remoteAddr`.
    pub server: u64,
    /// Where that has its own address: `localAddr`.
    pub client: u64,
    /// The descriptor of `*net.UnixAddr`.
    pub unix_addr: u64,
    /// `Name` in it, a string.
    pub name: u64,
    /// The descriptor of `*net.TCPAddr`, which has 32 bytes at least: a slice of bytes and a port.
    pub tcp_addr: u64,
    /// `IP` in it.
    pub ip: u64,
    /// `Port` in it.
    pub port: u64,
}

/// `context.valueCtx` with the key of incoming metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcMetadata {
    /// The descriptor of the key's type, `metadata.mdIncomingKey`.
    pub key_type: u64,
    /// `key` in `context.valueCtx`: an interface, whose first word is the address of a descriptor.
    pub key: u64,
    /// `val`: an interface, whose second word is the map's address.
    pub val: u64,
}

/// `internal/status.Status`, and errors that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcStatus {
    /// `s` in it: a pointer to the protocol's `google/rpc.Status`.
    pub proto: u64,
    /// `Code` in that, and where reading starts.
    pub code: u64,
    /// `Message`, from `code` on.
    pub message: u64,
    /// The descriptor of `*internal/status.Error`.
    pub error: u64,
    /// `s` in it: a pointer to the status.
    pub of_error: u64,
    /// The descriptor of `internal/transport.ConnectionError`.
    pub connection_error: u64,
    /// The descriptor of `*fmt.wrapError`, what `fmt.Errorf` makes around one other error.
    pub wrap_error: u64,
    /// `err` in it, an interface: the other error.
    pub wrapped: u64,
}

/// Clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcClient {
    /// `target` in `grpc.ClientConn`, a string.
    pub target: u64,
    /// The descriptor of `*grpc.clientStream`.
    pub stream: u64,
    /// `finished` in it, one byte.
    pub finished: u64,
    /// `desc`: a pointer to a `StreamDesc`.
    pub kind: u64,
    /// `ServerStreams` in that, a byte; another one, `ClientStreams`, stands right behind it. Both are 0 of a unary call.
    pub streams: u64,
    /// `attempt`: a pointer to a `csAttempt`.
    pub attempt: u64,
    /// `t` or `transport` in that, an interface.
    pub transport: u64,
    /// `s` or `transportStream`: a pointer to a stream, which is nil as long as there is no connection.
    pub transport_stream: u64,
    /// `status` in that: a pointer to a status.
    pub status: u64,
    /// A pointer in it to the struct that has the next one; not known where it is part of it.
    pub embedded: u64,
    /// `id`, 4 bytes.
    pub id: u64,
    /// What a unary call leaves behind.
    pub invoke: GrpcInvoke,
}

/// What is below the stack pointer when `(*ClientConn).Invoke` has returned, and its last call was that of `grpc.invoke`: the frame
/// of that one, in which it kept the call's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcInvoke {
    /// How far below the stack pointer at the entry of `Invoke` the lower of the next two begins.
    pub below: u64,
    /// How many bytes to read from there on so that both are among them, at most [`crate::limits::SMALL_STRUCT`].
    pub size: u64,
    /// Where among them the stream stands, an interface: 0 on x86-64.
    pub stream: u64,
    /// Where among them the address stands that `grpc.invoke` has returned to: 0 on arm64.
    pub returned: u64,
    /// That address, as a virtual address.
    pub return_address: u64,
}

impl Grpc {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        stream: GrpcStream {
            by_pointer: 0,
            size: NONE,
            ctx: NONE,
            method: NONE,
            id: NONE,
            status_depth: NONE,
            of_server: NONE,
        },
        transport: GrpcTransport {
            http2_server: NONE,
            peer: NONE,
            server: NONE,
            client: NONE,
            unix_addr: NONE,
            name: NONE,
            tcp_addr: NONE,
            ip: NONE,
            port: NONE,
        },
        metadata: GrpcMetadata { key_type: NONE, key: NONE, val: NONE },
        status: GrpcStatus {
            proto: NONE,
            code: NONE,
            message: NONE,
            error: NONE,
            of_error: NONE,
            connection_error: NONE,
            wrap_error: NONE,
            wrapped: NONE,
        },
        client: GrpcClient {
            target: NONE,
            stream: NONE,
            finished: NONE,
            kind: NONE,
            streams: NONE,
            attempt: NONE,
            transport: NONE,
            transport_stream: NONE,
            status: NONE,
            embedded: NONE,
            id: NONE,
            invoke: GrpcInvoke::UNKNOWN,
        },
    };
}

impl Grpc {
    /// Whether all is known that the connection of a client's call takes.
    pub const fn knows_connections(&self) -> bool {
        self.client.kind != NONE
            && self.client.streams != NONE
            && self.client.transport != NONE
            && self.client.transport_stream != NONE
            && self.client.id != NONE
            && self.transport.server != NONE
            && self.transport.client != NONE
            && self.transport.tcp_addr != NONE
            && self.transport.ip != NONE
            && self.transport.port != NONE
    }
}

impl GrpcInvoke {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { below: NONE, size: NONE, stream: NONE, returned: NONE, return_address: NONE };
}
