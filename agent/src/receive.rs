//! From the bytes of the ring buffer to records of our own.

use lightfoot_probes_abi::record::{self, MISSING_FIELDS, Text, http_flags};
use lightfoot_probes_abi::user::{self, Texts};

use crate::record::{CallError, HttpClient, HttpServer, Operation, Parent, ParentRule, PathForm, Record};

pub use lightfoot_probes_abi::user::RecordError as ReceiveError;

/// Reads one record. The bytes come from our own BPF programs or from a recording, which is a file: lengths in them
/// are checked, and texts need not be UTF-8.
pub fn record(bytes: &[u8]) -> Result<Record, ReceiveError> {
    let parsed = user::Record::parse(bytes)?;
    let (user::Record::HttpServer(http, texts) | user::Record::HttpClient(http, texts)) = parsed;
    let header = http.header;
    let trace_state = text(&texts, Text::Tracestate);
    Ok(Record {
        pid: header.tgid,
        start: header.start,
        end: header.end,
        trace_id: trace_id(header.trace_id),
        span_id: header.span_id.to_ne_bytes(),
        parent: rule(header.parent_rule)
            .map(|rule| Parent { span_id: header.parent_span_id.to_ne_bytes(), rule }),
        flags: header.trace_flags,
        trace_state: Some(trace_state).filter(|state| !state.is_empty()),
        operation: match parsed {
            user::Record::HttpServer(..) => Operation::HttpServer(http_server(&http, &texts)),
            user::Record::HttpClient(..) => Operation::HttpClient(http_client(&http, &texts)),
        },
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

fn http_client(client: &record::Http, texts: &Texts<'_>) -> HttpClient {
    let line = texts.get(Text::RequestLine);
    let (method, target) = line.split_at(line.len().min(usize::from(client.method_length)));
    let target = target.strip_prefix(b" ").unwrap_or(target);
    let (path, query) = target.split_at(target.len().min(usize::from(client.path_length)));
    let has = |flag: u16| client.flags & flag != 0;
    HttpClient {
        method: String::from_utf8_lossy(method).into_owned(),
        scheme: match text(texts, Text::Scheme) {
            scheme if !scheme.is_empty() => scheme,
            _ if has(http_flags::TLS) => "https".to_owned(),
            _ => "http".to_owned(),
        },
        host: text(texts, Text::Host),
        path: String::from_utf8_lossy(path).into_owned(),
        path_form: match () {
            () if has(http_flags::OPAQUE) => PathForm::Opaque,
            () if has(http_flags::DECODED_PATH) => PathForm::Decoded,
            () => PathForm::Encoded,
        },
        query: query.strip_prefix(b"?").map(|query| String::from_utf8_lossy(query).into_owned()),
        has_user_info: has(http_flags::USER_INFO),
        protocol: (client.protocol_major, client.protocol_minor),
        status: Some(client.status).filter(|status| *status != 0),
        resend_count: client.resend_count,
        error: (client.error_type != 0).then(|| CallError {
            descriptor: client.error_type,
            type_name: None,
            text: text(texts, Text::Error),
        }),
        ended_by_outer: has(http_flags::ENDED_BY_OUTER),
        cut: cut(client),
    }
}

fn cut(http: &record::Http) -> Vec<&'static str> {
    Text::ALL.into_iter().filter(|text| http.header.cut & 1 << *text as u16 != 0).map(name).collect()
}

fn http_server(server: &record::Http, texts: &Texts<'_>) -> HttpServer {
    let line = texts.get(Text::RequestLine);
    let (method, target) = line.split_at(line.len().min(usize::from(server.method_length)));
    let has = |flag: u16| server.flags & flag != 0;
    let (has_panicked, was_hijacked) = (has(http_flags::PANICKED), has(http_flags::HIJACKED));
    HttpServer {
        method: String::from_utf8_lossy(method).into_owned(),
        target: String::from_utf8_lossy(target.strip_prefix(b" ").unwrap_or(target)).into_owned(),
        host: text(texts, Text::Host),
        pattern: {
            let pattern = text(texts, Text::Route);
            if has(http_flags::ROUTE_IN_PIECES) { joined(&pattern) } else { pattern }
        },
        user_agent: text(texts, Text::UserAgent),
        peer: text(texts, Text::Peer),
        protocol: (server.protocol_major, server.protocol_minor),
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
        cut: {
            let mut cut = cut(server);
            if cut.contains(&name(Text::RequestLine)) && target.is_empty() {
                cut.push("method");
            }
            cut
        },
    }
}

/// What nested routers have matched, as chi says it (`(*Context).RoutePattern`, context.go of chi 5.5): but for the last one each
/// piece ends with the wildcard for the rest, which the next one stands for.
fn joined(pieces: &str) -> String {
    let mut pattern = pieces.to_owned();
    while pattern.contains("/*/") {
        pattern = pattern.replace("/*/", "/");
    }
    let trimmed = pattern.strip_suffix("//").unwrap_or(&pattern);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    if pattern == "/" { pattern } else { trimmed.to_owned() }
}

fn trace_id([first, second]: [u64; 2]) -> [u8; 16] {
    let mut id = [0; 16];
    let halves = first.to_ne_bytes().into_iter().chain(second.to_ne_bytes());
    for (byte, from) in id.iter_mut().zip(halves) {
        *byte = from;
    }
    id
}

fn text(texts: &Texts<'_>, text: Text) -> String {
    String::from_utf8_lossy(texts.get(text)).into_owned()
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

    use lightfoot_probes_abi::record::{RecordHeader, VERSION, http_flags};
    use lightfoot_probes_abi::{Http, RecordKind, Text};

    use super::*;

    /// What is made of a server's record of HTTP/2.
    fn server(status: u16, flags: u16, cut: u16, texts: &[(Text, &str)]) -> HttpServer {
        let mut bytes = vec![0; size_of::<Http>()];
        for text in Text::ALL {
            let value = texts.iter().find(|(of, _)| *of == text).map_or("", |(_, value)| value);
            let length = u16::try_from(value.len()).unwrap();
            put(&mut bytes, offset_of!(Http, lengths) + 2 * text as usize, &length.to_ne_bytes());
            bytes.extend(value.bytes());
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
        let Operation::HttpServer(server) = record(&bytes).unwrap().operation else { panic!("a server's") };
        server
    }

    fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    }

    #[test]
    fn a_request_over_http2() {
        let texts = [(Text::Host, "shop.test"), (Text::RequestLine, "GET /a?b"), (Text::Peer, "[::1]:2")];
        let server = server(204, http_flags::WROTE_HEADER | http_flags::TLS, 0, &texts);
        assert_eq!((server.method.as_str(), server.target.as_str()), ("GET", "/a?b"));
        assert_eq!((server.host.as_str(), server.peer.as_str()), ("shop.test", "[::1]:2"));
        assert_eq!((server.protocol, server.is_tls, server.status), ((2, 0), true, Some(204)));
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
            ("/", "/"),
            ("", ""),
        ];
        for (pieces, route) in cases {
            let pattern = |flags| server(200, flags, 0, &[(Text::Route, pieces)]).pattern;
            assert_eq!(pattern(http_flags::ROUTE_IN_PIECES), route);
            assert_eq!(pattern(0), pieces);
        }
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
            assert_eq!(server(status, flags, 0, &[]).status, expected, "{status} {flags}");
        }
    }

    #[test]
    fn a_method_that_takes_all_the_room_is_cut_as_well() {
        let cut = 1 << Text::RequestLine as u16;
        let whole = server(200, 0, cut, &[(Text::RequestLine, "GET /long")]);
        assert_eq!(whole.cut, ["target"]);
        let cut = server(200, 0, cut, &[(Text::RequestLine, "GET")]);
        assert_eq!((cut.method.as_str(), cut.target.as_str()), ("GET", ""));
        assert_eq!(cut.cut, ["target", "method"]);
    }
}
