//! The attributes of a span while it is described.

use std::borrow::Cow;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use crate::semconv as name;
use crate::span::{Attributes, Value};

/// Collects attributes, and which of them were cut.
pub(super) struct Described<'a> {
    attributes: Attributes<'a>,
    truncated: ArenaVec<'a, Cow<'a, str>>,
    /// The texts of the record that were cut, by their names there.
    cut: &'a [&'static str],
}

impl<'a> Described<'a> {
    pub(super) fn new(cut: &'a [&'static str], arena: &'a Bump) -> Self {
        Self { attributes: Attributes::new(), truncated: ArenaVec::new_in(arena), cut }
    }

    pub(super) fn add(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        self.attributes.push((key, value).into());
    }

    /// As [`Described::add`], for a value that was made of these texts of the record.
    pub(super) fn add_made_of(&mut self, texts: &[&str], key: &'static str, value: impl Into<Value<'a>>) {
        self.add(key, value);
        if texts.iter().any(|text| self.cut.contains(text)) {
            self.truncated.push(key.into());
        }
    }

    /// Says that the value of a key was cut.
    pub(super) fn truncate(&mut self, key: impl Into<Cow<'a, str>>) {
        self.truncated.push(key.into());
    }

    /// All of them, and the names of those that were cut as the last one.
    pub(super) fn finish(mut self) -> Attributes<'a> {
        if !self.truncated.is_empty() {
            let truncated = Value::Texts(Cow::Borrowed(self.truncated.into_bump_slice()));
            self.attributes.push((name::TRUNCATED, truncated).into());
        }
        self.attributes
    }
}
