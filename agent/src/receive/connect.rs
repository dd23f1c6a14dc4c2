//! What tells the protocol of a call.

use lightfoot_probes_abi::record::{ContentType, Http, http_flags};

use crate::record::Protocol;

/// The protocol that the headers of a served request tell, as its specification has it (connectrpc.com/docs/protocol,
/// PROTOCOL-HTTP2.md and PROTOCOL-WEB.md of grpc/grpc); `None` where they might be those of any request, as
/// `application/json` alone.
pub(super) fn served(http: &Http, method: &str, target: &str) -> Option<Protocol> {
    let is = |kind: ContentType| http.content_type == kind as u16;
    if is(ContentType::Unknown) {
        None
    } else if is(ContentType::Grpc) || is(ContentType::GrpcWeb) {
        Some(Protocol::Grpc)
    } else if is(ContentType::ConnectStream) {
        Some(Protocol::Connect)
    } else if is(ContentType::Proto) || http.flags & http_flags::CONNECT != 0 || is_get(method, target) {
        Some(Protocol::ConnectUnary)
    } else {
        None
    }
}

/// The protocol of a request of a client.
pub(super) fn sent(http: &Http) -> Option<Protocol> {
    (http.flags & http_flags::CONNECT != 0).then_some(Protocol::Connect)
}

/// Whether the query is that of a unary call without side effects, which has no body.
fn is_get(method: &str, target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let has = |wanted: &str| query.split('&').any(|pair| pair.starts_with(wanted));
    method == "GET" && has("connect=v1") && has("encoding=") && has("message=")
}
