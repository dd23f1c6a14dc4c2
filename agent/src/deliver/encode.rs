//! Spans to the bytes of an `ExportTraceServiceRequest` (opentelemetry-proto 1.10), one at a time as they come.
//!
//! What waits for export is then as small as it will ever be, counted to the byte, and sent as often as it takes without
//! being encoded again. Messages are written here, not built from the generated types, which own each key and text: that
//! would be some twenty allocations a span. The generated types are what the tests compare with.

use opentelemetry::trace::{SpanId, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_proto::tonic::{common, resource, trace::v1 as proto};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

use wire::{boolean, bytes, double, fixed32, fixed64, message, text, varint};

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
    scope: InstrumentationScope,
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
            Encoding::Json => json(&message),
        };
        Self { encoding, resource, schema_url, scopes: Vec::new() }
    }

    /// Adds a span if it takes at most `room` bytes; returns how many it takes.
    pub(super) fn add(&mut self, span: &SpanData, room: usize) -> Result<usize, usize> {
        let position = self.scopes.iter().position(|scope| scope.scope == span.instrumentation_scope);
        let index = position.unwrap_or_else(|| {
            self.scopes.push(Scope { scope: span.instrumentation_scope.clone(), spans: Vec::new() });
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
                spans.extend(json(&proto::Span::from(span.clone())));
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
                for Scope { scope, spans } in &scopes {
                    message(out, 2, |out| {
                        bytes(out, 1, &proto_scope(scope).encode_to_vec());
                        out.extend_from_slice(spans);
                        text(out, 3, scope.schema_url().unwrap_or_default());
                    });
                }
                text(out, 3, &self.schema_url);
            }),
            Encoding::Json => {
                body.extend_from_slice(b"{\"resourceSpans\":[{\"resource\":");
                body.extend_from_slice(&self.resource);
                body.extend_from_slice(b",\"scopeSpans\":[");
                for (index, Scope { scope, spans }) in scopes.iter().enumerate() {
                    body.extend_from_slice(if index == 0 { b"{\"scope\":" } else { b",{\"scope\":" });
                    body.extend(json(&proto_scope(scope)));
                    body.extend_from_slice(b",\"spans\":[");
                    body.extend_from_slice(spans);
                    body.extend_from_slice(b"],\"schemaUrl\":");
                    body.extend(json(&scope.schema_url().unwrap_or_default()));
                    body.push(b'}');
                }
                body.extend_from_slice(b"],\"schemaUrl\":");
                body.extend(json(&self.schema_url));
                body.extend_from_slice(b"}]}");
            }
        }
        body
    }
}

/// A struct of texts and numbers always has a form in JSON.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn proto_scope(scope: &InstrumentationScope) -> common::v1::InstrumentationScope {
    (scope, None).into()
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
fn encode(out: &mut Vec<u8>, span: &SpanData) {
    let context = &span.span_context;
    if !span.events.is_empty() || !span.links.is_empty() {
        // Lightfoot makes none today; what comes with them is not worth code of its own.
        return out.extend(proto::Span::from(span.clone()).encode_to_vec());
    }
    bytes(out, 1, &context.trace_id().to_bytes());
    bytes(out, 2, &context.span_id().to_bytes());
    text(out, 3, &context.trace_state().header());
    if span.parent_span_id != SpanId::INVALID {
        bytes(out, 4, &span.parent_span_id.to_bytes());
    }
    text(out, 5, &span.name);
    varint(out, 6, proto::span::SpanKind::from(span.span_kind.clone()) as u64);
    fixed64(out, 7, nanoseconds(span.start_time));
    fixed64(out, 8, nanoseconds(span.end_time));
    for attribute in &span.attributes {
        message(out, 9, |out| {
            text(out, 1, attribute.key.as_str());
            message(out, 2, |out| value(out, &attribute.value));
        });
    }
    varint(out, 10, span.dropped_attributes_count.into());
    varint(out, 12, span.events.dropped_count.into());
    varint(out, 14, span.links.dropped_count.into());
    message(out, 15, |out| {
        if let Status::Error { description } = &span.status {
            text(out, 2, description);
        }
        varint(out, 3, proto::status::StatusCode::from(&span.status) as u64);
    });
    let remote = if span.parent_span_is_remote { proto::SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    let known = proto::SpanFlags::ContextHasIsRemoteMask as u32;
    fixed32(out, 16, u32::from(context.trace_flags().to_u8()) | known | remote);
}

/// The fields of an `AnyValue`: of a oneof, so that empty texts and zeros are written too.
fn value(out: &mut Vec<u8>, value: &Value) {
    let string = |out: &mut Vec<u8>, text: &str| bytes(out, 1, text.as_bytes());
    let integer = |out: &mut Vec<u8>, number: i64| wire::number(out, 3, number.cast_unsigned());
    match value {
        Value::String(text) => string(out, text.as_str()),
        Value::Bool(value) => boolean(out, 2, *value),
        Value::I64(number) => integer(out, *number),
        Value::F64(number) => double(out, 4, *number),
        Value::Array(Array::Bool(values)) => array(out, values, |out, value| boolean(out, 2, *value)),
        Value::Array(Array::I64(values)) => array(out, values, |out, value| integer(out, *value)),
        Value::Array(Array::F64(values)) => array(out, values, |out, value| double(out, 4, *value)),
        Value::Array(Array::String(values)) => array(out, values, |out, value| string(out, value.as_str())),
        other => string(out, &other.as_str()),
    }
}

/// An `ArrayValue`: each value is an `AnyValue` again.
fn array<T>(out: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    message(out, 5, |out| {
        for value in values {
            message(out, 1, |out| write(out, value));
        }
    });
}

/// As the SDK has it, what lies before 1970 is 1970.
fn nanoseconds(time: std::time::SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
