//! Spans to the bytes of an `ExportTraceServiceRequest` (opentelemetry-proto 1.10), one at a time as they come.
//!
//! What waits for export is then as small as it will ever be, counted to the byte, and sent as often as it takes without
//! being encoded again. Messages are written here, not built from the generated types, which own each key and text: that
//! would be some twenty allocations a span. The generated types are what the tests compare with.

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::{common, resource, trace::v1 as proto};
use opentelemetry_sdk::Resource;
use prost::Message as _;

use crate::join::Link;
use crate::record::{ParentRule, SpanId, TraceId};
use crate::semconv::SCHEMA_URL;
use crate::span::{Span, Status, Value};
use wire::{boolean, bytes, fixed32, fixed64, message, text, varint};

mod json;
mod wire;

/// The form of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// A request under construction: spans of one Resource.
pub(super) struct Request {
    encoding: Encoding,
    /// The encoded Resource, and the URL of its schema.
    resource: Vec<u8>,
    schema_url: String,
    scopes: Vec<Scope>,
}

/// Encoded spans of one scope.
struct Scope {
    name: &'static str,
    spans: Vec<u8>,
}

impl Request {
    pub(super) fn new(encoding: Encoding, resource: &Resource) -> Self {
        let attributes = resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let attributes = proto_attributes(attributes);
        let message = resource::v1::Resource { attributes, ..Default::default() };
        let schema_url = resource.schema_url().unwrap_or_default().to_owned();
        let resource = match encoding {
            Encoding::Protobuf => message.encode_to_vec(),
            Encoding::Json => json::encode(&message),
        };
        Self { encoding, resource, schema_url, scopes: Vec::new() }
    }

    /// Adds a span if it takes at most `room` bytes; returns how many it takes.
    pub(super) fn add(&mut self, span: &Span<'_>, room: usize) -> Result<usize, usize> {
        let position = self.scopes.iter().position(|scope| scope.name == span.scope);
        let index = position.unwrap_or_else(|| {
            self.scopes.push(Scope { name: span.scope, spans: Vec::new() });
            self.scopes.len() - 1
        });
        // Always there: it was found or made above.
        let Some(Scope { spans, .. }) = self.scopes.get_mut(index) else { return Err(0) };
        let before = spans.len();
        match self.encoding {
            Encoding::Protobuf => message(spans, 2, |out| encode(out, span)),
            Encoding::Json => {
                if before > 0 {
                    spans.push(b',');
                }
                json::span(spans, span);
            }
        }
        let size = spans.len() - before;
        if size > room {
            spans.truncate(before);
            return Err(size);
        }
        Ok(size)
    }

    /// The request with all that was added, which starts over.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let scopes = std::mem::take(&mut self.scopes).into_iter().filter(|scope| !scope.spans.is_empty());
        let scopes: Vec<_> = scopes.collect();
        let length: usize = scopes.iter().map(|scope| scope.spans.len() + 256).sum();
        let mut body = Vec::with_capacity(self.resource.len() + length);
        match self.encoding {
            Encoding::Protobuf => message(&mut body, 1, |out| {
                bytes(out, 1, &self.resource);
                for Scope { name, spans } in &scopes {
                    message(out, 2, |out| {
                        bytes(out, 1, &proto_scope(name).encode_to_vec());
                        out.extend_from_slice(spans);
                        text(out, 3, SCHEMA_URL);
                    });
                }
                text(out, 3, &self.schema_url);
            }),
            Encoding::Json => {
                body.extend_from_slice(b"{\"resourceSpans\":[{\"resource\":");
                body.extend_from_slice(&self.resource);
                body.extend_from_slice(b",\"scopeSpans\":[");
                for (index, Scope { name, spans }) in scopes.iter().enumerate() {
                    body.extend_from_slice(if index == 0 { b"{\"scope\":" } else { b",{\"scope\":" });
                    body.extend(json::encode(&proto_scope(name)));
                    body.extend_from_slice(b",\"spans\":[");
                    body.extend_from_slice(spans);
                    body.extend_from_slice(b"],\"schemaUrl\":");
                    body.extend(json::encode(&SCHEMA_URL));
                    body.push(b'}');
                }
                body.extend_from_slice(b"],\"schemaUrl\":");
                body.extend(json::encode(&self.schema_url));
                body.extend_from_slice(b"}]}");
            }
        }
        body
    }
}

