//! Records of gRPC calls.

use std::net::{IpAddr, SocketAddr};

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;
use lightfoot_probes_abi::grpc::grpc_flags;
use lightfoot_probes_abi::record::{self, http_flags};
use lightfoot_probes_abi::user::{GrpcTexts, Texts};
use lightfoot_probes_abi::{Grpc, GrpcText, Text};

use super::{connection, text};
use crate::record::{CallError, GrpcClient, GrpcServer};

pub(super) fn server<'a>(call: &Grpc, texts: &GrpcTexts<'a>, arena: &'a Bump) -> GrpcServer<'a> {
    GrpcServer {
        method: text(texts.get(GrpcText::Method), arena),
        code: code(call),
        message: text(texts.get(GrpcText::Error), arena),
        peer: peer(call),
        peer_name: text(texts.get(GrpcText::Peer), arena),
        stream: u32::try_from(call.error_type_or_stream).unwrap_or(0),
        // A unary call looks like a stream without any.
        messages: messages(texts).filter(|messages| *messages != (0, 0)),
        has_panicked: call.flags & grpc_flags::PANICKED != 0,
        cut: cut(call, arena),
    }
}

/// A request of net/http that grpc-go has answered.
pub(super) fn over_net_http<'a>(
    request: &record::Http,
    texts: &Texts<'a>,
    arena: &'a Bump,
) -> GrpcServer<'a> {
    let line = texts.get(Text::RequestLine);
    let (_, target) = line.split_at(line.len().min(usize::from(request.method_length)));
    let target = text(target.strip_prefix(b" ").unwrap_or(target), arena);
    let peer = text(texts.get(Text::Peer), arena);
    let is_cut = |text: Text| request.header.cut & 1 << text as u16 != 0;
    let cut = [(Text::RequestLine, "method"), (Text::Peer, "peer_name"), (Text::Error, "message")];
    let cut = cut.into_iter().filter(|(text, _)| is_cut(*text)).map(|(_, name)| name);
    GrpcServer {
        // grpc-go takes the path alone.
        method: target.split_once('?').map_or(target, |(path, _)| path),
        code: match request.grpc_status {
            record::GRPC_WITHOUT_STATUS => None,
            status => status.checked_sub(1).map(u32::from),
        },
        message: text(texts.get(Text::Error), arena),
        peer: peer.parse().ok(),
        peer_name: if peer.starts_with(['/', '@']) { peer } else { "" },
        stream: u32::try_from(request.error_type_or_stream).unwrap_or(0),
        messages: None,
        has_panicked: request.flags & http_flags::PANICKED != 0,
        cut: ArenaVec::from_iter_in(cut, arena).into_bump_slice(),
    }
}

pub(super) fn client<'a>(call: &Grpc, texts: &GrpcTexts<'a>, arena: &'a Bump) -> GrpcClient<'a> {
    let message = text(texts.get(GrpcText::Error), arena);
    let connection = connection(texts.get(GrpcText::Connection));
    GrpcClient {
        method: text(texts.get(GrpcText::Method), arena),
        target: text(texts.get(GrpcText::Target), arena),
        code: code(call),
        message,
        error: (call.error_type_or_stream != 0).then_some(CallError {
            descriptor: call.error_type_or_stream,
            type_name: None,
            text: message,
        }),
        // With interceptors only the connection tells.
        peer: peer(call).or(connection.map(|connection| connection.peer)),
        peer_name: text(texts.get(GrpcText::Peer), arena),
        connection,
        messages: messages(texts),
        ended_by_outer: call.flags & grpc_flags::ENDED_BY_OUTER != 0,
        cut: cut(call, arena),
    }
}

fn code(call: &Grpc) -> Option<u32> {
    (call.flags & grpc_flags::HAS_STATUS != 0).then_some(call.status)
}

fn peer(call: &Grpc) -> Option<SocketAddr> {
    let [a, b, c, d, ..] = call.peer;
    let address = match call.flags & (grpc_flags::PEER_V4 | grpc_flags::PEER_V6) {
        grpc_flags::PEER_V4 => IpAddr::from([a, b, c, d]),
        // Go keeps those of IPv4 in this form, too.
        grpc_flags::PEER_V6 => IpAddr::from(call.peer).to_canonical(),
        _ => return None,
    };
    Some((address, call.peer_port).into())
}

fn messages(texts: &GrpcTexts<'_>) -> Option<(u64, u64)> {
    let (sent, received) = texts.get(GrpcText::Messages).split_first_chunk()?;
    Some((u64::from_ne_bytes(*sent), u64::from_ne_bytes(received.try_into().ok()?)))
}

fn cut<'a>(call: &Grpc, arena: &'a Bump) -> &'a [&'static str] {
    let cut = GrpcText::ALL.into_iter().filter(|text| call.header.cut & 1 << *text as u16 != 0).map(name);
    ArenaVec::from_iter_in(cut, arena).into_bump_slice()
}

/// A text's name in [`GrpcServer`] and [`GrpcClient`].
fn name(text: GrpcText) -> &'static str {
    match text {
        GrpcText::Method => "method",
        GrpcText::Target => "target",
        GrpcText::Tracestate => "trace_state",
        GrpcText::Connection => "connection",
        GrpcText::Peer => "peer_name",
        GrpcText::Error => "message",
        GrpcText::Messages => "messages",
    }
}
