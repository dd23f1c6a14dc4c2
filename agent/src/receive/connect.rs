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

#[cfg(test)]
mod tests {
    use lightfoot_probes_abi::record::{ContentType, Http, http_flags};

    use super::{sent, served};
    use crate::record::Protocol;

    #[test]
    fn protocols_of_served_requests() {
        let told = |content_type: ContentType, flags| {
            let http = Http { content_type: content_type as u16, flags, ..Http::default() };
            served(&http, "POST", "/a.B/C")
        };
        for (content_type, alone, with_version) in [
            (ContentType::Unknown, None, None),
            (ContentType::Other, None, Some(Protocol::ConnectUnary)),
            (ContentType::Proto, Some(Protocol::ConnectUnary), Some(Protocol::ConnectUnary)),
            (ContentType::ConnectStream, Some(Protocol::Connect), Some(Protocol::Connect)),
            (ContentType::Grpc, Some(Protocol::Grpc), Some(Protocol::Grpc)),
            (ContentType::GrpcWeb, Some(Protocol::Grpc), Some(Protocol::Grpc)),
        ] {
            assert_eq!(told(content_type, 0), alone, "{content_type:?}");
            assert_eq!(told(content_type, http_flags::CONNECT), with_version, "{content_type:?}");
        }
        let strange = Http { content_type: 77, ..Http::default() };
        assert_eq!(served(&strange, "POST", "/a.B/C"), None);
    }

    #[test]
    fn calls_by_get() {
        let http = Http { content_type: ContentType::Other as u16, ..Http::default() };
        for (method, target, is_call) in [
            ("GET", "/a.B/C?connect=v1&encoding=json&message=%7B%7D", true),
            ("GET", "/a.B/C?message=&encoding=proto&base64=1&connect=v1", true),
            ("POST", "/a.B/C?connect=v1&encoding=json&message=", false),
            ("GET", "/a.B/C?connect=v1&encoding=json", false),
            ("GET", "/a.B/C?connect=v2&encoding=json&message=", false),
            ("GET", "/a.B/C?reconnect=v1&encoding=json&message=", false),
            ("GET", "/a.B/C", false),
            ("GET", "", false),
        ] {
            assert_eq!(served(&http, method, target).is_some(), is_call, "{method} {target}");
            assert_eq!(served(&Http::default(), method, target), None, "in a program without connect");
        }
    }

    #[test]
    fn requests_of_clients() {
        assert_eq!(sent(&Http::default()), None);
        let http = Http { flags: http_flags::CONNECT, ..Http::default() };
        assert_eq!(sent(&http), Some(Protocol::Connect));
    }
}