fn proto_scope(name: &str) -> common::v1::InstrumentationScope {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    common::v1::InstrumentationScope { name: name.to_owned(), version, ..Default::default() }
}

fn proto_attributes(attributes: impl Iterator<Item = KeyValue>) -> Vec<common::v1::KeyValue> {
    let pair = |pair: KeyValue| common::v1::KeyValue {
        key: pair.key.as_str().to_owned(),
        value: Some(pair.value.into()),
        ..Default::default()
    };
    attributes.map(pair).collect()
}

/// The fields of a `Span` (opentelemetry/proto/trace/v1/trace.proto).
fn encode(out: &mut Vec<u8>, span: &Span<'_>) {
    bytes(out, 1, &span.trace_id);
    bytes(out, 2, &span.span_id);
    text(out, 3, &span.trace_state);
    if let Some(parent) = span.parent {
        bytes(out, 4, &parent.span_id);
    }
    text(out, 5, &span.name);
    varint(out, 6, kind(span) as u64);
    fixed64(out, 7, nanoseconds(span.start_time));
    fixed64(out, 8, nanoseconds(span.end_time));
    for attribute in &span.attributes {
        message(out, 9, |out| {
            text(out, 1, &attribute.key);
            message(out, 2, |out| value(out, &attribute.value));
        });
    }
    varint(out, 10, span.dropped_attributes.into());
    for link in links(span) {
        message(out, 13, |out| {
            bytes(out, 1, &link.trace_id);
            bytes(out, 2, &link.span_id);
            fixed32(out, 6, link.flags);
        });
    }
    message(out, 15, |out| {
        let (code, why) = status(span);
        text(out, 2, why);
        varint(out, 3, code as u64);
    });
    fixed32(out, 16, flags(span));
}

/// The fields of an `AnyValue`: of a oneof, so that empty texts and zeros are written too.
fn value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Text(text) => bytes(out, 1, text.as_bytes()),
        Value::Boolean(value) => boolean(out, 2, *value),
        Value::Integer(number) => wire::number(out, 3, number.cast_unsigned()),
        // An `ArrayValue`: each value is an `AnyValue` again.
        Value::Texts(texts) => message(out, 5, |out| {
            for text in &**texts {
                message(out, 1, |out| bytes(out, 1, text.as_bytes()));
            }
        }),
    }
}

fn kind(span: &Span<'_>) -> proto::span::SpanKind {
    span.kind.clone().into()
}

fn status<'a>(span: &'a Span<'_>) -> (proto::status::StatusCode, &'a str) {
    match &span.status {
        Status::Unset => (proto::status::StatusCode::Unset, ""),
        Status::Error(why) => (proto::status::StatusCode::Error, why),
    }
}

/// The spans that it is linked to, with the flags of these links: that which it goes on from, which is this process's, and that of its
/// other side, which is another's.
fn links(span: &Span<'_>) -> impl Iterator<Item = Linked> + use<> {
    let (has, is_remote) =
        (proto::SpanFlags::ContextHasIsRemoteMask as u32, proto::SpanFlags::ContextIsRemoteMask as u32);
    let (trace_id, flags) = (span.trace_id, span.flags);
    let before = span.continues.map(|span_id| Linked { trace_id, span_id, flags: u32::from(flags) | has });
    let joined = span.joined.map(|Link { trace_id, span_id, flags }| Linked {
        trace_id,
        span_id,
        flags: u32::from(flags) | has | is_remote,
    });
    before.into_iter().chain(joined)
}

/// A link as it is written.
struct Linked {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u32,
}

/// Those of `traceparent`, and whether the parent is another process's.
fn flags(span: &Span<'_>) -> u32 {
    let is_remote = span.parent.is_some_and(|parent| parent.rule == ParentRule::Incoming);
    let remote = if is_remote { proto::SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    u32::from(span.flags) | proto::SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

/// As the SDK has it, what lies before 1970 is 1970.
fn nanoseconds(time: std::time::SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
