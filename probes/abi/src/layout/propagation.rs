//! What is written to.

use super::NONE;

/// The buffer that a client writes a request to, and what shows that its headers are still those that were searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Propagation {
    /// The descriptor of `*bufio.Writer`, as an itab has it.
    pub writer_type: u64,
    /// `buf` in `bufio.Writer`, a slice.
    pub buffer: u64,
    /// `n` in `bufio.Writer`: how much of it is in use.
    pub used: u64,
    /// The number of headers in a map: `count` in `runtime.hmap`, `used` in `internal/runtime/maps.Map`.
    pub headers: u64,
    /// What a gRPC client's connection encodes headers into.
    pub grpc: GrpcPropagation,
}

/// The buffer that the headers of gRPC calls are encoded into, and what shows that it is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcPropagation {
    /// `side` in grpc-go's `loopyWriter`: 0 of a client.
    pub side: u64,
    /// `hBuf` in `loopyWriter`.
    pub buffer: u64,
    /// `buf` in `bytes.Buffer`, a slice.
    pub bytes: u64,
    /// `off` in `bytes.Buffer`: how much of it was taken.
    pub taken: u64,
    /// `maxSendHeaderListSize` in grpc-go's `http2Client`, a pointer.
    pub list_size: u64,
    /// `framer` in `loopyWriter`.
    pub framer: u64,
    /// `writer` in grpc-go's `framer`.
    pub writer: u64,
    /// `buf` in its `bufWriter`, a slice. Since grpc-go 1.85 `bufHandle`, a pointer to one.
    pub write_buffer: u64,
    /// 1 if it is a pointer.
    pub by_pointer: u64,
    /// `offset` in `bufWriter`: how much of it is in use.
    pub used: u64,
}

impl GrpcPropagation {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        side: NONE,
        buffer: NONE,
        bytes: NONE,
        taken: NONE,
        list_size: NONE,
        framer: NONE,
        writer: NONE,
        write_buffer: NONE,
        by_pointer: NONE,
        used: NONE,
    };

    /// Whether all of it is known; half of it is of no use.
    pub const fn is_known(&self) -> bool {
        self.side != NONE
            && self.buffer != NONE
            && self.bytes != NONE
            && self.taken != NONE
            && self.list_size != NONE
            && self.framer != NONE
            && self.writer != NONE
            && self.write_buffer != NONE
            && self.used != NONE
    }
}

impl Propagation {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { writer_type: NONE, buffer: NONE, used: NONE, headers: NONE, grpc: GrpcPropagation::UNKNOWN };

    /// Whether all of it is known that HTTP/1 needs; half of it is of no use.
    pub const fn is_known(&self) -> bool {
        self.writer_type != NONE && self.buffer != NONE && self.used != NONE && self.headers != NONE
    }
}
