//! Where HTTP clients keep the connections that their requests go over.

use lightfoot_probes_abi::layout::{ClientConnection, Http2Connection, NONE};

use super::{Struct, sum};
use crate::catalog::{Layout, grpc, http2, net_http};
use crate::inspect::Program;

/// Nothing unless the two addresses of a connection stand side by side, for they are read at once.
pub(super) fn of_client(program: &Program) -> ClientConnection {
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let (tls, tcp, fd) = (of(&net_http::TLS_CONN), of(&net_http::TCP_CONN), of(&net_http::NET_FD));
    let (local, address) = (fd.offset("laddr"), of(&grpc::TCP_ADDR));
    if local == NONE || fd.offset("raddr") != sum(local, 16) {
        return ClientConnection::UNKNOWN;
    }
    ClientConnection {
        connection: of(&net_http::PERSIST_CONN).offset("conn"),
        tls_type: tls.pointer_type(),
        tls_connection: tls.offset("conn"),
        tcp_type: tcp.pointer_type(),
        descriptor: sum(tcp.offset("conn"), of(&net_http::NET_CONN).offset("fd")),
        addresses: local,
        address_type: address.pointer_type(),
        ip: address.offset("IP"),
        port: address.offset("Port"),
    }
}

/// Of the first of these implementations that the program has.
pub(super) fn of_http2(program: &Program, senders: &[&http2::Sender]) -> Http2Connection {
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let found = senders.iter().map(|sender| Http2Connection {
        stream: of(sender.stream).offset("ID"),
        connection: of(sender.stream).offset("cc"),
        held: of(sender.connection).offset("tconn"),
        header: of(sender.request).offset("Header"),
        url: of(sender.request).offset("URL"),
    });
    found.into_iter().find(Http2Connection::is_known).unwrap_or(Http2Connection::UNKNOWN)
}
