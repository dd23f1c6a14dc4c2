//! What an attachment tells the program about the site that was hit.

/// A site's kind. The numbers leave gaps for each library's later sites.
///
/// Unless a kind says otherwise its site is the entry of the named function: the `push %rbp` after the stack check on
/// x86-64, the stack check's branch on arm64 (with [`Cookie::IF_NOT_TAKEN`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SiteKind {
    /// `net/http.serverHandler.ServeHTTP`: a request starts, over HTTP/1 or HTTP/2. HTTP/3 passes here too and is left alone.
    HttpServerStart = 1,
    /// `net/http.(*response).finishRequest`: an HTTP/1 response is complete.
    HttpServerEnd = 2,
    /// An instruction that always runs between the return of the handler and the end of the request, for programs where
    /// profile-guided optimisation inlined `finishRequest`: the `call net/http.(*conn).hijacked` after `ServeHTTP` in
    /// `net/http.(*conn).serve` ([`Cookie::stack_words`] is 1 on x86-64, for the call has not pushed yet), or a return of
    /// `ServeHTTP` itself (0).
    HttpServerEndByDepth = 3,
    /// `net/http.(*conn).serve.func1`: an HTTP/1 connection ends. A request still open has panicked or was hijacked.
    HttpConnectionEnd = 4,
    /// Any instruction where two registers hold a route pattern, as a Go string, that the request's own
    /// `Request.Pattern` will not have; [`Cookie::registers`] tells which. An optional site.
    HttpServerRoute = 5,
    /// An HTTP/2 request starts that need not come to `serverHandler`, and if it does, is the same:
    /// `golang.org/x/net/http2.(*serverConn).runHandler` ([`Cookie::X_NET`]), or since Go 1.27, where golang.org/x/net leaves
    /// serving to net/http, `net/http.http2Handler.ServeHTTP`.
    Http2ServerStart = 6,
    /// `(*serverConn).runHandler.func1`, deferred, of any HTTP/2 server: a stream's handler has returned or panicked.
    Http2ServerEnd = 7,
    /// Any instruction where a register, the first of [`Cookie::registers`], holds the address of the struct from which the
    /// pattern that a router has matched is reached ([`crate::layout::Router`], of which [`Cookie::router`] tells the
    /// number). An optional site.
    HttpServerRouter = 8,
    /// `net/http.(*Transport).RoundTrip`: a client sends a request. Where that is inlined, the call of
    /// `(*Transport).roundTrip` ([`Cookie::stack_words`] is 1 on x86-64, for the call has not pushed yet).
    HttpClientStart = 16,
    /// The same of a transport that net/http's may call: `golang.org/x/net/http2.(*Transport).RoundTrip`. Within an open
    /// client span it is no span of its own.
    HttpClientStartInner = 17,
    /// An instruction behind the call of one of these in its caller, where the results are still in registers
    /// ([`Cookie::stack_words`] is 1 on x86-64: the return address is gone), or their own `ret` (0).
    HttpClientEnd = 18,
    /// `net/http.(*persistConn).roundTrip`: a client's request goes over this connection, which speaks HTTP/1. For the programs that join
    /// alone.
    HttpClientConnection = 19,
    /// `(*clientStream).encodeAndWriteHeaders` of `net/http` or of `golang.org/x/net/http2` ([`Cookie::X_NET`]): a client's request goes
    /// out as this stream, whose goroutine was created by that of the request. For the programs that join alone.
    Http2ClientConnection = 20,
    /// The call of `io.WriteString` in `net/http.(*Request).write`, which ends the headers of a request over HTTP/1: a header can be
    /// added before it. [`Cookie::receiver`] tells where the request is. For the programs that write alone.
    HttpClientHead = 24,
    /// Behind the call of `(*http2Client).createHeaderFields` in `google.golang.org/grpc/internal/transport.(*http2Client).NewStream`:
    /// the list of a call's headers is in registers. [`Cookie::receiver`] tells where the connection is. For the programs that write
    /// alone.
    GrpcClientListed = 25,
    /// The call of `(*http2.Framer).WriteHeaders` in `internal/transport.(*loopyWriter).writeHeader`: they are encoded, and a header can be
    /// added. [`Cookie::receiver`] tells where the writer is. For the programs that write alone.
    GrpcClientHead = 26,
    /// The call of `(*Framer).WriteHeaders` in `(*ClientConn).writeHeaders` of `net/http` or of `golang.org/x/net/http2`
    /// ([`Cookie::X_NET`]): the headers of a request over HTTP/2 are encoded, and a header can be added. [`Cookie::receiver`] tells where the
    /// connection is. For the programs that write alone.
    Http2ClientHead = 27,
    /// `google.golang.org/grpc.(*Server).handleStream`: a gRPC call starts.
    GrpcServerStart = 32,
    /// `internal/transport.(*http2Server).writeStatus`, `WriteStatus` before grpc-go 1.69: its status is sent.
    GrpcServerEnd = 33,
    /// The call of `status.FromError` in `google.golang.org/grpc.(*Server).processUnaryRPC`, on paths that only errors take:
    /// if it gets a `ConnectionError`, the client has gone and no status is sent.
    GrpcServerGone = 34,
    /// `internal/transport.(*serverHandlerTransport).writeStatus`: the same for a call that net/http has received.
    GrpcHandlerStatus = 35,
    /// `google.golang.org/grpc.(*ClientConn).Invoke`: a client makes a unary call.
    GrpcClientStart = 36,
    /// Behind the call of that one or its own `ret`, as for [`Self::HttpClientEnd`].
    GrpcClientEnd = 37,
    /// `google.golang.org/grpc.(*ClientConn).NewStream`: a client opens a stream.
    GrpcStreamStart = 38,
    /// Behind the call of that one or its own `ret`: the stream is there, or has failed.
    GrpcStreamOpened = 39,
    /// The call of `(*clientStream).finish` in the goroutine that each stream of a client has, which ends with it
    /// (`newClientStreamWithParams.func4`).
    GrpcStreamEnd = 40,
    /// An instruction behind the call of `withRetry` in `(*clientStream).SendMsg`, where its error is in registers and the receiver on the
    /// stack ([`Cookie::receiver`]): without an error a message was sent. An optional site, as the next three.
    GrpcClientSent = 41,
    /// The same in `RecvMsg`.
    GrpcClientReceived = 42,
    /// Behind the call of the transport's `Write` in `(*serverStream).SendMsg`.
    GrpcServerSent = 43,
    /// Behind the call of `recv` in `(*serverStream).RecvMsg`.
    GrpcServerReceived = 44,
    /// The call of `(*clientStream).finish` in `(*clientStream).RecvMsg`, and in what `SendMsg` defers: nothing more comes, or the message of a
    /// call could not be sent. A unary call passes one of them on its own goroutine. For the programs that join alone.
    GrpcClientConnection = 45,
}

