//! How long to wait before the next try.

use std::time::Duration;

/// Before the second try.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait that nobody asked for.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest while the last spans are to leave.
const LONGEST_AT_THE_END: Duration = Duration::from_millis(250);
/// The longest wait that an endpoint can ask for: its word is not worth more than our memory.
const LONGEST_HINT: Duration = Duration::from_secs(300);

/// Exponential backoff with jitter, over the tries of one batch.
#[derive(Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The time until the next try. `hint` is what the endpoint asked for, which is the least that it gets.
    pub(super) fn next(&mut self, hint: Option<Duration>, is_ending: bool) -> Duration {
        let longest = if is_ending { LONGEST_AT_THE_END } else { LONGEST };
        let full = FIRST.saturating_mul(2_u32.saturating_pow(self.tries)).min(longest);
        self.tries = self.tries.saturating_add(1);
        match hint {
            // A little more, so that those who were told the same do not come at once.
            Some(hint) => hint.min(LONGEST_HINT) + full.mul_f64(fastrand::f64() / 4.0),
            None => full.mul_f64(fastrand::f64().midpoint(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let waits = || {
            let mut backoff = Backoff::default();
            [(); 8].map(|()| backoff.next(None, false))
        };
        let (first, second) = (waits(), waits());
        assert_ne!(first, second);
        for (index, wait) in first.into_iter().enumerate() {
            let full = (FIRST * (1 << index)).min(LONGEST);
            assert!(wait >= full / 2 && wait <= full, "{index}: {wait:?}");
        }
        let mut backoff = Backoff { tries: u32::MAX };
        assert!(backoff.next(None, false) <= LONGEST);
        assert!(backoff.next(None, true) <= LONGEST_AT_THE_END);
    }

    #[test]
    fn what_the_endpoint_asks_for_is_the_least() {
        let mut backoff = Backoff::default();
        let second = Duration::from_secs(1);
        let wait = backoff.next(Some(second), true);
        assert!(wait >= second && wait < 2 * second, "{wait:?}");
        assert!(backoff.next(Some(Duration::MAX), false) < 2 * LONGEST_HINT);
    }
}
