//! From the clock of the kernel's probes to the time of day.
//!
//! Probes take `CLOCK_BOOTTIME`. The kernel slews it together with `CLOCK_REALTIME` (both are the monotonic clock plus
//! an offset, kernel/time/timekeeping.c), so their difference is constant until somebody *sets* the time of day.
//!
//! The rule: both ends of a span are converted with the offset in force **when the span started**. So a span lasts as
//! long as it lasted, spans that had started before a step keep their order among each other, and those started after
//! it have the new time. A step is noticed at the next [`Clock::reanchor`]: a span that starts between the step and
//! that call has the old time. A measurement that differs by no more than its own uncertainty is no step; without that,
//! noise could put a child before its parent.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

/// How often [`Clock::reanchor`] is to be called.
pub const REANCHOR_INTERVAL: Duration = Duration::from_secs(1);
/// The steps remembered. A span that started before the oldest of them is converted with that one's offset.
pub const MAX_ANCHORS: usize = 64;

/// Readings taken for one anchor; the least disturbed one counts.
const READINGS: usize = 5;

/// Converts nanoseconds of `CLOCK_BOOTTIME` to the time of day.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Never empty, in the order of time.
    anchors: VecDeque<Anchor>,
}

/// Both clocks, read in the order of the fields. In nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// `CLOCK_BOOTTIME` before.
    pub before: u64,
    /// `CLOCK_REALTIME`.
    pub wall: u64,
    /// `CLOCK_BOOTTIME` after.
    pub after: u64,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    /// From when on it holds, in nanoseconds of `CLOCK_BOOTTIME`.
    since: u64,
    /// What to add for the time of day, in nanoseconds.
    offset: i128,
    /// By how much the offset may be wrong.
    uncertainty: u64,
}

impl Clock {
    /// A clock anchored now.
    pub fn start() -> Self {
        Self::from_reading(Reading::take())
    }

    /// A clock anchored at a reading.
    pub fn from_reading(reading: Reading) -> Self {
        // Whatever started earlier has this offset too: an earlier one is not known.
        Self { anchors: VecDeque::from([Anchor { since: 0, ..reading.anchor() }]) }
    }

    /// Notices whether the time of day was set since the last call.
    pub fn reanchor(&mut self) {
        self.observe(Reading::take());
    }

    /// As [`Clock::reanchor`], with a given reading. Returns whether the time of day was set.
    pub fn observe(&mut self, reading: Reading) -> bool {
        let new = reading.anchor();
        let Some(last) = self.anchors.back_mut() else { return false };
        let noise = u128::from(last.uncertainty.saturating_add(new.uncertainty));
        if new.offset.abs_diff(last.offset) <= noise {
            return false;
        }
        self.anchors.push_back(new);
        if self.anchors.len() > MAX_ANCHORS {
            self.anchors.pop_front();
        }
        true
    }

    /// Start and end of a span as times of day, from nanoseconds of `CLOCK_BOOTTIME`. An end before the start is taken
    /// for the start; what lies before 1970 becomes 1970.
    pub fn times(&self, start: u64, end: u64) -> (SystemTime, SystemTime) {
        let in_force = self.anchors.iter().rev().find(|anchor| anchor.since <= start);
        let offset = in_force.or(self.anchors.front()).map_or(0, |anchor| anchor.offset);
        let wall = u64::try_from((i128::from(start) + offset).max(0)).unwrap_or(u64::MAX);
        // The largest u64 of nanoseconds is in the year 2554, so adding them to 1970 cannot overflow; twice neither.
        let start_time = SystemTime::UNIX_EPOCH + Duration::from_nanos(wall);
        (start_time, start_time + Duration::from_nanos(end.saturating_sub(start)))
    }
}

