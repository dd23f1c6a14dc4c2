//! Records, taken apart.

use lightfoot_probes_abi::record::UNKNOWN_ERROR;
use lightfoot_probes_abi::{Http, ParentRule, Record, RecordKind, Text};

/// A span.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) fixed: Http,
    pub(crate) texts: [String; Text::COUNT],
}

impl Span {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (Record::HttpServer(fixed, texts) | Record::HttpClient(fixed, texts)) =
            Record::parse(bytes).unwrap()
        else {
            panic!("one of HTTP")
        };
        assert_eq!(bytes.len(), usize::try_from(fixed.header.length).unwrap());
        assert!(fixed.header.start <= fixed.header.end);
        assert_ne!(fixed.header.span_id, 0);
        assert_ne!(fixed.error_type, UNKNOWN_ERROR);
        Self { fixed, texts: Text::ALL.map(|text| String::from_utf8(texts.get(text).to_vec()).unwrap()) }
    }

    pub(crate) fn is_client(&self) -> bool {
        self.fixed.header.kind == RecordKind::HttpClient as u8
    }

    pub(crate) fn text(&self, text: Text) -> &str {
        &self.texts[text as usize]
    }

    pub(crate) fn method(&self) -> &str {
        &self.text(Text::RequestLine)[..usize::from(self.fixed.method_length)]
    }

    /// What follows the method, and a space if there was room for one.
    pub(crate) fn target(&self) -> &str {
        let rest = &self.text(Text::RequestLine)[usize::from(self.fixed.method_length)..];
        rest.strip_prefix(' ').unwrap_or(rest)
    }

    /// The path of a client's target, without the query.
    pub(crate) fn path(&self) -> &str {
        &self.target()[..usize::from(self.fixed.path_length)]
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.fixed.flags & flag != 0
    }

    pub(crate) fn rule(&self) -> ParentRule {
        const RULES: [ParentRule; 5] = [
            ParentRule::Root,
            ParentRule::Remote,
            ParentRule::Context,
            ParentRule::Goroutine,
            ParentRule::ParentGoroutine,
        ];
        RULES[usize::from(self.fixed.header.parent_rule)]
    }

    /// Whether `parent` is its parent, in the same trace.
    pub(crate) fn is_child_of(&self, parent: &Self) -> bool {
        let (own, of_parent) = (&self.fixed.header, &parent.fixed.header);
        own.parent_span_id == of_parent.span_id && own.trace_id == of_parent.trace_id
    }
}
