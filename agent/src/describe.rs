//! From a record to a span, by the semantic conventions: one file per watched library.
//!
//! What is said here is said of every span: ids, times, parent and scope.

use std::ffi::OsString;
use std::str::FromStr as _;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::clock::Clock;
use crate::record::{Operation, ParentRule, Record};
use crate::semconv as name;

pub mod net_http;
mod target;

/// What the user decides about attributes.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How HTTP requests are described.
    pub http: net_http::Settings,
}

impl Settings {
    /// The settings that the standard variables ask for, read by `variable` (as `std::env::var_os`).
    pub fn from_env(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let methods = variable(net_http::KNOWN_METHODS_VARIABLE).unwrap_or_default();
        Self { http: net_http::Settings::default().with_known_methods(&methods.to_string_lossy()) }
    }
}

/// Turns records into spans.
pub struct Describer {
    settings: Settings,
    net_http: InstrumentationScope,
}

/// What a library says of an operation; the rest is the same for all.
struct Description {
    kind: SpanKind,
    name: String,
    status: Status,
    attributes: Vec<KeyValue>,
    /// The attributes whose values were cut.
    truncated: Vec<&'static str>,
}

impl Describer {
    /// A describer with these settings.
    pub fn new(settings: Settings) -> Self {
        let scope = |library: &'static str| {
            InstrumentationScope::builder(library)
                .with_version(env!("CARGO_PKG_VERSION"))
                .with_schema_url(name::SCHEMA_URL)
                .build()
        };
        Self { settings, net_http: scope("lightfoot/net/http") }
    }

    /// The span of a record. `clock` turns its times into times of day.
    pub fn span(&self, record: &Record, clock: &Clock) -> SpanData {
        let (scope, description) = match &record.operation {
            Operation::HttpServer(request) => {
                (&self.net_http, net_http::server(request, &self.settings.http))
            }
            Operation::HttpClient(request) => {
                (&self.net_http, net_http::client(request, &self.settings.http))
            }
        };
        let Description { kind, name, status, mut attributes, truncated } = description;
        if !truncated.is_empty() {
            let names = truncated.into_iter().map(StringValue::from).collect();
            attributes.push(KeyValue::new(name::TRUNCATED, Value::Array(Array::String(names))));
        }
        if let Some(parent) = record.parent {
            attributes.push(KeyValue::new(name::PARENT_RULE, rule_name(parent.rule)));
            if parent.rule == ParentRule::ParentGoroutine {
                attributes.push(KeyValue::new(name::PARENT_INFERRED, true));
            }
        }
        // As W3C Trace Context has it, a state that cannot be parsed is discarded and the rest of the context holds.
        let state = record.trace_state.as_deref().map(TraceState::from_str);
        let (start_time, end_time) = clock.times(record.start, record.end);
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(record.trace_id),
                SpanId::from_bytes(record.span_id),
                TraceFlags::new(record.flags),
                false,
                state.and_then(Result::ok).unwrap_or_default(),
            ),
            parent_span_id: record
                .parent
                .map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span_id)),
            parent_span_is_remote: record.parent.is_some_and(|parent| parent.rule == ParentRule::Incoming),
            span_kind: kind,
            name: name.into(),
            start_time,
            end_time,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: scope.clone(),
        }
    }
}

fn rule_name(rule: ParentRule) -> &'static str {
    match rule {
        ParentRule::Incoming => "incoming",
        ParentRule::Context => "context",
        ParentRule::Goroutine => "goroutine",
        ParentRule::ParentGoroutine => "parent_goroutine",
    }
}

#[cfg(test)]
mod tests;
