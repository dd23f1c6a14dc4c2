use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::clock::Reading;
use crate::record::{HttpServer, Parent};
use crate::span::Value;

fn clock() -> Clock {
    Clock::from_reading(Reading { before: 0, wall: 1_700_000_000_000_000_000, after: 0 })
}

fn record() -> Record<'static> {
    Record {
        pid: 42,
        start: 5_000_000_000,
        end: 5_250_000_000,
        trace_id: [7; 16],
        span_id: [9; 8],
        parent: None,
        flags: 1,
        trace_state: None,
        segment: None,
        operation: Operation::HttpServer(HttpServer { method: "GET", target: "/", ..HttpServer::default() }),
    }
}

/// The span of a record, with the default settings.
fn span<'a>(record: &Record<'a>, arena: &'a Bump) -> Span<'a> {
    Describer::new(Settings::default()).span(record, &clock(), arena)
}

#[test]
fn ids_times_and_scope_are_carried_over() {
    let arena = Bump::new();
    let span = span(&record(), &arena);
    assert_eq!((span.trace_id, span.span_id, span.flags), ([7; 16], [9; 8], 1));
    assert_eq!(span.start_time, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_005));
    assert_eq!(span.end_time.duration_since(span.start_time).unwrap(), Duration::from_millis(250));
    assert_eq!((span.scope, &span.kind), ("lightfoot/net/http", &SpanKind::Server));
    assert_eq!((span.parent, span.get("lightfoot.parent.rule")), (None, None));
}

#[test]
fn the_rule_that_found_the_parent_is_kept() {
    let cases = [
        (ParentRule::Incoming, "incoming", false),
        (ParentRule::Context, "context", false),
        (ParentRule::Goroutine, "goroutine", false),
        (ParentRule::ParentGoroutine, "parent_goroutine", true),
    ];
    for (rule, rule_name, is_inferred) in cases {
        let parent = Some(Parent { span_id: [3; 8], rule });
        let arena = Bump::new();
        let span = span(&Record { parent, ..record() }, &arena);
        assert_eq!(span.parent, parent);
        assert_eq!(span.get("lightfoot.parent.rule"), Some(&rule_name.into()));
        assert_eq!(span.get("lightfoot.parent.inferred"), is_inferred.then_some(&true.into()));
    }
}

#[test]
fn the_trace_state_is_kept_unless_it_is_malformed() {
    for (sent, kept) in [(None, ""), (Some(" a=1 ,, b=2"), "a=1,b=2"), (Some("a=1,b"), "")] {
        let arena = Bump::new();
        let span = span(&Record { trace_state: sent, ..record() }, &arena);
        assert_eq!(span.trace_state, kept, "{sent:?}");
    }
}

#[test]
fn the_variable_for_known_methods_is_honoured() {
    let variable = |name: &str| (name == "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS").then(|| "POST".into());
    for (settings, method) in
        [(Settings::from_env(variable), "_OTHER"), (Settings::from_env(|_| None), "GET")]
    {
        let arena = Bump::new();
        let span = Describer::new(settings).span(&record(), &clock(), &arena);
        assert_eq!(span.get("http.request.method"), Some(&method.into()));
    }
}

#[test]
fn cut_attributes_are_listed() {
    let mut record = record();
    let Operation::HttpServer(request) = &mut record.operation else { panic!() };
    request.cut = &["target"];
    let arena = Bump::new();
    let names = Value::Texts(vec!["url.path".into()].into());
    assert_eq!(span(&record, &arena).get("lightfoot.truncated"), Some(&names));
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
        let record = Record { start, end, trace_id, flags, trace_state: state.as_deref(), ..record() };
        let arena = Bump::new();
        let span = span(&record, &arena);
        let lasted = span.end_time.duration_since(span.start_time).unwrap();
        prop_assert_eq!(lasted, Duration::from_nanos(end.saturating_sub(start)));
        prop_assert_eq!((span.trace_id, span.flags), (trace_id, flags));
    }
}
