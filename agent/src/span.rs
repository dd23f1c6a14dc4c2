//! A span: what describing makes of a record, and delivery takes.
//!
//! It borrows its texts from the record and from the arena in which others were put together, so that a span on its way to
//! an endpoint allocates nothing. Whoever keeps it makes it its own ([`Span::into_owned`]).

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use opentelemetry::trace::SpanKind;
use smallvec::SmallVec;

use crate::join::Link;
use crate::record::{Parent, SpanId, TraceId};

/// Attributes that a span holds in itself; further ones are allocated. No record has more of them today.
const ATTRIBUTES: usize = 20;

/// A finished span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// Its parent.
    pub parent: Option<Parent>,
    /// The span of the same trace that it goes on from: it is a piece of something that was open for long.
    pub continues: Option<SpanId>,
    /// The span of the same call on its other side, where no trace context leads to it.
    pub joined: Option<Link>,
    /// The trace flags of `traceparent`: bit 0 is "sampled".
    pub flags: u8,
    /// The caller's `tracestate`, valid; empty if there is none.
    pub trace_state: Cow<'a, str>,
    /// The name of the instrumentation scope, `lightfoot/LIBRARY`. Version and schema are the same for all.
    pub scope: &'static str,
    /// Which side of what it is.
    pub kind: SpanKind,
    /// What it is called.
    pub name: Cow<'a, str>,
    /// When it began.
    pub start_time: SystemTime,
    /// When it ended; not before it began.
    pub end_time: SystemTime,
    /// What is known of it, each key once.
    pub attributes: Attributes<'a>,
    /// How many attributes were dropped at a limit.
    pub dropped_attributes: u32,
    /// Whether it went well.
    pub status: Status<'a>,
}

/// The attributes of a span, in their order.
pub type Attributes<'a> = SmallVec<[Attribute<'a>; ATTRIBUTES]>;

/// A name and a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute<'a> {
    /// The name, of [`crate::semconv`]; that of a header's values is made of the header's.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// A list of texts.
    Texts(Cow<'a, [Cow<'a, str>]>),
}

/// Whether an operation went well, as far as that is for Lightfoot to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// It did, or it is not known to have failed.
    Unset,
    /// It failed; why, unless attributes say it.
    Error(Cow<'a, str>),
}

impl<'a> Span<'a> {
    /// The same, with all its texts.
    pub fn into_owned(self) -> Span<'static> {
        let attributes = self.attributes.into_iter();
        Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent: self.parent,
            continues: self.continues,
            joined: self.joined,
            flags: self.flags,
            trace_state: owned(self.trace_state),
            scope: self.scope,
            kind: self.kind,
            name: owned(self.name),
            start_time: self.start_time,
            end_time: self.end_time,
            attributes: attributes
                .map(|Attribute { key, value }| (owned(key), value.into_owned()).into())
                .collect(),
            dropped_attributes: self.dropped_attributes,
            status: match self.status {
                Status::Unset => Status::Unset,
                Status::Error(why) => Status::Error(owned(why)),
            },
        }
    }

    /// The value of an attribute.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.attributes.iter().find(|attribute| attribute.key == key).map(|attribute| &attribute.value)
    }
}

impl Value<'_> {
    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(owned(text)),
            Self::Integer(number) => Value::Integer(number),
            Self::Boolean(value) => Value::Boolean(value),
            Self::Texts(texts) => Value::Texts(texts.iter().cloned().map(owned).collect()),
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// As people read it.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Texts(texts) => f.write_str(&texts.join(",")),
        }
    }
}

impl<'a, K: Into<Cow<'a, str>>, V: Into<Value<'a>>> From<(K, V)> for Attribute<'a> {
    fn from((key, value): (K, V)) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}
