//! Labels or annotations of a pod, as far as there is room for them.

use std::collections::BTreeMap;

/// At most so many bytes of names and values of a pod, those of the first names.
const MAX_TEXTS: usize = 8 << 10;
/// Longer values are not kept, but that they are there: `kubectl apply` leaves the whole manifest in an annotation.
const MAX_VALUE: usize = 1 << 10;

/// Names and their values. What is not known of them is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    kept: BTreeMap<Box<str>, Option<Box<str>>>,
    is_cut: bool,
}

impl Texts {
    /// Whether there is such a name.
    pub fn has(&self, name: &str) -> Option<bool> {
        match self.kept.get(name) {
            Some(_) => Some(true),
            None => (!self.is_cut).then_some(false),
        }
    }

    /// Whether there is such a name with such a value.
    pub fn is(&self, name: &str, of: impl Fn(&str) -> bool) -> Option<bool> {
        match self.kept.get(name) {
            Some(value) => value.as_deref().map(of),
            None => self.has(name),
        }
    }

    pub(super) fn new(all: &BTreeMap<String, String>) -> Self {
        let mut texts = Self::default();
        let mut room = MAX_TEXTS;
        for (name, value) in all {
            let value = (value.len() <= MAX_VALUE).then_some(value.as_str());
            let Some(left) = room.checked_sub(name.len() + value.map_or(0, str::len)) else {
                texts.is_cut = true;
                continue;
            };
            room = left;
            texts.kept.insert(name.as_str().into(), value.map(Into::into));
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_not_known_instead_of_missing() {
        let texts = |all: &[(&str, usize)]| {
            Texts::new(&all.iter().map(|(name, length)| ((*name).to_owned(), "x".repeat(*length))).collect())
        };
        let is_x = |value: &str| value.starts_with('x');
        let few = texts(&[("a", 1), ("long", MAX_VALUE + 1)]);
        assert_eq!((few.has("a"), few.has("long"), few.has("b")), (Some(true), Some(true), Some(false)));
        assert_eq!(
            (few.is("a", is_x), few.is("long", is_x), few.is("b", is_x)),
            (Some(true), None, Some(false))
        );
        assert_eq!(few.is("a", |value| value == "y"), Some(false));
        let names: Vec<_> = (0..9).map(|number| format!("name-{number}")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), MAX_VALUE)).collect();
        let many = texts(&all);
        assert_eq!((many.has("name-0"), many.has("name-8"), many.has("other")), (Some(true), None, None));
        let kept =
            many.kept.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()));
        assert!(kept.sum::<usize>() <= MAX_TEXTS);
    }

    #[test]
    fn values_and_all_of_them_are_kept_up_to_their_bounds() {
        let names: Vec<_> =
            (0..MAX_TEXTS / (MAX_VALUE + 8)).map(|number| format!("name-{number:03}")).collect();
        let left = MAX_TEXTS - names.len() * (MAX_VALUE + 8);
        for beyond in [0, 1] {
            let all = names.iter().map(|name| (name.clone(), "x".repeat(MAX_VALUE)));
            let texts = Texts::new(&all.chain([("z".to_owned(), "x".repeat(left - 1 + beyond))]).collect());
            assert_eq!(texts.is(&names[0], |value| value.len() == MAX_VALUE), Some(true));
            assert_eq!(texts.has("z"), (beyond == 0).then_some(true));
        }
    }
}
