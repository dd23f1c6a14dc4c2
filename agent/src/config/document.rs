//! A YAML document as a tree that knows its lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::check::Mistake;

/// At most so many levels of lists and maps.
pub(super) const MAX_DEPTH: usize = 16;
/// At most so many parts, of which a value is one or two.
pub(super) const MAX_EVENTS: usize = 100_000;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What a plain value is follows the core schema of YAML 1.2.
#[derive(Debug)]
pub(super) enum Value {
    Nothing,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) value: Node,
}

impl Node {
    /// The only document of a file; an empty one is an empty map.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let budget = serde_saphyr::budget! {
            max_events: MAX_EVENTS,
            max_nodes: MAX_EVENTS,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: 0,
            // Sections whose settings are all comments, as the example has them, are longer than is usual.
            max_buffered_comment_events: MAX_EVENTS,
        };
        let options = serde_saphyr::options! {
            budget: budget,
            strict_booleans: true,
            with_snippet: false,
        };
        let parsed = serde_saphyr::from_str_with_options::<Option<Spanned<Value>>>(text, options);
        match parsed {
            Ok(Some(spanned)) => Ok(spanned.into()),
            Ok(None) => Ok(Self { line: 1, value: Value::Nothing }),
            Err(error) => {
                let line = error.location().map_or(1, |location| location.line().max(1));
                Err(Mistake { line, reason: error.without_snippet().to_string() })
            }
        }
    }

    /// The keys and values of a map; of anything else none.
    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// What is in a list, and is something; of anything else nothing.
    pub(super) fn items(&self) -> impl Iterator<Item = &Node> {
        let nodes: &[Node] = if let Value::List(nodes) = &self.value { nodes } else { &[] };
        nodes.iter().filter(|node| !matches!(node.value, Value::Nothing))
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: spanned.referenced.line(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Nothing that is counted here comes near.
        Ok(Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element::<Spanned<Value>>()? {
            nodes.push(node.into());
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Value>>()?;
            entries.push(Entry { line: key.referenced.line(), key: key.value, value: value.into() });
        }
        Ok(Value::Map(entries))
    }
}