impl Reading {
    /// Reads both clocks, several times, and keeps the reading with the least time between its ends.
    pub fn take() -> Self {
        let once = |_| Self {
            before: nanoseconds(clock_gettime(ClockId::Boottime)),
            wall: nanoseconds(clock_gettime(ClockId::Realtime)),
            after: nanoseconds(clock_gettime(ClockId::Boottime)),
        };
        let first = once(0);
        (1..READINGS)
            .map(once)
            .fold(first, |best, next| if next.width() < best.width() { next } else { best })
    }

    fn width(self) -> u64 {
        self.after.saturating_sub(self.before)
    }

    fn anchor(self) -> Anchor {
        let middle = self.before.saturating_add(self.width() / 2);
        Anchor {
            since: self.before,
            offset: i128::from(self.wall) - i128::from(middle),
            // Half the width, and the microsecond that a clock source without vDSO may be coarse.
            uncertainty: (self.width() / 2).saturating_add(1_000),
        }
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn reading(boot: u64, wall: u64) -> Reading {
        Reading { before: boot, wall, after: boot }
    }

    fn unix(time: SystemTime) -> u64 {
        u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap()
    }

    #[test]
    fn a_span_is_moved_by_the_difference_of_the_clocks() {
        let clock = Clock::from_reading(reading(100, 1_100));
        let (start, end) = clock.times(50, 70);
        assert_eq!((unix(start), unix(end)), (1_050, 1_070));
    }

    #[test]
    fn a_step_moves_only_spans_that_start_after_it() {
        let mut clock = Clock::from_reading(reading(10 * SECOND, 1_000 * SECOND));
        // Ten minutes back, noticed at second 20.
        clock.observe(reading(20 * SECOND, 410 * SECOND));
        let parent = clock.times(19 * SECOND, 30 * SECOND);
        let child = clock.times(19 * SECOND + 5, 29 * SECOND);
        let later = clock.times(21 * SECOND, 22 * SECOND);
        assert_eq!(unix(parent.0), 1_009 * SECOND);
        assert_eq!(unix(parent.1), 1_020 * SECOND);
        assert!(parent.0 < child.0 && child.1 < parent.1);
        assert_eq!(unix(later.0), 411 * SECOND);
    }

    #[test]
    fn noise_is_no_step() {
        let mut clock = Clock::from_reading(Reading { before: 1_000, wall: 501_000, after: 5_000 });
        clock.observe(Reading { before: 11_000, wall: 514_500, after: 15_000 });
        assert_eq!(clock.anchors.len(), 1);
        clock.observe(Reading { before: 21_000, wall: 530_000, after: 25_000 });
        assert_eq!(clock.anchors.len(), 2);
    }

    #[test]
    fn anchors_are_bounded_and_the_oldest_serves_for_what_lies_before_it() {
        let mut clock = Clock::from_reading(reading(0, SECOND));
        for step in 1..=200 {
            clock.observe(reading(step * SECOND, 2 * step * SECOND));
        }
        assert_eq!(clock.anchors.len(), MAX_ANCHORS);
        let oldest = clock.anchors.front().unwrap().offset;
        assert_eq!(i128::from(unix(clock.times(0, 0).0)), oldest);
    }

    #[test]
    fn impossible_times_are_clamped() {
        let clock = Clock::from_reading(reading(5 * SECOND, 0));
        let (start, end) = clock.times(SECOND, 0);
        assert_eq!((unix(start), unix(end)), (0, 0));
        let _ = Clock::from_reading(reading(0, u64::MAX)).times(u64::MAX, u64::MAX);
        let _ = Clock::from_reading(reading(0, u64::MAX)).times(1, u64::MAX);
    }

    #[test]
    fn the_clocks_of_this_machine_agree_with_the_standard_library() {
        let boot = nanoseconds(clock_gettime(ClockId::Boottime));
        let (converted, _) = Clock::start().times(boot, boot);
        let now = SystemTime::now();
        let distance = now.duration_since(converted).unwrap_or_else(|error| error.duration());
        assert!(distance < Duration::from_secs(2), "{distance:?}");
    }
}
