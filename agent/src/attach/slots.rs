//! Numbers of map elements, given out and taken back.

use std::ops::Range;

/// The free numbers of a range; the lowest is given out first.
#[derive(Debug)]
pub(super) struct Slots {
    free: Vec<u32>,
    limit: u32,
}

impl Slots {
    pub(super) fn new(range: Range<u32>) -> Self {
        Self { limit: range.end.saturating_sub(range.start), free: range.rev().collect() }
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        self.free.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// How many there are.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn give_back(&mut self, slot: u32) {
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn a_slot_is_given_to_one_at_a_time_and_the_last_one_is_the_limit() {
        let mut slots = Slots::new(1..3);
        assert_eq!([slots.take(), slots.take(), slots.take()], [Some(1), Some(2), None]);
        slots.give_back(1);
        assert_eq!((slots.free(), slots.limit()), (1, 2));
        assert_eq!([slots.take(), slots.take()], [Some(1), None]);
    }
}
