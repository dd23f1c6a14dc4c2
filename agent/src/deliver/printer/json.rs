//! Spans as JSON, one line each.

use std::time::SystemTime;

use opentelemetry::Key;
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use serde_json::{Map, Value as Json};

use super::Item;
use crate::deliver::encode::{Encoding, Request};
use crate::escape;
use crate::semconv as name;
use crate::span::{Status, Value};

/// One object without objects in it: the attributes under their names, next to `trace_id`, `span_id`,
/// `parent_span_id`, `name`, `kind`, `start` and `end` (RFC 3339), `duration_ns`, `status`, `service.name` and
/// `process.pid`.
pub(super) fn flat(item: &Item) -> String {
    let span = &item.span;
    let mut object = Map::new();
    for attribute in &span.attributes {
        object.insert(attribute.key.clone().into_owned(), value(&attribute.value));
    }
    for key in [name::SERVICE_NAME, name::PROCESS_PID] {
        if let Some(found) = item.identity.resource.get_ref(&Key::from_static_str(key)) {
            let found = match found {
                opentelemetry::Value::I64(number) => (*number).into(),
                other => other.as_str().into(),
            };
            object.insert(key.to_owned(), found);
        }
    }
    let mut add = |key: &str, value: Json| object.insert(key.to_owned(), value);
    add("trace_id", TraceId::from_bytes(span.trace_id).to_string().into());
    add("span_id", SpanId::from_bytes(span.span_id).to_string().into());
    if let Some(parent) = span.parent {
        add("parent_span_id", SpanId::from_bytes(parent.span_id).to_string().into());
    }
    if let Some(before) = span.continues {
        add("continues_span_id", SpanId::from_bytes(before).to_string().into());
    }
    if let Some(joined) = span.joined {
        add("joined_trace_id", TraceId::from_bytes(joined.trace_id).to_string().into());
        add("joined_span_id", SpanId::from_bytes(joined.span_id).to_string().into());
    }
    add("name", span.name.as_ref().into());
    add("kind", kind(&span.kind).into());
    add("scope", span.scope.into());
    add("start", time(span.start_time));
    add("end", time(span.end_time));
    let duration = span.end_time.duration_since(span.start_time).unwrap_or_default();
    add("duration_ns", u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).into());
    match &span.status {
        Status::Unset => add("status", "unset".into()),
        Status::Error(why) => {
            if !why.is_empty() {
                add("status_description", why.as_ref().into());
            }
            add("status", "error".into())
        }
    };
    escape::json(Json::Object(object).to_string())
}

/// An `ExportTraceServiceRequest` in the JSON of OTLP.
pub(super) fn otlp(item: &Item) -> String {
    let mut request = Request::new(Encoding::Json, &item.identity.resource);
    // There is room for any.
    let _ = request.add(&item.span, usize::MAX);
    // JSON is text.
    escape::json(String::from_utf8(request.finish()).unwrap_or_default())
}

fn value(value: &Value<'_>) -> Json {
    match value {
        Value::Text(text) => text.as_ref().into(),
        Value::Integer(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
        Value::Texts(texts) => texts.iter().map(AsRef::as_ref).collect(),
    }
}

fn kind(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
    }
}

fn time(time: SystemTime) -> Json {
    humantime::format_rfc3339_nanos(time).to_string().into()
}
