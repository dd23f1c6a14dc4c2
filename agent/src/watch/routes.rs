//! The optional site that finds the routes of copied requests: placed where it may bring something, for it costs one
//! trap more for each request that passes a `ServeMux`.
//!
//! A program that never needs it never has it. It is placed when a span ends without a route and without an error, and
//! stays once it has brought a route. What a whole trial of hits brings nothing goes again, and the next trial waits
//! ever longer.

use std::time::{Duration, Instant};

use lightfoot_probes_abi::{Counter, Counters};
use tracing::debug;

use super::{Event, Watcher};
use crate::attach::{Group, count};

/// After so many hits that brought no route the site is taken away.
pub const ROUTE_TRIAL: u64 = 1_000;
/// So long no second trial begins, ten times as long no third, and so on.
pub const ROUTE_PAUSE: Duration = Duration::from_secs(60);

/// What a binary's processes have counted, since it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RouteCounts {
    /// Spans that make the site worth a try.
    without: u64,
    /// Spans whose route it brought.
    found: u64,
    /// Its hits.
    hits: u64,
}

impl RouteCounts {
    pub(super) fn add(&mut self, counters: &Counters) {
        self.without = self.without.saturating_add(count(counters, Counter::WithoutRoute));
        self.found = self.found.saturating_add(count(counters, Counter::RouteOfCopy));
        self.hits = self.hits.saturating_add(count(counters, Counter::RouteSite));
    }
}

/// Whether a binary has the site, and why.
#[derive(Debug)]
pub(super) struct RouteTrial {
    /// What processes that are gone have counted.
    pub(super) gone: RouteCounts,
    has_brought_one: bool,
    /// The counts when it was placed, or taken away.
    since: RouteCounts,
    pause: Duration,
    not_before: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Place,
    /// It has brought its first route.
    Keep,
    TakeAway,
}

impl Default for RouteTrial {
    fn default() -> Self {
        Self {
            gone: RouteCounts::default(),
            has_brought_one: false,
            since: RouteCounts::default(),
            pause: ROUTE_PAUSE,
            not_before: None,
        }
    }
}

impl RouteTrial {
    fn weigh(&mut self, counts: RouteCounts, is_placed: bool, now: Instant) -> Option<Verdict> {
        if is_placed && self.has_brought_one {
            return None;
        }
        if is_placed && counts.found > 0 {
            self.has_brought_one = true;
            return Some(Verdict::Keep);
        }
        if is_placed {
            let is_over = counts.hits.saturating_sub(self.since.hits) >= ROUTE_TRIAL;
            return is_over.then(|| {
                self.wait(counts, now);
                Verdict::TakeAway
            });
        }
        let is_wanted = self.has_brought_one || counts.without > self.since.without;
        (is_wanted && self.not_before.is_none_or(|time| now >= time)).then(|| {
            self.since = counts;
            Verdict::Place
        })
    }

    /// No trial for a while, and only for spans that end from now on.
    fn wait(&mut self, counts: RouteCounts, now: Instant) {
        self.since = counts;
        self.not_before = now.checked_add(self.pause);
        self.pause = self.pause.saturating_mul(10);
    }
}

impl Watcher {
    /// Places the site where spans lack a route, and takes it away where it brought none.
    pub(super) fn weigh_routes(&mut self) {
        if !self.settings.copied_routes {
            return;
        }
        let now = Instant::now();
        let mut verdicts = Vec::new();
        for (file, binary) in &mut self.binaries {
            let (Some(attachment), Ok(analysis)) = (&binary.attachment, &binary.analysis) else { continue };
            if analysis.route.places.is_empty()
                || attachment.has(Group::Routes) && binary.route.has_brought_one
            {
                continue;
            }
            let mut counts = binary.route.gone;
            for key in &binary.processes {
                if let Ok(counters) = self.kernel.counts(Some(key.pid)) {
                    counts.add(&counters);
                }
            }
            let verdict = binary.route.weigh(counts, attachment.has(Group::Routes), now);
            verdicts.extend(verdict.map(|verdict| (*file, counts, verdict)));
        }
        for (file, counts, verdict) in verdicts {
            let result = match verdict {
                Verdict::Place => self.add(file, Group::Routes).map(|()| None),
                Verdict::Keep => Ok(Some(())),
                Verdict::TakeAway => {
                    debug!(
                        hits = counts.hits,
                        "the site for routes of copied requests brought none and is taken away"
                    );
                    self.take_away(file, &[Group::Routes]);
                    Ok(None)
                }
            };
            let Some(binary) = self.binaries.get_mut(&file) else { continue };
            if result.is_err() {
                binary.route.wait(counts, now);
            }
            let Some(key) = binary.processes.iter().next() else { continue };
            let executable = self.proc.executable_path(key.pid).unwrap_or_default();
            if let Some(result) = result.transpose() {
                self.tell(Event::CopiedRoutes { executable, result });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(without: u64, found: u64, hits: u64) -> RouteCounts {
        RouteCounts { without, found, hits }
    }

    #[test]
    fn a_program_whose_spans_have_routes_never_has_the_site() {
        let mut trial = RouteTrial::default();
        for second in 0..100 {
            let now = Instant::now() + Duration::from_secs(second);
            assert_eq!(trial.weigh(counts(0, 0, 0), false, now), None);
        }
    }

    #[test]
    fn what_brings_a_route_stays_and_comes_again() {
        let mut trial = RouteTrial::default();
        let now = Instant::now();
        assert_eq!(trial.weigh(counts(1, 0, 0), false, now), Some(Verdict::Place));
        assert_eq!(trial.weigh(counts(2, 0, 900), true, now), None);
        assert_eq!(trial.weigh(counts(2, 1, 2_000), true, now), Some(Verdict::Keep));
        assert_eq!(trial.weigh(counts(2, 1, 200_000), true, now), None);
        // Its last process ended, and another began.
        assert_eq!(trial.weigh(counts(2, 1, 200_000), false, now), Some(Verdict::Place));
        assert_eq!(trial.weigh(counts(2, 1, 900_000), true, now), None);
    }

    #[test]
    fn what_brings_nothing_goes_and_is_tried_ever_more_rarely() {
        let mut trial = RouteTrial::default();
        let start = Instant::now();
        let (mut counted, mut placed) = (counts(0, 0, 0), Vec::new());
        let mut is_placed = false;
        // A thousand requests a second that pass a ServeMux, one of which something else answers, for a day.
        for second in 0..86_400 {
            counted.without += 1;
            if is_placed {
                counted.hits += 1_000;
            }
            match trial.weigh(counted, is_placed, start + Duration::from_secs(second)) {
                Some(Verdict::Place) => {
                    is_placed = true;
                    placed.push(second);
                }
                Some(Verdict::TakeAway) => is_placed = false,
                Some(Verdict::Keep) => unreachable!("nothing was found"),
                None => {}
            }
        }
        assert_eq!(placed, [0, 61, 662, 6_663, 66_664]);
        assert_eq!(counted.hits, 5_000);
    }

    #[test]
    fn a_site_that_nobody_passes_stays_for_it_costs_nothing() {
        let mut trial = RouteTrial::default();
        let now = Instant::now();
        assert_eq!(trial.weigh(counts(1, 0, 0), false, now), Some(Verdict::Place));
        for second in 0..1_000 {
            let later = now + Duration::from_secs(second);
            assert_eq!(trial.weigh(counts(second * 1_000, 0, 0), true, later), None);
        }
    }
}