impl SiteKind {
    /// Whether it is for the programs of gRPC.
    pub const fn is_grpc(self) -> bool {
        self as u8 >= Self::GrpcServerStart as u8 && !self.is_join()
    }

    /// Whether it is for the programs that write.
    pub const fn is_propagation(self) -> bool {
        matches!(
            self,
            Self::HttpClientHead | Self::GrpcClientListed | Self::GrpcClientHead | Self::Http2ClientHead
        )
    }

    /// Whether it is for the programs that join.
    pub const fn is_join(self) -> bool {
        matches!(self, Self::HttpClientConnection | Self::Http2ClientConnection | Self::GrpcClientConnection)
    }

    /// The kind of that number.
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::HttpServerStart),
            2 => Some(Self::HttpServerEnd),
            3 => Some(Self::HttpServerEndByDepth),
            4 => Some(Self::HttpConnectionEnd),
            5 => Some(Self::HttpServerRoute),
            6 => Some(Self::Http2ServerStart),
            7 => Some(Self::Http2ServerEnd),
            8 => Some(Self::HttpServerRouter),
            16 => Some(Self::HttpClientStart),
            17 => Some(Self::HttpClientStartInner),
            18 => Some(Self::HttpClientEnd),
            19 => Some(Self::HttpClientConnection),
            20 => Some(Self::Http2ClientConnection),
            24 => Some(Self::HttpClientHead),
            25 => Some(Self::GrpcClientListed),
            26 => Some(Self::GrpcClientHead),
            27 => Some(Self::Http2ClientHead),
            32 => Some(Self::GrpcServerStart),
            33 => Some(Self::GrpcServerEnd),
            34 => Some(Self::GrpcServerGone),
            35 => Some(Self::GrpcHandlerStatus),
            36 => Some(Self::GrpcClientStart),
            37 => Some(Self::GrpcClientEnd),
            38 => Some(Self::GrpcStreamStart),
            39 => Some(Self::GrpcStreamOpened),
            40 => Some(Self::GrpcStreamEnd),
            41 => Some(Self::GrpcClientSent),
            42 => Some(Self::GrpcClientReceived),
            43 => Some(Self::GrpcServerSent),
            44 => Some(Self::GrpcServerReceived),
            45 => Some(Self::GrpcClientConnection),
            _ => None,
        }
    }

    /// Every kind.
    pub const ALL: [Self; 31] = [
        Self::HttpServerStart,
        Self::HttpServerEnd,
        Self::HttpServerEndByDepth,
        Self::HttpConnectionEnd,
        Self::HttpServerRoute,
        Self::Http2ServerStart,
        Self::Http2ServerEnd,
        Self::HttpServerRouter,
        Self::HttpClientStart,
        Self::HttpClientStartInner,
        Self::HttpClientEnd,
        Self::HttpClientConnection,
        Self::Http2ClientConnection,
        Self::HttpClientHead,
        Self::GrpcClientListed,
        Self::GrpcClientHead,
        Self::Http2ClientHead,
        Self::GrpcServerStart,
        Self::GrpcServerEnd,
        Self::GrpcServerGone,
        Self::GrpcHandlerStatus,
        Self::GrpcClientStart,
        Self::GrpcClientEnd,
        Self::GrpcStreamStart,
        Self::GrpcStreamOpened,
        Self::GrpcStreamEnd,
        Self::GrpcClientSent,
        Self::GrpcClientReceived,
        Self::GrpcServerSent,
        Self::GrpcServerReceived,
        Self::GrpcClientConnection,
    ];
}

