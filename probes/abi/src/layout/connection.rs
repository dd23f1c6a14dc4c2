//! Where HTTP clients keep the connections that their requests go over.

use super::NONE;

/// From `net/http.persistConn` to the addresses of its TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ClientConnection {
    /// `conn` in `net/http.persistConn`, an interface.
    pub connection: u64,
    /// The descriptor of `*crypto/tls.Conn`, as an itab has it; not known where nothing of it is linked.
    pub tls_type: u64,
    /// `conn` in `crypto/tls.Conn`, an interface.
    pub tls_connection: u64,
    /// The descriptor of `*net.TCPConn`.
    pub tcp_type: u64,
    /// `fd` in `net.TCPConn`, whose only field is `net.conn`: a pointer.
    pub descriptor: u64,
    /// `laddr` in `net.netFD`, an interface; `raddr`, another one, stands right behind it.
    pub addresses: u64,
    /// The descriptor of `*net.TCPAddr`.
    pub address_type: u64,
    /// `IP` in `net.TCPAddr`, within its first 32 bytes.
    pub ip: u64,
    /// `Port`, in the same way.
    pub port: u64,
}

impl ClientConnection {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        connection: NONE,
        tls_type: NONE,
        tls_connection: NONE,
        tcp_type: NONE,
        descriptor: NONE,
        addresses: NONE,
        address_type: NONE,
        ip: NONE,
        port: NONE,
    };

    /// Whether all is known that connections of HTTP/1 take which are not encrypted.
    pub const fn is_known(&self) -> bool {
        self.connection != NONE && self.knows_addresses()
    }

    /// The same of any that hold a `net.Conn`.
    pub const fn knows_addresses(&self) -> bool {
        self.tcp_type != NONE
            && self.descriptor != NONE
            && self.addresses != NONE
            && self.address_type != NONE
            && self.ip != NONE
            && self.port != NONE
    }
}

/// From an HTTP/2 client's stream to its connection, which a `net.Conn` within holds as [`ClientConnection`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Http2Connection {
    /// `ID` in `clientStream`, 4 bytes.
    pub stream: u64,
    /// `cc` in it, which points to a `ClientConn`.
    pub connection: u64,
    /// `tconn` in that, an interface.
    pub held: u64,
    /// `Header` in the request that the stream is for.
    pub header: u64,
    /// `URL` in it.
    pub url: u64,
}

impl Http2Connection {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { stream: NONE, connection: NONE, held: NONE, header: NONE, url: NONE };

    /// Whether all of it is known; half of it is of no use.
    pub const fn is_known(&self) -> bool {
        self.stream != NONE
            && self.connection != NONE
            && self.held != NONE
            && self.header != NONE
            && self.url != NONE
    }
}
