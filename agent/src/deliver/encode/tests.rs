//! Compared with the conversion and encoding of opentelemetry-proto.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{self, SpanContext, SpanKind, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::testing::{process, span};
use super::*;
use crate::record::Parent;

fn any_value() -> impl Strategy<Value = Value<'static>> {
    let text = || ".{0,200}";
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        text().prop_map(|text| Value::Text(text.into())),
        vec(text(), 0..4)
            .prop_map(|texts| Value::Texts(texts.into_iter().map(Into::into).collect::<Vec<_>>().into())),
    ]
}

/// Those that are possible, and some as long as none is.
fn any_key() -> impl Strategy<Value = &'static str> {
    const LONG: &str =
        concat!("0123456789abcdefghijklmnopqrstuvwxyz", "0123456789abcdefghijklmnopqrstuvwxyz");
    select(&["", "url.path", "lightfoot.parent.inferred", "\u{fc}\"\n", LONG][..])
}

prop_compose! {
    fn any_span()(
        ids in any::<([u8; 16], [u8; 8], u8)>(),
        parent in option::of((any::<[u8; 8]>(), select(&[ParentRule::Incoming, ParentRule::Context][..]))),
        continues in option::of(any::<[u8; 8]>()),
        joined in option::of(any::<([u8; 16], [u8; 8], u8)>()),
        state in option::of("[a-z]{1,9}=[a-z0-9]{1,90}"),
        name in ".{0,150}",
        kind in select(&[SpanKind::Client, SpanKind::Server, SpanKind::Internal][..]),
        times in any::<(u32, u32, u32)>(),
        attributes in vec((any_key(), any_value()), 0..30),
        dropped_attributes in any::<u32>(),
        status in prop_oneof![Just(None), ".{0,200}".prop_map(Some)],
        scope in select(&["", "lightfoot/net/http", "lightfoot/google.golang.org/grpc"][..]),
    ) -> Span<'static> {
        let start_time = UNIX_EPOCH + Duration::from_nanos(u64::from(times.0) << (times.1 % 32));
        Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent: parent.map(|(span_id, rule)| Parent { span_id, rule }),
            continues,
            joined: joined.map(|(trace_id, span_id, flags)| Link { trace_id, span_id, flags }),
            flags: ids.2,
            trace_state: state.unwrap_or_default().into(),
            scope,
            kind,
            name: name.into(),
            start_time,
            end_time: start_time + Duration::from_nanos(times.2.into()),
            attributes: attributes.into_iter().map(Into::into).collect(),
            dropped_attributes,
            status: status.map_or(Status::Unset, |why| Status::Error(why.into())),
        }
    }
}

/// A span as the SDK has it.
fn sdk(span: &Span<'_>) -> SpanData {
    let value = |value: &Value<'_>| match value {
        Value::Text(text) => opentelemetry::Value::from(text.to_string()),
        Value::Integer(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
        Value::Texts(texts) => {
            let texts = texts.iter().map(|text| text.to_string().into());
            opentelemetry::Value::Array(Array::String(texts.collect()))
        }
    };
    let attributes = span.attributes.iter();
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(span.trace_id),
            trace::SpanId::from_bytes(span.span_id),
            TraceFlags::new(span.flags),
            false,
            match &*span.trace_state {
                "" => TraceState::default(),
                state => state.parse().unwrap(),
            },
        ),
        parent_span_id: span
            .parent
            .map_or(trace::SpanId::INVALID, |parent| trace::SpanId::from_bytes(parent.span_id)),
        parent_span_is_remote: span.parent.is_some_and(|parent| parent.rule == ParentRule::Incoming),
        span_kind: span.kind.clone(),
        name: span.name.to_string().into(),
        start_time: span.start_time,
        end_time: span.end_time,
        attributes: attributes.map(|pair| KeyValue::new(pair.key.to_string(), value(&pair.value))).collect(),
        dropped_attributes_count: span.dropped_attributes,
        events: SpanEvents::default(),
        links: {
            let mut links = SpanLinks::default();
            links.links.extend(span.continues.map(|before| {
                let id = trace::SpanId::from_bytes(before);
                let trace_id = TraceId::from_bytes(span.trace_id);
                let flags = TraceFlags::new(span.flags);
                trace::Link::with_context(SpanContext::new(trace_id, id, flags, false, TraceState::default()))
            }));
            links.links.extend(span.joined.map(|joined| {
                let id = trace::SpanId::from_bytes(joined.span_id);
                let trace_id = TraceId::from_bytes(joined.trace_id);
                let flags = TraceFlags::new(joined.flags);
                trace::Link::with_context(SpanContext::new(trace_id, id, flags, true, TraceState::default()))
            }));
            links
        },
        status: match &span.status {
            Status::Unset => trace::Status::Unset,
            Status::Error(why) => trace::Status::error(why.to_string()),
        },
        instrumentation_scope: InstrumentationScope::builder(span.scope)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build(),
    }
}

fn requests(
    encoding: Encoding,
    resource: &Resource,
    spans: &[Span<'_>],
) -> (Vec<u8>, ExportTraceServiceRequest) {
    let mut request = Request::new(encoding, resource);
    for span in spans {
        request.add(span, usize::MAX).unwrap();
    }
    let body = request.finish();
    let resource = ResourceAttributesWithSchema::from(resource);
    let resource_spans = group_spans_by_resource_and_scope(spans.iter().map(sdk).collect(), &resource);
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
        prop_assert_eq!(serde_json::from_slice::<ExportTraceServiceRequest>(&body).unwrap(), expected.clone());
        prop_assert_eq!(String::from_utf8(body).unwrap(), serde_json::to_string(&expected).unwrap());
    }
}

#[test]
fn a_span_without_room_leaves_no_trace() {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let resource = &process("shop").resource;
        let mut request = Request::new(encoding, resource);
        let size = request.add(&span(1, 1, 0, 0), usize::MAX).unwrap();
        assert!(request.add(&span(1, 2, 0, 0), size - 1).is_err());
        let other = Span { scope: "other", ..span(1, 3, 0, 0) };
        assert!(request.add(&other, 1).is_err());
        let (expected, _) = requests(encoding, resource, &[span(1, 1, 0, 0)]);
        assert_eq!(request.finish(), expected);
        // It starts over.
        request.add(&span(1, 1, 0, 0), size).unwrap();
        assert_eq!(request.finish(), expected);
    }
}
