//! From the bytes of the ring buffer to records of our own.

use std::net::{IpAddr, SocketAddr};

use bumpalo::Bump;
use bumpalo::collections::{String as ArenaString, Vec as ArenaVec};
use lightfoot_probes_abi::record::{self, MISSING_FIELDS, RecordHeader, Text, http_flags};
use lightfoot_probes_abi::user::{self, Texts};
use lightfoot_probes_abi::{GrpcText, segment};

use crate::record::{
    CallError, Connection, HttpClient, HttpServer, Operation, Parent, ParentRule, PathForm, Record, Segment,
};

mod connect;
mod grpc;
mod headers;

pub use lightfoot_probes_abi::user::RecordError as ReceiveError;

/// Reads one record. The bytes come from our own BPF programs or from a recording, which is a file: lengths in them
/// are checked, and texts need not be UTF-8: what is no character is replaced, in a copy in `arena`.
pub fn record<'a>(bytes: &'a [u8], arena: &'a Bump) -> Result<Record<'a>, ReceiveError> {
    let parsed = user::Record::parse(bytes)?;
    let (header, trace_state) = match &parsed {
        user::Record::HttpServer(http, texts) | user::Record::HttpClient(http, texts) => {
            (http.header, texts.get(Text::Tracestate))
        }
        user::Record::GrpcServer(grpc, texts) | user::Record::GrpcClient(grpc, texts) => {
            (grpc.header, texts.get(GrpcText::Tracestate))
        }
    };
    Ok(Record {
        pid: header.tgid,
        start: header.start,
        end: header.end,
        trace_id: trace_id(header.trace_id),
        span_id: header.span_id.to_ne_bytes(),
        parent: rule(header.parent_rule)
            .map(|rule| Parent { span_id: header.parent_span_id.to_ne_bytes(), rule }),
        flags: header.trace_flags,
        trace_state: Some(text(trace_state, arena)).filter(|state| !state.is_empty()),
        segment: segment(&header),
        operation: match parsed {
            user::Record::HttpServer(http, texts) if http.grpc_status != 0 => {
                Operation::GrpcServer(grpc::over_net_http(&http, &texts, arena))
            }
            user::Record::HttpServer(http, texts) => Operation::HttpServer(http_server(&http, &texts, arena)),
            user::Record::HttpClient(http, texts) => Operation::HttpClient(http_client(&http, &texts, arena)),
            user::Record::GrpcServer(call, texts) => {
                Operation::GrpcServer(grpc::server(&call, &texts, arena))
            }
            user::Record::GrpcClient(call, texts) => {
                Operation::GrpcClient(grpc::client(&call, &texts, arena))
            }
        },
    })
}

fn segment(header: &RecordHeader) -> Option<Segment> {
    let number = header.segment & !segment::OPEN;
    (number != 0).then(|| Segment {
        number,
        is_open: header.segment & segment::OPEN != 0,
        before: (number > 1).then(|| segment::id_before(header.span_id, number).to_ne_bytes()),
    })
}

fn rule(number: u8) -> Option<ParentRule> {
    [
        (record::ParentRule::Remote, ParentRule::Incoming),
        (record::ParentRule::Context, ParentRule::Context),
        (record::ParentRule::Goroutine, ParentRule::Goroutine),
        (record::ParentRule::ParentGoroutine, ParentRule::ParentGoroutine),
    ]
    .into_iter()
    .find_map(|(of, rule)| (of as u8 == number).then_some(rule))
}

