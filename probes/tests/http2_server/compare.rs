//! Records against the server's own truth.

use std::collections::HashMap;

use lightfoot_probes_abi::record::http_flags::{HIJACKED, PANICKED, TLS, WROTE_HEADER};
use lightfoot_probes_abi::{Http, ParentRule, Record, Text};
use lightfoot_tests::live::http2::Truth;

/// A record, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) fixed: Http,
    pub(crate) texts: [String; Text::COUNT],
}

impl Span {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Record::HttpServer(fixed, texts) = Record::parse(bytes).unwrap() else { panic!("no server's") };
        assert_eq!(bytes.len(), usize::try_from(fixed.header.length).unwrap());
        Self { fixed, texts: Text::ALL.map(|text| String::from_utf8(texts.get(text).to_vec()).unwrap()) }
    }

    pub(crate) fn text(&self, text: Text) -> &str {
        &self.texts[text as usize]
    }

    pub(crate) fn method(&self) -> &str {
        &self.text(Text::RequestLine)[..usize::from(self.fixed.method_length)]
    }

    pub(crate) fn target(&self) -> &str {
        self.text(Text::RequestLine).get(usize::from(self.fixed.method_length) + 1..).unwrap_or_default()
    }

    fn has(&self, flag: u16) -> bool {
        self.fixed.flags & flag != 0
    }
}

/// Pairs records and truth by their targets, each of which must be there once, and compares all attributes. Routes are known
/// of requests that were not copied, if `has_routes` says so of the server.
pub(crate) fn assert_equal(records: &[Vec<u8>], truth: &[Truth], has_routes: impl Fn(&Truth) -> bool) {
    let mut spans: HashMap<String, Span> = HashMap::new();
    for span in records.iter().map(|record| Span::parse(record)) {
        let twice = spans.insert(span.target().to_owned(), span);
        assert!(twice.is_none(), "two spans of one request: {twice:?}");
    }
    for truth in truth {
        let Some(span) = spans.remove(&truth.target) else { panic!("no span of {truth:?}") };
        assert_one(&span, truth, !truth.copied && has_routes(truth));
    }
    assert!(spans.is_empty(), "spans of no request: {spans:?}");
}

fn assert_one(span: &Span, truth: &Truth, has_route: bool) {
    let header = &span.fixed.header;
    let text = |text| span.text(text);
    assert_eq!(span.method(), truth.method);
    assert_eq!(text(Text::Host), truth.host);
    assert_eq!(text(Text::Peer), truth.peer);
    assert_eq!(text(Text::UserAgent), truth.user_agent);
    assert_eq!(text(Text::Route), if has_route { &truth.route } else { "" }, "{truth:?}");
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
    let hex = |id: u64| format!("{:016x}", u64::from_be_bytes(id.to_ne_bytes()));
    if let [parent] = &truth.traceparent[..] {
        assert_eq!(header.trace_id.map(hex).concat(), parent[3..35]);
        assert_eq!(hex(header.parent_span_id), parent[36..52]);
        assert_eq!(header.parent_rule, ParentRule::Remote as u8);
        assert_eq!(text(Text::Tracestate), truth.tracestate.join(","));
    } else {
        assert_ne!(header.trace_id, [0, 0]);
        assert_eq!((header.parent_span_id, header.parent_rule), (0, ParentRule::Root as u8));
        assert_eq!(text(Text::Tracestate), "");
    }
}
