//! Records against the server's own truth.

use std::collections::HashMap;

use lightfoot_probes_abi::record::http_flags::{HIJACKED, PANICKED, TLS, WROTE_HEADER};
use lightfoot_probes_abi::{ParentRule, Text};
use lightfoot_tests::live::http2::Truth;
use lightfoot_tests::probes::{HttpSpan, hex};

/// Pairs records and truth by their targets, each of which must be there once, and compares all attributes. Routes are known
/// of requests that were not copied, if `has_routes` says so of the server. Returns those whose route is not known all the same.
pub(crate) fn assert_equal<'a>(
    records: &[Vec<u8>],
    truth: &'a [Truth],
    has_routes: impl Fn(&Truth) -> bool,
) -> Vec<&'a Truth> {
    let mut routeless = Vec::new();
    let mut spans: HashMap<String, HttpSpan> = HashMap::new();
    for span in records.iter().map(|record| HttpSpan::parse(record)) {
        let twice = spans.insert(span.target().to_owned(), span);
        assert!(twice.is_none(), "two spans of one request: {twice:?}");
    }
    for truth in truth {
        let Some(span) = spans.remove(&truth.target) else { panic!("no span of {truth:?}") };
        let has_route = !truth.copied && has_routes(truth) && !truth.route.is_empty();
        if has_route && span.text(Text::Route).is_empty() {
            routeless.push(truth);
        }
        assert_one(&span, truth, has_route);
    }
    assert!(spans.is_empty(), "spans of no request: {spans:?}");
    routeless
}

fn assert_one(span: &HttpSpan, truth: &Truth, has_route: bool) {
    let header = &span.fixed.header;
    let text = |text| span.text(text);
    assert_eq!(span.method(), truth.method);
    assert_eq!(text(Text::Host), truth.host);
    assert_eq!(text(Text::Peer), truth.peer);
    assert_eq!(text(Text::UserAgent), truth.user_agent);
    let route = text(Text::Route);
    assert!(route.is_empty() || has_route && route == truth.route, "{route} {truth:?}");
    assert_eq!(span.fixed.status, truth.status, "{truth:?}");
    assert_eq!(span.has(WROTE_HEADER), truth.status != 0, "{truth:?}");
    assert_eq!(span.fixed.size, truth.written, "{truth:?}");
    assert_eq!((span.fixed.protocol_major, span.fixed.protocol_minor), (2, 0));
    assert_eq!(span.has(PANICKED), truth.panicked, "{truth:?}");
    assert_eq!(span.has(TLS), truth.encrypted);
    assert!(!span.has(HIJACKED));
    assert_eq!((header.cut, header.missing), (0, 0), "{truth:?}");
    assert!(header.end - header.start >= truth.nanoseconds, "{header:?} {truth:?}");
    assert_ne!(header.span_id, 0);
    if let [parent] = &truth.traceparent[..] {
        assert_eq!(span.trace_id(), parent[3..35]);
        assert_eq!(hex(header.parent_span_id), parent[36..52]);
        assert_eq!(header.parent_rule, ParentRule::Remote as u8);
        assert_eq!(text(Text::Tracestate), truth.tracestate.join(","));
    } else {
        assert_ne!(header.trace_id, [0, 0]);
        assert_eq!((header.parent_span_id, header.parent_rule), (0, ParentRule::Root as u8));
        assert_eq!(text(Text::Tracestate), "");
    }
}
