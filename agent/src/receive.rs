//! From the bytes of the ring buffer to records of our own.

use lightfoot_probes_abi::record::{self, MISSING_FIELDS, Text, http_flags};
use lightfoot_probes_abi::user::{self, Texts};

use crate::record::{HttpServer, Operation, Parent, ParentRule, Record};

pub use lightfoot_probes_abi::user::RecordError as ReceiveError;

/// Reads one record. The bytes come from our own BPF programs or from a recording, which is a file: lengths in them
/// are checked, and texts need not be UTF-8.
pub fn record(bytes: &[u8]) -> Result<Record, ReceiveError> {
    let user::Record::HttpServer(server, texts) = user::Record::parse(bytes)?;
    let header = server.header;
    let trace_state = text(&texts, Text::Tracestate);
    Ok(Record {
        pid: header.tgid,
        start: header.start,
        end: header.end,
        trace_id: trace_id(header.trace_id),
        span_id: header.span_id.to_ne_bytes(),
        parent: (header.parent_rule == record::ParentRule::Remote as u8)
            .then_some(Parent { span_id: header.parent_span_id.to_ne_bytes(), rule: ParentRule::Incoming }),
        flags: header.trace_flags,
        trace_state: Some(trace_state).filter(|state| !state.is_empty()),
        operation: Operation::HttpServer(http_server(&server, &texts)),
    })
}

fn http_server(server: &record::HttpServer, texts: &Texts<'_>) -> HttpServer {
    let line = texts.get(Text::RequestLine);
    let (method, target) = line.split_at(line.len().min(usize::from(server.method_length)));
    let has = |flag: u16| server.flags & flag != 0;
    let (has_panicked, was_hijacked) = (has(http_flags::PANICKED), has(http_flags::HIJACKED));
    HttpServer {
        method: String::from_utf8_lossy(method).into_owned(),
        target: String::from_utf8_lossy(target.strip_prefix(b" ").unwrap_or(target)).into_owned(),
        host: text(texts, Text::Host),
        pattern: text(texts, Text::Route),
        user_agent: text(texts, Text::UserAgent),
        peer: text(texts, Text::Peer),
        protocol: (1, u8::try_from(server.protocol_minor).unwrap_or(u8::MAX)),
        status: match server.status {
            _ if server.header.missing & MISSING_FIELDS != 0 => None,
            // net/http sends 200 where the handler set none, unless it is not asked to send anything.
            0 if has_panicked || was_hijacked => None,
            0 => Some(200),
            status => Some(status),
        },
        response_size: u64::try_from(server.written).unwrap_or(0),
        is_tls: has(http_flags::TLS),
        has_panicked,
        was_hijacked,
        cut: Text::ALL
            .into_iter()
            .filter(|text| server.header.cut & 1 << *text as u8 != 0)
            .map(name)
            .collect(),
    }
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

/// A text's name in [`HttpServer`].
fn name(text: Text) -> &'static str {
    match text {
        Text::Host => "host",
        Text::UserAgent => "user_agent",
        Text::Tracestate => "trace_state",
        Text::Route => "pattern",
        Text::RequestLine => "target",
        Text::Peer => "peer",
    }
}
