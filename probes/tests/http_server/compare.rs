//! Records against the server's own truth.

use std::collections::HashMap;

use lightfoot_probes_abi::record::http_flags::{HIJACKED, PANICKED, TLS, WROTE_HEADER};
use lightfoot_probes_abi::{ParentRule, Text};
use lightfoot_tests::probes::{HttpSpan, hex};

use crate::target::Truth;

/// Of which requests the route is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routes {
    /// Of none: Go before 1.22 keeps it for itself.
    None,
    /// Of those whose request was not copied by a middleware.
    Originals,
    /// Of all, with the optional site.
    All,
}

/// Pairs records and truth by their targets, each of which must be there once, and compares all attributes.
pub(crate) fn assert_equal(records: &[Vec<u8>], truth: &[Truth], routes: Routes) {
    let mut spans: HashMap<String, HttpSpan> = HashMap::new();
    for span in records.iter().map(|record| HttpSpan::parse(record)) {
        let twice = spans.insert(span.target().to_owned(), span);
        assert!(twice.is_none(), "two spans of one request: {twice:?}");
    }
    for truth in truth {
        let Some(span) = spans.remove(&truth.target) else { panic!("no span of {truth:?}") };
        assert_one(&span, truth, routes);
    }
    assert!(spans.is_empty(), "spans of no request: {spans:?}");
}

fn assert_one(span: &HttpSpan, truth: &Truth, routes: Routes) {
    let header = &span.fixed.header;
    let text = |text| span.text(text);
    assert_eq!(span.method(), truth.method);
    assert_eq!(text(Text::Host), truth.host);
    assert_eq!(text(Text::Peer), truth.peer);
    assert_eq!(text(Text::UserAgent), truth.user_agent);
    let has_route = routes == Routes::All || routes == Routes::Originals && !truth.copied;
    assert_eq!(text(Text::Route), if has_route { &truth.route } else { "" }, "{truth:?}");
    assert_eq!(span.fixed.status, truth.status, "{truth:?}");
    assert_eq!(span.has(WROTE_HEADER), truth.status != 0, "{truth:?}");
    // What net/http does not send is still counted here: bodies of responses to HEAD.
    assert_eq!(span.fixed.size, truth.written, "{truth:?}");
    assert_eq!((span.fixed.protocol_major, u16::from(span.fixed.protocol_minor)), (1, truth.minor));
    assert_eq!(span.has(PANICKED), truth.panicked, "{truth:?}");
    assert_eq!(span.has(HIJACKED), truth.hijacked, "{truth:?}");
    assert_eq!(span.has(TLS), truth.target.starts_with("/body/http"));
    assert_eq!((header.cut, header.missing), (0, 0), "{truth:?}");
    assert!(header.end - header.start >= truth.nanoseconds, "{header:?} {truth:?}");
    assert_ne!(header.span_id, 0);
    if let Some([parent]) = truth.traceparent.as_deref() {
        assert_eq!(span.trace_id(), parent[3..35]);
        assert_eq!(hex(header.parent_span_id), parent[36..52]);
        assert_eq!(header.parent_rule, ParentRule::Remote as u8);
        assert_eq!(text(Text::Tracestate), truth.tracestate.as_deref().unwrap_or_default().join(","));
    } else {
        assert_ne!(header.trace_id, [0, 0]);
        assert_eq!((header.parent_span_id, header.parent_rule), (0, ParentRule::Root as u8));
        assert_eq!(text(Text::Tracestate), "");
    }
}
