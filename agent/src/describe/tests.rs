use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::clock::Reading;
use crate::record::{HttpServer, Parent};

fn clock() -> Clock {
    Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 })
}

fn record() -> Record {
    Record {
        pid: 42,
        start: 5_000_000_000,
        end: 5_250_000_000,
        trace_id: [7; 16],
        span_id: [9; 8],
        parent: None,
        flags: 1,
        trace_state: None,
        operation: Operation::HttpServer(HttpServer {
            method: "GET".into(),
            target: "/".into(),
            ..HttpServer::default()
        }),
    }
}

fn get(span: &SpanData, key: &str) -> Option<Value> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|found| found.value.clone())
}

#[test]
fn ids_times_and_scope_are_carried_over() {
    let span = Describer::new(Settings::default()).span(&record(), &clock());
    assert_eq!(span.span_context.trace_id(), TraceId::from_bytes([7; 16]));
    assert_eq!(span.span_context.span_id(), SpanId::from_bytes([9; 8]));
    assert!(span.span_context.is_sampled() && !span.span_context.is_remote());
    assert_eq!(span.start_time, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_005));
    assert_eq!(span.end_time.duration_since(span.start_time).unwrap(), Duration::from_millis(250));
    assert_eq!(span.instrumentation_scope.name(), "lightfoot/net/http");
    assert_eq!(span.instrumentation_scope.version(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(span.instrumentation_scope.schema_url(), Some("https://opentelemetry.io/schemas/1.44.0"));
    assert_eq!((span.parent_span_id, span.parent_span_is_remote), (SpanId::INVALID, false));
    assert_eq!(get(&span, "lightfoot.parent.rule"), None);
}

#[test]
fn the_rule_that_found_the_parent_is_kept() {
    let cases = [
        (ParentRule::Incoming, "incoming", true, false),
        (ParentRule::Context, "context", false, false),
        (ParentRule::Goroutine, "goroutine", false, false),
        (ParentRule::ParentGoroutine, "parent_goroutine", false, true),
    ];
    for (rule, rule_name, is_remote, is_inferred) in cases {
        let record = Record { parent: Some(Parent { span_id: [3; 8], rule }), ..record() };
        let span = Describer::new(Settings::default()).span(&record, &clock());
        assert_eq!(span.parent_span_id, SpanId::from_bytes([3; 8]));
        assert_eq!(span.parent_span_is_remote, is_remote);
        assert_eq!(get(&span, "lightfoot.parent.rule"), Some(rule_name.into()));
        assert_eq!(get(&span, "lightfoot.parent.inferred"), is_inferred.then_some(true.into()));
    }
}

#[test]
fn the_trace_state_is_kept_unless_it_is_malformed() {
    let cases = [
        (None, ""),
        (Some("a=1,vendor@sys=x y"), "a=1,vendor@sys=x y"),
        (Some(" a=1 ,, b=2"), "a=1,b=2"),
        (Some("A=1"), ""),
        (Some("a=1,b"), ""),
    ];
    for (sent, kept) in cases {
        let record = Record { trace_state: sent.map(Into::into), ..record() };
        let span = Describer::new(Settings::default()).span(&record, &clock());
        assert_eq!(span.span_context.trace_state().header(), kept, "{sent:?}");
    }
}

#[test]
fn the_variable_for_known_methods_is_honoured() {
    let variable = |name: &str| (name == "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS").then(|| "POST".into());
    for (settings, method) in
        [(Settings::from_env(variable), "_OTHER"), (Settings::from_env(|_| None), "GET")]
    {
        let span = Describer::new(settings).span(&record(), &clock());
        assert_eq!(get(&span, "http.request.method"), Some(method.into()));
    }
}

#[test]
fn cut_attributes_are_listed() {
    let mut record = record();
    let Operation::HttpServer(request) = &mut record.operation else { panic!() };
    request.cut = vec!["target"];
    let span = Describer::new(Settings::default()).span(&record, &clock());
    let names = Value::Array(Array::String(vec!["url.path".into()]));
    assert_eq!(get(&span, "lightfoot.truncated"), Some(names));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_record_has_a_span_that_lasts_as_long(
        (start, end) in any::<(u64, u64)>(),
        trace_id in any::<[u8; 16]>(),
        flags in any::<u8>(),
        state in any::<Option<String>>(),
    ) {
        let record = Record { start, end, trace_id, flags, trace_state: state, ..record() };
        let span = Describer::new(Settings::default()).span(&record, &clock());
        let lasted = span.end_time.duration_since(span.start_time).unwrap();
        prop_assert_eq!(lasted, Duration::from_nanos(end.saturating_sub(start)));
        prop_assert_eq!(span.span_context.trace_flags().to_u8(), flags);
    }
}