fn http_client<'a>(client: &record::Http, texts: &Texts<'a>, arena: &'a Bump) -> HttpClient<'a> {
    let line = texts.get(Text::RequestLine);
    let (method, target) = line.split_at(line.len().min(usize::from(client.method_length)));
    let target = target.strip_prefix(b" ").unwrap_or(target);
    let (path, query) = target.split_at(target.len().min(usize::from(client.path_length)));
    let has = |flag: u16| client.flags & flag != 0;
    let text = |bytes: &'a [u8]| text(bytes, arena);
    HttpClient {
        method: text(method),
        scheme: match text(texts.get(Text::Scheme)) {
            scheme if !scheme.is_empty() => scheme,
            _ if has(http_flags::TLS) => "https",
            _ => "http",
        },
        host: text(texts.get(Text::Host)),
        path: text(path),
        path_form: match () {
            () if has(http_flags::OPAQUE) => PathForm::Opaque,
            () if has(http_flags::DECODED_PATH) => PathForm::Decoded,
            () => PathForm::Encoded,
        },
        query: query.strip_prefix(b"?").map(text),
        has_user_info: has(http_flags::USER_INFO),
        protocol: (client.protocol_major, client.protocol_minor),
        status: Some(client.status).filter(|status| *status != 0),
        has_body: client.size != 0 && line.split(|byte| *byte == b' ').next() != Some(b"HEAD"),
        connection: connection(texts.get(Text::Peer)),
        resend_count: client.resend_count,
        error: (client.error_type_or_stream != 0).then(|| CallError {
            descriptor: client.error_type_or_stream,
            type_name: None,
            text: text(texts.get(Text::Error)),
        }),
        ended_by_outer: has(http_flags::ENDED_BY_OUTER),
        rpc: connect::sent(client),
        cut: cut(client, arena).into_bump_slice(),
    }
}

/// Nothing if there is none, or it was not found.
fn connection(bytes: &[u8]) -> Option<Connection> {
    let connection = record::Connection::of(bytes)?;
    let [local, peer] = [0, 1].map(|end| {
        let address = connection.addresses.get(end)?;
        let ip = match connection.lengths.get(end)? {
            4 => IpAddr::from(*address.first_chunk::<4>()?),
            16 => IpAddr::from(*address),
            _ => return None,
        };
        Some(SocketAddr::new(ip.to_canonical(), *connection.ports.get(end)?))
    });
    let stream = u32::try_from(connection.stream).ok()?;
    Some(Connection { since: connection.since, local: local?, peer: peer?, stream })
}

fn cut<'a>(http: &record::Http, arena: &'a Bump) -> ArenaVec<'a, &'static str> {
    let is_cut = |text: &Text| http.header.cut & 1 << *text as u16 != 0;
    ArenaVec::from_iter_in(Text::ALL.into_iter().filter(is_cut).map(name), arena)
}

fn http_server<'a>(server: &record::Http, texts: &Texts<'a>, arena: &'a Bump) -> HttpServer<'a> {
    let line = texts.get(Text::RequestLine);
    let (method, target) = line.split_at(line.len().min(usize::from(server.method_length)));
    let has = |flag: u16| server.flags & flag != 0;
    let (has_panicked, was_hijacked) = (has(http_flags::PANICKED), has(http_flags::HIJACKED));
    let text = |bytes: &'a [u8]| text(bytes, arena);
    let method = text(method);
    let whole_target = text(target.strip_prefix(b" ").unwrap_or(target));
    HttpServer {
        method,
        target: whole_target,
        host: text(texts.get(Text::Host)),
        pattern: {
            let pattern = text(texts.get(Text::Route));
            if has(http_flags::ROUTE_IN_PIECES) { joined(pattern, arena) } else { pattern }
        },
        user_agent: text(texts.get(Text::UserAgent)),
        peer: text(texts.get(Text::Peer)),
        protocol: (server.protocol_major, server.protocol_minor),
        stream: u32::try_from(server.error_type_or_stream).unwrap_or(0),
        status: match server.status {
            _ if server.header.missing & MISSING_FIELDS != 0 => None,
            // net/http sends 200 where the handler set none, unless it is not asked to send anything.
            0 if has_panicked || was_hijacked => None,
            0 => Some(200),
            status => Some(status),
        },
        response_size: u64::try_from(server.size).unwrap_or(0),
        is_tls: has(http_flags::TLS),
        has_panicked,
        was_hijacked,
        rpc: connect::served(server, method, whole_target),
        headers: headers::headers(texts, arena),
        is_forwarded: has(http_flags::FORWARDED),
        cut: {
            let mut cut = cut(server, arena);
            if server.header.cut & record::CUT_HEADERS != 0 {
                cut.push("headers");
            }
            if cut.contains(&name(Text::RequestLine)) && target.is_empty() {
                cut.push("method");
            }
            cut.into_bump_slice()
        },
    }
}

