//! What the tests of delivery share: processes and spans that nobody watched.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::Resource;

use crate::record::{Parent, ParentRule};
use crate::resource::{NamedBy, ProcessIdentity};
use crate::span::{Span, Status, Value};

/// A process whose service has that name.
pub(super) fn process(service: &str) -> Arc<ProcessIdentity> {
    let attributes = [KeyValue::new("service.name", service.to_owned()), KeyValue::new("process.pid", 7)];
    Arc::new(ProcessIdentity {
        pid: 7,
        start_time: 1,
        network: None,
        service_name: service.into(),
        named_by: NamedBy::Executable,
        resource: Resource::builder_empty().with_attributes(attributes).build(),
        problems: Vec::new(),
    })
}

/// A span of `trace`, starting `start` ms into it, one ms long for each unit of its id. A parent of 0 is none.
pub(super) fn span(trace: u8, id: u8, parent: u8, start: u64) -> Span<'static> {
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + start);
    let id_of = |number: u8| [0, 0, 0, 0, 0, 0, 0, number];
    Span {
        trace_id: [trace; 16],
        span_id: id_of(id),
        parent: (parent != 0).then(|| Parent { span_id: id_of(parent), rule: ParentRule::Context }),
        continues: None,
        joined: None,
        flags: 1,
        trace_state: "".into(),
        scope: "test",
        kind: SpanKind::Server,
        name: format!("GET /{id}").into(),
        start_time: start,
        end_time: start + Duration::from_millis(u64::from(id)),
        attributes: [("http.response.status_code", Value::Integer(200)).into()].into_iter().collect(),
        dropped_attributes: 0,
        status: Status::Unset,
    }
}
