//! The limits of the specification on what a span may have (`OTEL_ATTRIBUTE_…`, `OTEL_SPAN_ATTRIBUTE_…`).
//!
//! Limits on events and links are understood and have nothing to limit: our spans have neither.

use opentelemetry::{Array, StringValue, Value};
use opentelemetry_sdk::trace::SpanData;

use crate::variables::Variables;

/// What a span may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most so many attributes; the others are dropped and counted in the span.
    pub attributes: usize,
    /// At most so many characters in a text, also in those of a list; the rest is cut off.
    pub value_length: Option<usize>,
}

impl Limits {
    pub(super) fn read(variables: &mut Variables<'_>) -> Self {
        const COUNTS: [&str; 4] = [
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        ];
        let any = 0..=usize::MAX;
        for name in COUNTS {
            variables.number(&[name], any.clone());
        }
        let count = ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"];
        let length = ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"];
        Self {
            attributes: variables.number(&count, any.clone()).unwrap_or(128),
            value_length: variables.number(&length, any),
        }
    }

    pub(super) fn apply(&self, span: &mut SpanData) {
        let dropped = span.attributes.len().saturating_sub(self.attributes);
        if dropped > 0 {
            span.attributes.truncate(self.attributes);
            let dropped = u32::try_from(dropped).unwrap_or(u32::MAX);
            span.dropped_attributes_count = span.dropped_attributes_count.saturating_add(dropped);
        }
        let Some(length) = self.value_length else { return };
        for attribute in &mut span.attributes {
            match &mut attribute.value {
                Value::String(text) => cut(text, length),
                Value::Array(Array::String(texts)) => texts.iter_mut().for_each(|text| cut(text, length)),
                _ => {}
            }
        }
    }
}

fn cut(text: &mut StringValue, length: usize) {
    let end = text.as_str().char_indices().nth(length).map(|(index, _)| index);
    if let Some(cut) = end.and_then(|end| text.as_str().get(..end)) {
        *text = cut.to_owned().into();
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::super::testing::span;
    use super::*;

    #[test]
    fn attributes_beyond_the_limit_are_counted_and_texts_are_cut_between_characters() {
        let mut span = span(1, 1, 0, 0);
        let texts = Value::Array(Array::String(vec!["äöü".into(), "a".into()]));
        let attributes =
            [("text", "äöü".into()), ("list", texts), ("number", 12_345.into()), ("last", "x".into())];
        span.attributes = attributes.map(|(key, value)| KeyValue::new(key, value)).to_vec();
        Limits { attributes: 3, value_length: Some(2) }.apply(&mut span);
        let cut = Value::Array(Array::String(vec!["äö".into(), "a".into()]));
        let expected = [("text", "äö".into()), ("list", cut), ("number", 12_345.into())];
        assert_eq!(span.attributes, expected.map(|(key, value)| KeyValue::new(key, value)));
        assert_eq!(span.dropped_attributes_count, 1);

        let before = span.clone();
        Limits { attributes: 3, value_length: None }.apply(&mut span);
        assert_eq!(span, before);
        Limits { attributes: 0, value_length: Some(0) }.apply(&mut span);
        assert_eq!((span.attributes.len(), span.dropped_attributes_count), (0, 4));
    }
}
