//! The JSON of OTLP (opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), written as it is read: without values of
//! their own for ids, times and attributes.

use std::borrow::Cow;
use std::fmt;

use opentelemetry::trace::{SpanId, TraceId};
use serde::{Serialize, Serializer};

use super::{flags, kind, links, nanoseconds, status};
use crate::span;

/// Whatever has a form in JSON, as a struct of texts and numbers always does.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Adds a span.
pub(super) fn span(out: &mut Vec<u8>, of: &span::Span<'_>) {
    let (code, message) = status(of);
    let fields = Fields {
        trace_id: Text(TraceId::from_bytes(of.trace_id)),
        span_id: Text(SpanId::from_bytes(of.span_id)),
        trace_state: &of.trace_state,
        parent_span_id: Text(Parent(of.parent.map(|parent| SpanId::from_bytes(parent.span_id)))),
        flags: flags(of),
        name: &of.name,
        kind: kind(of) as i32,
        start_time_unix_nano: Text(nanoseconds(of.start_time)),
        end_time_unix_nano: Text(nanoseconds(of.end_time)),
        attributes: Attributes(&of.attributes),
        dropped_attributes_count: of.dropped_attributes,
        events: [],
        dropped_events_count: 0,
        links: Links(of),
        dropped_links_count: 0,
        status: Status { message, code: code as i32 },
    };
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &fields);
}

/// All fields of a span, in the order of opentelemetry-proto.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a, 's> {
    trace_id: Text<TraceId>,
    span_id: Text<SpanId>,
    trace_state: &'a str,
    parent_span_id: Text<Parent>,
    flags: u32,
    name: &'a str,
    kind: i32,
    start_time_unix_nano: Text<u64>,
    end_time_unix_nano: Text<u64>,
    attributes: Attributes<'a, 's>,
    dropped_attributes_count: u32,
    events: [(); 0],
    dropped_events_count: u32,
    links: Links<'a, 's>,
    dropped_links_count: u32,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    trace_id: Text<TraceId>,
    span_id: Text<SpanId>,
    trace_state: &'static str,
    attributes: [(); 0],
    dropped_attributes_count: u32,
    flags: u32,
}

#[derive(Serialize)]
struct Status<'a> {
    message: &'a str,
    code: i32,
}

#[derive(Serialize)]
struct KeyValue<'a, 's> {
    key: &'a str,
    value: AnyValue<'a, 's>,
}

#[derive(Serialize)]
enum AnyValue<'a, 's> {
    #[serde(rename = "stringValue")]
    Text(&'a str),
    #[serde(rename = "boolValue")]
    Boolean(bool),
    #[serde(rename = "intValue")]
    Integer(Text<i64>),
    #[serde(rename = "arrayValue")]
    Array { values: Texts<'a, 's> },
}

/// A list of [`KeyValue`]s.
struct Attributes<'a, 's>(&'a [span::Attribute<'s>]);

/// A list of [`AnyValue`]s.
struct Texts<'a, 's>(&'a [Cow<'s, str>]);

/// The [`Link`]s of a span.
struct Links<'a, 's>(&'a span::Span<'s>);

/// The id of a parent, empty if there is none.
struct Parent(Option<SpanId>);

/// What is no text and written as one: ids, and numbers of 64 bits.
struct Text<T>(T);

impl<'a, 's> From<&'a span::Value<'s>> for AnyValue<'a, 's> {
    fn from(value: &'a span::Value<'s>) -> Self {
        match value {
            span::Value::Text(text) => Self::Text(text),
            span::Value::Boolean(value) => Self::Boolean(*value),
            span::Value::Integer(number) => Self::Integer(Text(*number)),
            span::Value::Texts(texts) => Self::Array { values: Texts(texts) },
        }
    }
}

impl Serialize for Attributes<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|of| KeyValue { key: &of.key, value: (&of.value).into() }))
    }
}

impl Serialize for Links<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(links(self.0).map(|link| Link {
            trace_id: Text(TraceId::from_bytes(link.trace_id)),
            span_id: Text(SpanId::from_bytes(link.span_id)),
            trace_state: "",
            attributes: [],
            dropped_attributes_count: 0,
            flags: link.flags,
        }))
    }
}

impl Serialize for Texts<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|text| AnyValue::Text(text)))
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| id.fmt(f))
    }
}

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
