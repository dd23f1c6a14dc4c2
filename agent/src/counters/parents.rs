//! By which rule spans were linked to their parents.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::ParentRule;

/// What spans that have no parent are counted as.
const NONE: &str = "none";

/// How many spans have a parent by which rule, and how many have none.
#[derive(Debug, Default)]
pub struct Parents {
    by_rule: [AtomicU64; ParentRule::ALL.len()],
    none: AtomicU64,
}

impl Parents {
    /// Counts a span.
    pub fn count(&self, rule: Option<ParentRule>) {
        let counter = rule.and_then(|rule| self.by_rule.get(rule as usize)).unwrap_or(&self.none);
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now, by the names that `lightfoot.parent.rule` has, and `none`.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        let names = ParentRule::ALL.iter().map(|rule| rule.name()).chain([NONE]);
        let counts = self.by_rule.iter().chain([&self.none]).map(|count| count.load(Ordering::Relaxed));
        names.map(str::to_owned).zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_counted_by_its_name() {
        let parents = Parents::default();
        for (position, rule) in ParentRule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, position, "{rule:?}");
            (0..=position).for_each(|_| parents.count(Some(rule)));
        }
        (0..9).for_each(|_| parents.count(None));
        let expected =
            [("incoming", 1), ("context", 2), ("goroutine", 3), ("parent_goroutine", 4), ("none", 9)];
        assert_eq!(parents.by_name(), expected.map(|(name, count)| (name.to_owned(), count)).into());
    }
}