/// The 64 bits that come with each attachment.
///
/// | bits | meaning |
/// |---|---|
/// | 0 to 7 | [`SiteKind`] |
/// | 8 | ignore the hit if the conditional branch at the site is taken |
/// | 9 | the binary's second HTTP/2 implementation: that of golang.org/x/net |
/// | 10, 11 | the number of a router |
/// | 12 to 15 | by how many words the stack pointer is above that of the function entry it is compared with |
/// | 16 to 19, 20 to 23 | argument registers with the pointer and the length of a string |
/// | 12 to 23 | or how many words above the stack pointer the receiver stands |
/// | 32 to 63 | the binary's id |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Cookie(pub u64);

impl Cookie {
    /// The flag for sites on a stack check's branch (arm64's `b.ls`): taken, the stack grows and the function starts over.
    pub const IF_NOT_TAKEN: u64 = 1 << 8;

    /// The flag for sites of `golang.org/x/net/http2`.
    pub const X_NET: u64 = 1 << 9;
    /// How many integer registers the programs can choose from; arm64 has more.
    pub const REGISTERS: u8 = 9;

    /// How many words above the stack pointer a receiver can stand.
    pub const RECEIVER: u16 = 0xfff;

    /// The cookie of a site in a binary.
    pub const fn new(binary: u32, kind: SiteKind) -> Self {
        Self((binary as u64) << 32 | kind as u64)
    }

