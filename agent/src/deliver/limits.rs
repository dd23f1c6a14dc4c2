//! The limits of the specification on what a span may have (`OTEL_ATTRIBUTE_…`, `OTEL_SPAN_ATTRIBUTE_…`).
//!
//! Limits on events and links are understood, and nothing is limited by them: our spans have no events, and two links at most.

use std::borrow::Cow;

use crate::span::{Span, Value};
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

    pub(super) fn apply(&self, span: &mut Span<'_>) {
        let dropped = span.attributes.len().saturating_sub(self.attributes);
        if dropped > 0 {
            span.attributes.truncate(self.attributes);
            let dropped = u32::try_from(dropped).unwrap_or(u32::MAX);
            span.dropped_attributes = span.dropped_attributes.saturating_add(dropped);
        }
        let Some(length) = self.value_length else { return };
        for attribute in &mut span.attributes {
            match &mut attribute.value {
                Value::Text(text) => cut(text, length),
                Value::Texts(texts) if texts.iter().any(|text| end(text, length).is_some()) => {
                    texts.to_mut().iter_mut().for_each(|text| cut(text, length));
                }
                Value::Texts(_) | Value::Integer(_) | Value::Boolean(_) => {}
            }
        }
    }
}

fn cut(text: &mut Cow<'_, str>, length: usize) {
    let Some(end) = end(text, length) else { return };
    match text {
        Cow::Borrowed(text) => *text = text.get(..end).unwrap_or_default(),
        Cow::Owned(text) => text.truncate(end),
    }
}

/// Where a text of so many characters ends, if this one is longer.
fn end(text: &str, length: usize) -> Option<usize> {
    text.char_indices().nth(length).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::super::testing::span;
    use super::*;
    use crate::span::Attribute;

    #[test]
    fn attributes_beyond_the_limit_are_counted_and_texts_are_cut_between_characters() {
        let texts = |first: &'static str| Value::Texts(vec![first.into(), "a".into()].into());
        let attributes: [Attribute<'_>; _] = [
            ("text", "äöü").into(),
            ("list", texts("äöü")).into(),
            ("number", 12_345_i64).into(),
            ("last", "x").into(),
        ];
        let borrowed = Span { attributes: attributes.into_iter().collect(), ..span(1, 1, 0, 0) };
        let cut: [Attribute<'_>; _] =
            [("text", "äö").into(), ("list", texts("äö")).into(), ("number", 12_345_i64).into()];
        for mut span in [borrowed.clone(), borrowed.into_owned()] {
            Limits { attributes: 3, value_length: Some(2) }.apply(&mut span);
            assert_eq!(span.attributes[..], cut);
            assert_eq!(span.dropped_attributes, 1);

            let before = span.clone();
            Limits { attributes: 3, value_length: None }.apply(&mut span);
            assert_eq!(span, before);
            Limits { attributes: 0, value_length: Some(0) }.apply(&mut span);
            assert_eq!((span.attributes.len(), span.dropped_attributes), (0, 4));
        }
    }
}
