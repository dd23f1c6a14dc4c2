//! Records of gRPC calls.

use crate::limits;
use crate::record::{Connection, RecordHeader};

/// A call that was served, or made by a client; [`RecordHeader::kind`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Grpc {
    /// What all records have. Its bits `cut` and `missing` are by [`GrpcText`].
    pub header: RecordHeader,
    /// Client: the descriptor of the type of an error that has no gRPC status, as a virtual address, or
    /// [`crate::record::UNKNOWN_ERROR`]; else 0. Server: the id of the call's HTTP/2 stream, or 0 if it could not be read.
    pub error_type_or_stream: u64,
    /// The code, if [`grpc_flags::HAS_STATUS`].
    pub status: u32,
    /// Bits of [`grpc_flags`].
    pub flags: u16,
    /// The peer's port.
    pub peer_port: u16,
    /// The peer's IP address, the first 4 bytes of it for IPv4. The name of a unix socket is [`GrpcText::Peer`].
    pub peer: [u8; 16],
    /// The length of each string in bytes, by [`GrpcText`].
    pub lengths: [u16; GrpcText::COUNT],
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Grpc>() == 128);

/// How many messages a stream has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Messages {
    /// That were handed over to be sent.
    pub sent: u64,
    /// That came.
    pub received: u64,
}

const _: () = assert!(size_of::<Messages>() == 16);

/// Bits of [`Grpc::flags`].
pub mod grpc_flags {
    /// A status was sent or received.
    pub const HAS_STATUS: u16 = 1 << 0;
    /// Server: the handler panicked, nobody recovered, and the process died of it.
    pub const PANICKED: u16 = 1 << 1;
    /// The peer's address is that of IPv4.
    pub const PEER_V4: u16 = 1 << 2;
    /// The peer's address is that of IPv6.
    pub const PEER_V6: u16 = 1 << 3;
    /// Client: the call is a stream.
    pub const STREAM: u16 = 1 << 4;
    /// Client: the end is that of a call around this one, for the caller was not known yet.
    pub const ENDED_BY_OUTER: u16 = 1 << 5;
    /// Server: the client had gone, so the status was not sent.
    pub const CLIENT_GONE: u16 = 1 << 6;
}

/// The strings of a [`Grpc`] record, in the order in which they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GrpcText {
    /// The method as it is sent: `/package.Service/Method`.
    Method = 0,
    /// Client: what the program gave to `grpc.NewClient` or `grpc.Dial`.
    Target = 1,
    /// `tracestate`, its values joined by commas; only beside a valid `traceparent`. The number is that of
    /// [`crate::record::Text::Tracestate`].
    Tracestate = 2,
    /// Client: a [`Connection`], if the programs look for these.
    Connection = 3,
    /// The name of the unix socket that is the peer; Go calls one without a name `@`.
    Peer = 4,
    /// The message of a status that is not OK.
    Error = 5,
    /// The messages of a stream, if they are counted: a [`Messages`].
    Messages = 6,
}

const _: () = assert!(GrpcText::Tracestate as u32 == crate::record::Text::Tracestate as u32);

impl GrpcText {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All, in their order in the record.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Method,
        Self::Target,
        Self::Tracestate,
        Self::Connection,
        Self::Peer,
        Self::Error,
        Self::Messages,
    ];

    /// The most bytes that are kept.
    pub const fn limit(self) -> usize {
        match self {
            Self::Method => limits::GRPC_METHOD,
            Self::Target => limits::GRPC_TARGET,
            Self::Tracestate => limits::TRACESTATE,
            Self::Connection => size_of::<Connection>(),
            Self::Peer => limits::GRPC_PEER,
            Self::Error => limits::ERROR,
            Self::Messages => size_of::<Messages>(),
        }
    }
}
