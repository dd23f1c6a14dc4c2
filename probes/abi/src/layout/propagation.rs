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
    /// `buf` in `bytes.Buffer`, a slice: what headers are encoded into for HTTP/2.
    pub bytes: u64,
    /// `off` in `bytes.Buffer`: how much of it was taken.
    pub taken: u64,
    /// What a gRPC client's connection encodes headers into.
    pub grpc: GrpcPropagation,
    /// The same of an HTTP/2 client of `net/http`.
    pub http2: Http2Propagation,
    /// And of `golang.org/x/net/http2`.
    pub x_http2: Http2Propagation,
}

/// What the headers of a request over HTTP/2 are encoded into, and what shows whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Http2Propagation {
    /// Where `(*ClientConn).writeHeaders` returns to in `(*clientStream).encodeAndWriteHeaders`, which calls it for the headers of a
    /// request; trailers have another caller.
    pub return_address: u64,
    /// How far above the place of the former's receiver the latter keeps its request.
    pub request: u64,
    /// `Header` in that request.
    pub header: u64,
    /// `URL` in that request.
    pub url: u64,
    /// `hbuf` in `ClientConn`, a `bytes.Buffer`.
    pub buffer: u64,
    /// `bw` in `ClientConn`, which points to a `bufio.Writer`.
    pub writer: u64,
    /// `peerMaxHeaderListSize` in `ClientConn`.
    pub list_size: u64,
    /// `henc` in `ClientConn`, which points to an `hpack.Encoder`.
    pub encoder: u64,
    /// `maxSize` of the dynamic table in `hpack.Encoder`, 4 bytes.
    pub table_size: u64,
}

impl Http2Propagation {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        return_address: NONE,
        request: NONE,
        header: NONE,
        url: NONE,
        buffer: NONE,
        writer: NONE,
        list_size: NONE,
        encoder: NONE,
        table_size: NONE,
    };

    /// Whether all of it is known; half of it is of no use.
    pub const fn is_known(&self) -> bool {
        self.return_address != NONE
            && self.request != NONE
            && self.header != NONE
            && self.url != NONE
            && self.buffer != NONE
            && self.writer != NONE
            && self.list_size != NONE
            && self.encoder != NONE
            && self.table_size != NONE
    }
}

/// The buffer that the headers of gRPC calls are encoded into, and what shows that it is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrpcPropagation {
    /// `side` in grpc-go's `loopyWriter`: 0 of a client.
    pub side: u64,
    /// `hBuf` in `loopyWriter`.
    pub buffer: u64,
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
    /// `fr` in grpc-go's `framer`, which points to an `http2.Framer`.
    pub frames: u64,
    /// `wbuf` in that, a slice: what each frame is put together in.
    pub frame: u64,
}

impl GrpcPropagation {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        side: NONE,
        buffer: NONE,
        list_size: NONE,
        framer: NONE,
        writer: NONE,
        write_buffer: NONE,
        by_pointer: NONE,
        used: NONE,
        frames: NONE,
        frame: NONE,
    };

    /// Whether all of it is known; half of it is of no use.
    pub const fn is_known(&self) -> bool {
        self.side != NONE
            && self.buffer != NONE
            && self.list_size != NONE
            && self.framer != NONE
            && self.writer != NONE
            && self.write_buffer != NONE
            && self.used != NONE
    }

    /// Whether it is known where frames are put together, too.
    pub const fn knows_frame(&self) -> bool {
        self.frames != NONE && self.frame != NONE
    }
}

impl Propagation {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        writer_type: NONE,
        buffer: NONE,
        used: NONE,
        headers: NONE,
        bytes: NONE,
        taken: NONE,
        grpc: GrpcPropagation::UNKNOWN,
        http2: Http2Propagation::UNKNOWN,
        x_http2: Http2Propagation::UNKNOWN,
    };

    /// Whether all of it is known that HTTP/1 needs; half of it is of no use.
    pub const fn is_known(&self) -> bool {
        self.writer_type != NONE && self.buffer != NONE && self.used != NONE && self.headers != NONE
    }

    /// Whether all of it is known that any HTTP/2 needs.
    pub const fn knows_encoded(&self) -> bool {
        self.bytes != NONE && self.taken != NONE
    }
}
