//! Spans as JSON, one line each.

use std::time::SystemTime;

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{Array, Key, StringValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::{Map, Number, Value as Json};

use super::{Item, escape};
use crate::semconv as name;

/// One object without objects in it: the attributes under their names, next to `trace_id`, `span_id`,
/// `parent_span_id`, `name`, `kind`, `start` and `end` (RFC 3339), `duration_ns`, `status`, `service.name` and
/// `process.pid`.
pub(super) fn flat(item: &Item) -> String {
    let span = &item.span;
    let mut object = Map::new();
    for attribute in &span.attributes {
        object.insert(attribute.key.as_str().to_owned(), value(&attribute.value));
    }
    for key in [name::SERVICE_NAME, name::PROCESS_PID] {
        if let Some(found) = item.identity.resource.get_ref(&Key::from_static_str(key)) {
            object.insert(key.to_owned(), value(found));
        }
    }
    let mut add = |key: &str, value: Json| object.insert(key.to_owned(), value);
    add("trace_id", span.span_context.trace_id().to_string().into());
    add("span_id", span.span_context.span_id().to_string().into());
    if span.parent_span_id != SpanId::INVALID {
        add("parent_span_id", span.parent_span_id.to_string().into());
    }
    add("name", span.name.as_ref().into());
    add("kind", kind(&span.span_kind).into());
    add("scope", span.instrumentation_scope.name().into());
    add("start", time(span.start_time));
    add("end", time(span.end_time));
    let duration = span.end_time.duration_since(span.start_time).unwrap_or_default();
    add("duration_ns", u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).into());
    match &span.status {
        Status::Unset => add("status", "unset".into()),
        Status::Ok => add("status", "ok".into()),
        Status::Error { description } => {
            if !description.is_empty() {
                add("status_description", description.as_ref().into());
            }
            add("status", "error".into())
        }
    };
    escape::json(Json::Object(object).to_string())
}

/// An `ExportTraceServiceRequest` in the JSON of OTLP.
pub(super) fn otlp(item: &Item) -> String {
    let resource_spans = ResourceSpans::new(item.span.clone(), &(&item.identity.resource).into());
    let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
    // A struct of texts and numbers always has a form in JSON.
    escape::json(serde_json::to_string(&request).unwrap_or_default())
}

fn value(value: &Value) -> Json {
    let float = |number: f64| Number::from_f64(number).map_or(Json::Null, Json::Number);
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => float(*value),
        Value::Array(Array::Bool(values)) => values.iter().copied().collect(),
        Value::Array(Array::I64(values)) => values.iter().copied().collect(),
        Value::Array(Array::F64(values)) => values.iter().copied().map(float).collect(),
        Value::Array(Array::String(values)) => values.iter().map(StringValue::as_str).collect(),
        other => other.as_str().into_owned().into(),
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
