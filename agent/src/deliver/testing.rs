//! What the tests of delivery share: processes and spans that nobody watched.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::resource::{NamedBy, ProcessIdentity};

/// A process whose service has that name.
pub(super) fn process(service: &str) -> Arc<ProcessIdentity> {
    let attributes = [KeyValue::new("service.name", service.to_owned()), KeyValue::new("process.pid", 7)];
    Arc::new(ProcessIdentity {
        pid: 7,
        start_time: 1,
        service_name: service.into(),
        named_by: NamedBy::Executable,
        resource: Resource::builder_empty().with_attributes(attributes).build(),
        problems: Vec::new(),
    })
}

/// A span of `trace`, starting `start` ms into it, one ms long for each unit of its id. A parent of 0 is none.
pub(super) fn span(trace: u8, id: u8, parent: u8, start: u64) -> SpanData {
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + start);
    let id_of = |number: u8| SpanId::from_bytes([0, 0, 0, 0, 0, 0, 0, number]);
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes([trace; 16]),
            id_of(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: id_of(parent),
        parent_span_is_remote: false,
        span_kind: SpanKind::Server,
        name: format!("GET /{id}").into(),
        start_time: start,
        end_time: start + Duration::from_millis(u64::from(id)),
        attributes: vec![KeyValue::new("http.response.status_code", 200)],
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("test").build(),
    }
}