/// What nested routers have matched, as chi says it (`(*Context).RoutePattern`, context.go of chi 5.5): but for the last one each
/// piece ends with the wildcard for the rest, which the next one stands for.
fn joined<'a>(pieces: &str, arena: &'a Bump) -> &'a str {
    let mut pattern = ArenaString::with_capacity_in(pieces.len(), arena);
    let last = pieces.matches('/').count();
    for (index, part) in pieces.split('/').enumerate() {
        if part == "*" && index != 0 && index != last {
            continue;
        }
        if index != 0 {
            pattern.push('/');
        }
        pattern.push_str(part);
    }
    let pattern = pattern.into_bump_str();
    let trimmed = pattern.strip_suffix("//").unwrap_or(pattern);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    if pattern == "/" { pattern } else { trimmed }
}

fn trace_id([first, second]: [u64; 2]) -> [u8; 16] {
    let mut id = [0; 16];
    let halves = first.to_ne_bytes().into_iter().chain(second.to_ne_bytes());
    for (byte, from) in id.iter_mut().zip(halves) {
        *byte = from;
    }
    id
}

fn text<'a>(bytes: &'a [u8], arena: &'a Bump) -> &'a str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => ArenaString::from_utf8_lossy_in(bytes, arena).into_bump_str(),
    }
}