    /// The same of another binary.
    #[must_use]
    pub const fn of_binary(self, binary: u32) -> Self {
        Self(self.0 & 0xffff_ffff | (binary as u64) << 32)
    }

    /// The same with [`Self::IF_NOT_TAKEN`].
    #[must_use]
    pub const fn if_not_taken(self) -> Self {
        Self(self.0 | Self::IF_NOT_TAKEN)
    }

    /// The same with [`Self::X_NET`].
    #[must_use]
    pub const fn of_x_net(self) -> Self {
        Self(self.0 | Self::X_NET)
    }

    /// The same with the stack pointer's distance, up to 15 words.
    #[must_use]
    pub const fn with_stack_words(self, words: u8) -> Self {
        Self(self.0 | ((words & 15) as u64) << 12)
    }

    /// The same with the registers of a string, as positions below [`Self::REGISTERS`] in the order of Go's integer
    /// argument registers.
    #[must_use]
    pub const fn with_registers(self, pointer: u8, length: u8) -> Self {
        Self(self.0 | ((pointer & 15) as u64) << 16 | ((length & 15) as u64) << 20)
    }

    /// The same with the place of the receiver on the stack, up to 4,095 words above the stack pointer.
    #[must_use]
    pub const fn with_receiver(self, words: u16) -> Self {
        Self(self.0 | ((words & Self::RECEIVER) as u64) << 12)
    }

    /// The same with the number of a router, below [`crate::limits::ROUTERS`].
    #[must_use]
    pub const fn with_router(self, number: u8) -> Self {
        Self(self.0 | ((number & 3) as u64) << 10)
    }

    /// The id of the binary that the site belongs to.
    pub const fn binary(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The site's kind, if there is one of that number.
    pub const fn kind(self) -> Option<SiteKind> {
        SiteKind::of(self.0 & 0xff)
    }

    /// Words between the stack pointer here and at the entry of a function called from here.
    pub const fn stack_words(self) -> u64 {
        self.0 >> 12 & 15
    }

    /// The positions of the registers that hold a string's pointer and length.
    pub const fn registers(self) -> (u64, u64) {
        (self.0 >> 16 & 15, self.0 >> 20 & 15)
    }

    /// How many words above the stack pointer the receiver stands.
    pub const fn receiver(self) -> u64 {
        self.0 >> 12 & 0xfff
    }

    /// The number of the router.
    pub const fn router(self) -> u64 {
        self.0 >> 10 & 3
    }
}

/// Tells a site by its address, where the kernel has no cookies (before Linux 5.15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Site {
    /// The process.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
    /// The address of the probed instruction in the process.
    pub address: u64,
}

const _: () = assert!(size_of::<Site>() == 16);

#[cfg(test)]
mod tests {
    use super::{Cookie, SiteKind};

    #[test]
    fn a_cookie_keeps_its_parts_apart() {
        for kind in SiteKind::ALL {
            let cookie = Cookie::new(u32::MAX, kind)
                .if_not_taken()
                .with_router(2)
                .with_stack_words(15)
                .with_registers(3, 12);
            assert_eq!(cookie.kind(), Some(kind));
            assert_eq!(cookie.binary(), u32::MAX);
            assert_eq!((cookie.stack_words(), cookie.registers(), cookie.router()), (15, (3, 12), 2));
            assert_ne!(cookie.0 & Cookie::IF_NOT_TAKEN, 0);
            assert_eq!(cookie.of_binary(7), Cookie(cookie.0 << 32 >> 32 | 7 << 32));
            let received = Cookie::new(u32::MAX, kind).with_router(2).with_receiver(0xabc);
            assert_eq!((received.kind(), received.router(), received.receiver()), (Some(kind), 2, 0xabc));
            let plain = Cookie::new(7, kind);
            assert_eq!((plain.binary(), plain.stack_words(), plain.registers()), (7, 0, (0, 0)));
            assert_eq!((plain.router(), plain.0 & Cookie::X_NET), (0, 0));
            assert_eq!(plain.0 & Cookie::IF_NOT_TAKEN, 0);
        }
    }
}
