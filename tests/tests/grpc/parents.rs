//! How spans of calls are linked: to what was served when they were made, by gRPC or by HTTP.

use std::collections::HashMap;

use lightfoot_tests::live::{Facts, Outcome, Span};

use crate::pairs::{CLIENT, Calls, SERVER};

/// Fails unless each span is linked as it must be.
pub(crate) fn judge(facts: &Facts, outcome: &Outcome, calls: &Calls<'_>) {
    // Numbers are used once: of a call by gRPC for both of its sides.
    let [mut served, mut called]: [HashMap<u64, &Span>; 2] = Default::default();
    for call in &calls.all {
        if let [span] = call.servers[..] {
            served.insert(call.called.number, span);
        }
        called.extend(call.client.map(|span| (call.called.number, span)));
    }
    for span in &outcome.spans {
        match span.kind {
            SERVER if !span.path().is_empty() => assert!(served.insert(last(span.path()), span).is_none()),
            CLIENT if !span.text("url.full").is_empty() => {
                assert!(called.insert(last(span.text("url.full")), span).is_none());
            }
            _ => {}
        }
    }
    let check = |span: &Span, of: &str, parent: u64, rule: &str| {
        let is_inferred = rule == "parent_goroutine";
        if parent == 0 || is_inferred && span.parent_span_id.is_empty() {
            assert_eq!(
                (span.parent_span_id.as_str(), span.text("lightfoot.parent.rule")),
                ("", ""),
                "{span:?}"
            );
            return;
        }
        let parent = if of == "called" { called[&parent] } else { served[&parent] };
        assert_eq!(
            (&span.trace_id, &span.parent_span_id),
            (&parent.trace_id, &parent.span_id),
            "{span:#?} {parent:#?}"
        );
        assert_eq!(span.text("lightfoot.parent.rule"), rule, "{span:#?}");
    };
    for call in &calls.all {
        check(call.client.unwrap(), &call.called.of, call.called.parent, &call.called.rule);
        for (span, handled) in call.servers.iter().zip(&call.handled) {
            let (trace, parent) = match &handled.remote {
                Some(remote) => (remote.trace_id.as_str(), remote.span_id.as_str()),
                None => (span.trace_id.as_str(), ""),
            };
            assert_eq!(
                (span.trace_id.as_str(), span.parent_span_id.as_str()),
                (trace, parent),
                "{handled:?}"
            );
            let states = if handled.remote.is_some() { handled.tracestate.join(",") } else { String::new() };
            assert_eq!(span.trace_state, states, "{handled:?}");
        }
    }
    for call in &facts.calls {
        let of = if call.cause == 0 { "called" } else { "served" };
        check(called[&call.number], of, call.parent, &call.rule);
    }
}

/// The number in a path /CASE/NUMBER.
fn last(path: &str) -> u64 {
    path.rsplit('/').next().unwrap().parse().unwrap()
}
