//! Compared with the conversion and encoding of opentelemetry-proto.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{Event, SpanContext, SpanKind, TraceFlags, TraceId, TraceState};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanEvents;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::testing::{process, span};
use super::*;

fn any_value() -> impl Strategy<Value = Value> {
    // Fractions that survive JSON to the last bit, whoever reads it.
    let float = || any::<i32>().prop_map(|number| f64::from(number) / 8.0);
    let string = || ".{0,200}".prop_map(opentelemetry::StringValue::from);
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        float().prop_map(Value::F64),
        string().prop_map(Value::String),
        vec(any::<bool>(), 0..4).prop_map(|values| Value::Array(Array::Bool(values))),
        vec(any::<i64>(), 0..4).prop_map(|values| Value::Array(Array::I64(values))),
        vec(float(), 0..4).prop_map(|values| Value::Array(Array::F64(values))),
        vec(string(), 0..4).prop_map(|values| Value::Array(Array::String(values))),
    ]
}

prop_compose! {
    fn any_span()(
        ids in any::<([u8; 16], [u8; 8], u8)>(),
        parent in option::of(any::<([u8; 8], bool)>()),
        state in option::of("[a-z]{1,9}=[a-z0-9]{1,90}"),
        name in ".{0,150}",
        kind in 0..5_usize,
        times in any::<(u32, u32, u32)>(),
        attributes in vec((".{0,140}", any_value()), 0..20),
        dropped in any::<(u32, bool)>(),
        status in prop_oneof![
            Just(Status::Unset), Just(Status::Ok), ".{0,200}".prop_map(Status::error),
        ],
        scope in 0..3_u8,
    ) -> SpanData {
        let kinds =
            [SpanKind::Client, SpanKind::Server, SpanKind::Internal, SpanKind::Producer, SpanKind::Consumer];
        let start = UNIX_EPOCH + Duration::from_nanos(u64::from(times.0) << (times.1 % 32));
        let mut span = SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(ids.0),
                SpanId::from_bytes(ids.1),
                TraceFlags::new(ids.2),
                false,
                state.map_or_else(TraceState::default, |state| state.parse().unwrap()),
            ),
            parent_span_id: parent.map_or(SpanId::INVALID, |(id, _)| SpanId::from_bytes(id)),
            parent_span_is_remote: parent.is_some_and(|(_, is_remote)| is_remote),
            span_kind: kinds[kind].clone(),
            name: name.into(),
            start_time: start,
            end_time: start + Duration::from_nanos(times.2.into()),
            attributes: attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect(),
            dropped_attributes_count: dropped.0,
            status,
            instrumentation_scope: InstrumentationScope::builder(format!("scope-{scope}"))
                .with_version("1")
                .with_schema_url("https://schema")
                .build(),
            ..span(1, 1, 0, 0)
        };
        if dropped.1 {
            span.events = SpanEvents::default();
            span.events.events.push(Event::new("event", start, Vec::new(), 1));
        }
        span
    }
}

fn requests(
    encoding: Encoding,
    resource: &Resource,
    spans: &[SpanData],
) -> (Vec<u8>, ExportTraceServiceRequest) {
    let mut request = Request::new(encoding, resource);
    for span in spans {
        request.add(span, usize::MAX).unwrap();
    }
    let body = request.finish();
    let resource = ResourceAttributesWithSchema::from(resource);
    let resource_spans = group_spans_by_resource_and_scope(spans.to_vec(), &resource);
    (body, ExportTraceServiceRequest { resource_spans })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_encoded_is_what_the_generated_types_encode(spans in vec(any_span(), 1..6)) {
        // The order of its attributes differs from one to the next.
        let resource = &process("shop").resource;
        let (body, expected) = requests(Encoding::Protobuf, resource, &spans);
        prop_assert_eq!(ExportTraceServiceRequest::decode(&*body).unwrap(), expected.clone());
        prop_assert_eq!(body, expected.encode_to_vec());

        let (body, expected) = requests(Encoding::Json, resource, &spans);
        prop_assert_eq!(serde_json::from_slice::<ExportTraceServiceRequest>(&body).unwrap(), expected);
    }
}

#[test]
fn a_span_without_room_leaves_no_trace() {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let resource = &process("shop").resource;
        let mut request = Request::new(encoding, resource);
        let size = request.add(&span(1, 1, 0, 0), usize::MAX).unwrap();
        assert!(request.add(&span(1, 2, 0, 0), size - 1).is_err());
        let mut other = span(1, 3, 0, 0);
        other.instrumentation_scope = InstrumentationScope::builder("other").build();
        assert!(request.add(&other, 1).is_err());
        let (expected, _) = requests(encoding, resource, &[span(1, 1, 0, 0)]);
        assert_eq!(request.finish(), expected);
        // It starts over.
        request.add(&span(1, 1, 0, 0), size).unwrap();
        assert_eq!(request.finish(), expected);
    }
}
