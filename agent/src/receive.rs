//! From the bytes of the ring buffer to records.
//!
//! The bytes come from our own BPF programs, but lengths in them are checked all the same: a record may be one of a
//! recording, and those are files.

use lightfoot_probes_abi::record::{self, MISSING_FIELDS, RecordKind, Text, http_flags};
use thiserror::Error;

use crate::record::{HttpServer, Operation, Parent, ParentRule, Record};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReceiveError {
    /// It ends too early.
    #[error("a record of {0} bytes is cut")]
    Cut(usize),
    /// Another version of the programs wrote it.
    #[error("a record of version {0}, not {expected}", expected = record::VERSION)]
    Version(u8),
    /// It is of a kind that we do not know.
    #[error("a record of the unknown kind {0}")]
    Kind(u8),
}

/// Reads one record.
pub fn record(bytes: &[u8]) -> Result<Record, ReceiveError> {
    let mut reader = Reader { bytes, at: 0 };
    let length = reader.number::<4>()?;
    let [kind, version, cut, missing] = reader.array()?;
    if version != record::VERSION {
        return Err(ReceiveError::Version(version));
    }
    if kind != RecordKind::HttpServer as u8 {
        return Err(ReceiveError::Kind(kind));
    }
    let bytes = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
    let mut reader = Reader { bytes: bytes.ok_or(ReceiveError::Cut(reader.bytes.len()))?, at: reader.at };
    let pid = reader.number_u32()?;
    let _binary = reader.number_u32()?;
    let _goid = reader.number::<8>()?;
    let start = reader.number::<8>()?;
    let end = reader.number::<8>()?;
    let trace_id = reader.array()?;
    let span_id = reader.array()?;
    let parent_span_id: [u8; 8] = reader.array()?;
    let [flags, rule, ..]: [u8; 8] = reader.array()?;
    let (server, trace_state) = http_server(&mut reader, cut, missing)?;
    Ok(Record {
        pid,
        start,
        end,
        trace_id,
        span_id,
        parent: (rule == record::ParentRule::Remote as u8)
            .then_some(Parent { span_id: parent_span_id, rule: ParentRule::Incoming }),
        flags,
        trace_state,
        operation: Operation::HttpServer(server),
    })
}

fn http_server(
    reader: &mut Reader<'_>,
    cut: u8,
    missing: u8,
) -> Result<(HttpServer, Option<String>), ReceiveError> {
    let written = reader.number::<8>()?;
    let status = reader.number_u16()?;
    let flags = reader.number_u16()?;
    let method_length = usize::from(reader.number_u16()?);
    let minor = reader.number_u16()?;
    let mut lengths = [0_u16; Text::COUNT];
    for length in &mut lengths {
        *length = reader.number_u16()?;
    }
    let _reserved: [u8; 4] = reader.array()?;
    let mut texts: [String; Text::COUNT] = Default::default();
    for (text, length) in texts.iter_mut().zip(lengths) {
        *text = String::from_utf8_lossy(reader.take(usize::from(length))?).into_owned();
    }
    let [host, user_agent, trace_state, pattern, request_line, peer] = texts;
    // The method is ASCII if it is anything (net/http refuses others), so its length in bytes holds.
    let (method, target) = match request_line.split_at_checked(method_length) {
        Some((method, target)) => (method.to_owned(), target.strip_prefix(' ').unwrap_or(target).to_owned()),
        None => (request_line, String::new()),
    };
    let has = |flag: u16| flags & flag != 0;
    let (has_panicked, was_hijacked) = (has(http_flags::PANICKED), has(http_flags::HIJACKED));
    let status = match status {
        _ if missing & MISSING_FIELDS != 0 => None,
        // net/http sends 200 where the handler set none, unless it is not asked to send anything.
        0 if has_panicked || was_hijacked => None,
        0 => Some(200),
        status => Some(status),
    };
    let server = HttpServer {
        method,
        target,
        host,
        pattern,
        user_agent,
        peer,
        protocol: (1, u8::try_from(minor).unwrap_or(u8::MAX)),
        status,
        response_size: written,
        is_tls: has(http_flags::TLS),
        has_panicked,
        was_hijacked,
        cut: Text::ALL.into_iter().filter(|text| cut & 1 << *text as u8 != 0).map(name).collect(),
    };
    Ok((server, Some(trace_state).filter(|state| !state.is_empty())))
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

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ReceiveError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(ReceiveError::Cut(self.bytes.len()))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReceiveError> {
        let cut = ReceiveError::Cut(self.bytes.len());
        self.take(N)?.try_into().map_err(|_| cut)
    }

    /// An unsigned number of up to 8 bytes in the host's order, which is little-endian wherever we run.
    fn number<const N: usize>(&mut self) -> Result<u64, ReceiveError> {
        let bytes: [u8; N] = self.array()?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn number_u32(&mut self) -> Result<u32, ReceiveError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn number_u16(&mut self) -> Result<u16, ReceiveError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
}