/// A text's name in [`HttpServer`] and [`HttpClient`].
fn name(text: Text) -> &'static str {
    match text {
        Text::Host => "host",
        Text::UserAgent => "user_agent",
        Text::Tracestate => "trace_state",
        Text::Route => "pattern",
        Text::RequestLine => "target",
        Text::Peer => "peer",
        Text::Scheme => "scheme",
        Text::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use lightfoot_probes_abi::record::{VERSION, http_flags};
    use lightfoot_probes_abi::{Http, RecordKind, Text};

    use super::*;
    use crate::record::RequestHeader;

    /// The bytes of a server's record of HTTP/2.
    fn server(status: u16, flags: u16, cut: u16, texts: &[(Text, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Http>()];
        for text in Text::ALL {
            let value = texts.iter().find(|(of, _)| *of == text).map_or(&b""[..], |(_, value)| value);
            let length = u16::try_from(value.len()).unwrap();
            put(&mut bytes, offset_of!(Http, lengths) + 2 * text as usize, &length.to_ne_bytes());
            bytes.extend(value);
        }
        let length = u32::try_from(bytes.len()).unwrap();
        put(&mut bytes, offset_of!(RecordHeader, length), &length.to_ne_bytes());
        put(&mut bytes, offset_of!(RecordHeader, kind), &[RecordKind::HttpServer as u8]);
        put(&mut bytes, offset_of!(RecordHeader, version), &[VERSION]);
        put(&mut bytes, offset_of!(RecordHeader, cut), &cut.to_ne_bytes());
        put(&mut bytes, offset_of!(Http, protocol_major), &[2]);
        put(&mut bytes, offset_of!(Http, method_length), &3_u16.to_ne_bytes());
        put(&mut bytes, offset_of!(Http, status), &status.to_ne_bytes());
        put(&mut bytes, offset_of!(Http, flags), &flags.to_ne_bytes());
        bytes
    }

    fn read<'a>(bytes: &'a [u8], arena: &'a Bump) -> HttpServer<'a> {
        let Operation::HttpServer(server) = record(bytes, arena).unwrap().operation else {
            panic!("a server's")
        };
        server
    }

    fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    }

    #[test]
    fn a_request_over_http2() {
        let texts: [(_, &[u8]); _] =
            [(Text::Host, b"shop.test"), (Text::RequestLine, b"GET /a?b"), (Text::Peer, b"[::1]:2")];
        let (bytes, arena) =
            (server(204, http_flags::WROTE_HEADER | http_flags::TLS, 0, &texts), Bump::new());
        let server = read(&bytes, &arena);
        assert_eq!((server.method, server.target), ("GET", "/a?b"));
        assert_eq!((server.host, server.peer), ("shop.test", "[::1]:2"));
        assert_eq!((server.protocol, server.is_tls, server.status), ((2, 0), true, Some(204)));
    }

    #[test]
    fn what_is_no_character_is_replaced() {
        for text in [&b"/\xff"[..], b"a\xf0\x9f\x98", b"\xed\xa0\x80/\xc3\xbc", b"\x80\x80", b"\xfc\xfd"] {
            let (bytes, arena) = (server(200, 0, 0, &[(Text::Route, text)]), Bump::new());
            assert_eq!(read(&bytes, &arena).pattern, String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn pieces_of_a_route_are_joined_as_chi_does() {
        let cases = [
            ("/group/*/inner/*/{id}", "/group/inner/{id}"),
            ("/files/*", "/files/*"),
            ("/a/*/*/*/b/*", "/a/b/*"),
            ("/trailing/", "/trailing"),
            ("/mounted/*/", "/mounted"),
            ("/twice//", "/twice"),
            ("/*/", "/"),
            ("*/a", "*/a"),
            ("/", "/"),
            ("", ""),
        ];
        for (pieces, route) in cases {
            for (flags, expected) in [(http_flags::ROUTE_IN_PIECES, route), (0, pieces)] {
                let bytes = server(200, flags, 0, &[(Text::Route, pieces.as_bytes())]);
                assert_eq!(read(&bytes, &Bump::new()).pattern, expected);
            }
        }
    }

    #[test]
    fn values_of_headers_are_listed_by_name_in_lower_case() {
        let block = b"\x18\0\x02\0\x01\x03X-BvW\x01\0\x03\0x\x01\0\0\x03X-A\xff";
        let mut bytes = server(200, http_flags::HEADERS | http_flags::FORWARDED, record::CUT_HEADERS, &[]);
        bytes.extend(block);
        let length = u32::try_from(bytes.len()).unwrap();
        put(&mut bytes, offset_of!(RecordHeader, length), &length.to_ne_bytes());
        let arena = Bump::new();
        let server = read(&bytes, &arena);
        let header = |name, values, is_shown, is_cut| RequestHeader { name, values, is_shown, is_cut };
        let expected =
            [header("x-a", &["\u{fffd}"][..], false, false), header("x-b", &["vW", "x"][..], true, true)];
        assert_eq!(
            (server.headers, server.is_forwarded, server.cut),
            (&expected[..], true, &["headers"][..])
        );
    }

    /// `handlerDone` sends 200 for a handler that said nothing; a handler that panicked gets its stream reset.
    #[test]
    fn statuses_of_http2() {
        let cases = [
            (0, 0, Some(200)),
            (404, http_flags::WROTE_HEADER, Some(404)),
            (0, http_flags::PANICKED, None),
            (202, http_flags::WROTE_HEADER | http_flags::PANICKED, Some(202)),
        ];
        for (status, flags, expected) in cases {
            let bytes = server(status, flags, 0, &[]);
            assert_eq!(read(&bytes, &Bump::new()).status, expected, "{status} {flags}");
        }
    }

    #[test]
    fn a_method_that_takes_all_the_room_is_cut_as_well() {
        let cut = 1 << Text::RequestLine as u16;
        let cases = [("GET /long", "/long", &["target"][..]), ("GET", "", &["target", "method"])];
        for (line, target, fields) in cases {
            let (bytes, arena) = (server(200, 0, cut, &[(Text::RequestLine, line.as_bytes())]), Bump::new());
            let server = read(&bytes, &arena);
            assert_eq!((server.method, server.target, server.cut), ("GET", target, fields));
        }
    }
}
