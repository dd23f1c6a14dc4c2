//! Records of HTTP, taken apart.

use lightfoot_probes_abi::record::UNKNOWN_ERROR;
use lightfoot_probes_abi::{Http, ParentRule, Record, RecordKind, Text};

/// A record of an HTTP server or client.
#[derive(Clone, Debug)]
pub struct HttpSpan {
    /// Its fixed part.
    pub fixed: Http,
    texts: [String; Text::COUNT],
}

/// An id as it is written.
pub fn hex(id: u64) -> String {
    format!("{:016x}", u64::from_be_bytes(id.to_ne_bytes()))
}

impl HttpSpan {
    /// # Panics
    /// If it is no record of HTTP, has another length than it says, no id, no extent, or text that is not UTF-8.
    #[expect(clippy::expect_used, clippy::panic, reason = "documented")]
    pub fn parse(bytes: &[u8]) -> Self {
        let parsed = Record::parse(bytes).expect("a record");
        let (Record::HttpServer(fixed, texts) | Record::HttpClient(fixed, texts)) = parsed else {
            panic!("no record of HTTP")
        };
        assert_eq!(u32::try_from(bytes.len()), Ok(fixed.header.length));
        assert!(fixed.header.start <= fixed.header.end);
        assert_ne!(fixed.header.span_id, 0);
        assert_ne!(fixed.error_type_or_stream, UNKNOWN_ERROR);
        let text = |text| String::from_utf8(texts.get(text).to_vec()).expect("UTF-8");
        Self { fixed, texts: Text::ALL.map(text) }
    }

    /// Whether it is a client's.
    pub fn is_client(&self) -> bool {
        self.fixed.header.kind == RecordKind::HttpClient as u8
    }

    /// One of its texts.
    pub fn text(&self, text: Text) -> &str {
        self.texts.get(text as usize).map(String::as_str).unwrap_or_default()
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        let line = self.text(Text::RequestLine);
        line.get(..usize::from(self.fixed.method_length)).unwrap_or_default()
    }

    /// The target of the request, as it was sent: what follows the method, and a space if there was room for one.
    pub fn target(&self) -> &str {
        let line = self.text(Text::RequestLine);
        let rest = line.get(usize::from(self.fixed.method_length)..).unwrap_or_default();
        rest.strip_prefix(' ').unwrap_or(rest)
    }

    /// The path of a client's target, without the query.
    pub fn path(&self) -> &str {
        self.target().get(..usize::from(self.fixed.path_length)).unwrap_or_default()
    }

    /// Whether it has one of `record::http_flags`.
    pub fn has(&self, flag: u16) -> bool {
        self.fixed.flags & flag != 0
    }

    /// The trace id as it is written.
    pub fn trace_id(&self) -> String {
        self.fixed.header.trace_id.iter().map(|half| hex(*half)).collect()
    }

    /// How its parent was found.
    pub fn rule(&self) -> ParentRule {
        match self.fixed.header.parent_rule {
            rule if rule == ParentRule::Remote as u8 => ParentRule::Remote,
            rule if rule == ParentRule::Context as u8 => ParentRule::Context,
            rule if rule == ParentRule::Goroutine as u8 => ParentRule::Goroutine,
            rule if rule == ParentRule::ParentGoroutine as u8 => ParentRule::ParentGoroutine,
            _ => ParentRule::Root,
        }
    }

    /// Whether `parent` is its parent, in the same trace.
    pub fn is_child_of(&self, parent: &Self) -> bool {
        let (own, of_parent) = (&self.fixed.header, &parent.fixed.header);
        own.parent_span_id == of_parent.span_id && own.trace_id == of_parent.trace_id
    }
}
