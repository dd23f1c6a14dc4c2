//! Which probes catch the ends of client calls: what is decided from the callers seen, as a function of time.
//!
//! A call is ended at the cheapest place that is proven: behind the call, in the caller. Who that is shows only while the
//! program runs, for calls go through interfaces. Until then the callee's own returns stand in, which are single-stepped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lightfoot_probes_abi::SiteKind;
use lightfoot_symbolizer::VirtualAddress;

use super::analysis::Probes;
use crate::attach::Group;

/// At most so many callers of a binary get a probe of their own; with more, the callee's returns are probed throughout.
pub const MAX_CALLERS_OF_BINARY: usize = 256;
/// So long after the last new caller of a client function its returns are still probed, unless the user says otherwise. Later new
/// callers cost the ends of their first calls, until they are noticed.
pub const CALLERS_SETTLE: Duration = Duration::from_secs(5);
/// So long after the first caller a place that was probed on trust is given up, unless it was one of the callers.
pub const TRUST: Duration = Duration::from_secs(10);

/// The callers of a binary's clients.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// What their calls return to, each with the place behind it by its offset in the file, or why there is none.
    seen: BTreeMap<VirtualAddress, (SiteKind, Result<u64, String>)>,
    /// The probes at the places that were learned.
    pub(super) sites: BTreeMap<u64, Probes>,
    first: Option<Instant>,
    /// When the latest of those was seen whose calls end at sites of a kind. Where none was, the first has yet to come.
    latest: BTreeMap<SiteKind, Instant>,
    /// How long the returns outlast it.
    settle: Duration,
    /// There are callers that are not known, or may be.
    has_unknown: bool,
    /// What cannot be probed.
    given_up: BTreeSet<Group>,
}

impl Callers {
    /// None was seen yet.
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle, ..Self::default() }
    }

    /// Whether the caller was not seen before. If there is no room for more, it is never known.
    pub(super) fn is_new(&mut self, address: VirtualAddress) -> bool {
        let is_new = !self.seen.contains_key(&address);
        if is_new && self.seen.len() >= MAX_CALLERS_OF_BINARY {
            self.has_unknown = true;
            return false;
        }
        is_new
    }

    /// A caller was seen for the first time, whose calls end at a site of the kind `end`: at `site`, or it says why that cannot be
    /// told.
    pub(super) fn learn(
        &mut self,
        address: VirtualAddress,
        end: SiteKind,
        site: Result<(u64, Probes), String>,
        now: Instant,
    ) {
        let site = site.and_then(|(offset, probes)| {
            if self.given_up.contains(&Group::CallSite(offset)) {
                return Err("no probe could be placed there".to_owned());
            }
            self.sites.insert(offset, probes);
            Ok(offset)
        });
        self.seen.insert(address, (end, site));
        self.first.get_or_insert(now);
        self.latest.insert(end, now);
    }

    /// A group cannot be placed. Callers that return there are ones without a place.
    pub(super) fn give_up(&mut self, group: Group) {
        self.given_up.insert(group);
        if let Group::CallSite(offset) = group {
            self.sites.remove(&offset);
            for (_, site) in self.seen.values_mut().filter(|(_, site)| *site == Ok(offset)) {
                *site = Err("no probe could be placed there".to_owned());
            }
        }
    }

    /// Callers may have been overlooked. Returns whether that is news.
    pub(super) fn overlook(&mut self) -> bool {
        !std::mem::replace(&mut self.has_unknown, true)
    }

    /// When [`Self::wanted`] may be something else, though nothing more becomes known; none if that is over.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        let settled = self.latest.values().map(|latest| *latest + self.settle);
        settled.chain(self.first.map(|first| first + TRUST)).filter(|time| *time > now).min()
    }

    /// The groups of probes that should be in place now. `returns` are the kinds of ends for which there are returns, `trusted` the
    /// places that are probed before anything is known.
    pub(super) fn wanted(
        &self,
        returns: impl Iterator<Item = SiteKind>,
        trusted: impl Iterator<Item = u64>,
        now: Instant,
    ) -> BTreeSet<Group> {
        let since = |time: Option<Instant>| time.map(|time| now.saturating_duration_since(time));
        let is_used = |offset: &u64| self.seen.values().any(|(_, site)| *site == Ok(*offset));
        let is_on_trust = since(self.first).is_none_or(|age| age < TRUST);
        let trusted = trusted.filter(|offset| is_on_trust || is_used(offset));
        let mut wanted: BTreeSet<_> =
            trusted.chain(self.sites.keys().copied()).map(Group::CallSite).collect();
        let are_needed = |end: &SiteKind| {
            let all_have_sites = self.seen.values().all(|(of, site)| of != end || site.is_ok());
            let are_settled = since(self.latest.get(end).copied()).is_some_and(|age| age >= self.settle);
            self.has_unknown || !all_have_sites || !are_settled
        };
        wanted.extend(returns.filter(are_needed).map(Group::Returns));
        wanted.difference(&self.given_up).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// net/http.send's call, the place that is trusted.
    const SEND: u64 = 0x1000;
    const OTHER: u64 = 0x2000;
    const HTTP: SiteKind = SiteKind::HttpClientEnd;
    const STREAMS: SiteKind = SiteKind::GrpcStreamOpened;
    const RETURNS: Group = Group::Returns(HTTP);

    fn callers() -> Callers {
        Callers::new(CALLERS_SETTLE)
    }

    fn caller(address: u64) -> VirtualAddress {
        VirtualAddress(address)
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a plan gives")]
    fn site(offset: u64) -> Result<(u64, Probes), String> {
        Ok((offset, Probes::default()))
    }

    fn wanted(callers: &Callers, now: Instant) -> Vec<Group> {
        callers.wanted([HTTP].into_iter(), [SEND].into_iter(), now).into_iter().collect()
    }

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn with_nothing_seen_the_returns_and_what_is_trusted_stand_for_good() {
        let (callers, start) = (callers(), Instant::now());
        for second in [0, 1, 11, 100_000] {
            let now = start + Duration::from_secs(second);
            assert_eq!(wanted(&callers, now), [RETURNS, Group::CallSite(SEND)]);
        }
    }

    #[test]
    fn a_trusted_caller_that_is_seen_takes_the_returns_away() {
        let (mut callers, start) = (callers(), Instant::now());
        assert!(callers.is_new(caller(1)));
        callers.learn(caller(1), HTTP, site(SEND), start);
        assert!(!callers.is_new(caller(1)));
        assert_eq!(wanted(&callers, after(start, 4_999)), [RETURNS, Group::CallSite(SEND)]);
        assert_eq!(wanted(&callers, after(start, 5_000)), [Group::CallSite(SEND)]);
        assert_eq!(wanted(&callers, after(start, 100_000)), [Group::CallSite(SEND)]);
    }

    #[test]
    fn nothing_changes_by_itself_once_all_is_settled() {
        let (mut callers, start) = (callers(), Instant::now());
        assert_eq!(callers.next_change(start), None);
        callers.learn(caller(1), HTTP, site(OTHER), start);
        let changes =
            [0, 4_999, 5_000, 9_999, 10_000, 100_000].map(|now| callers.next_change(after(start, now)));
        let [settled, over] = [5_000, 10_000].map(|time| Some(after(start, time)));
        assert_eq!(changes, [settled, settled, over, over, None, None]);
        // Each time at which something changes is one that was told before.
        for milliseconds in (0..20_000).step_by(500) {
            let [before, now] = [milliseconds, milliseconds + 500].map(|time| after(start, time));
            let is_told = callers.next_change(before).is_some_and(|time| time <= now);
            assert!(is_told || wanted(&callers, before) == wanted(&callers, now), "{milliseconds}");
        }
        callers.learn(caller(2), HTTP, site(SEND), after(start, 100_000));
        assert_eq!(callers.next_change(after(start, 100_000)), Some(after(start, 105_000)));
    }

    #[test]
    fn a_new_caller_brings_the_returns_back() {
        let (mut callers, start) = (callers(), Instant::now());
        callers.learn(caller(1), HTTP, site(SEND), start);
        assert_eq!(wanted(&callers, after(start, 5_000)), [Group::CallSite(SEND)]);
        assert!(callers.is_new(caller(2)));
        callers.learn(caller(2), HTTP, site(OTHER), after(start, 7_000));
        let both = [Group::CallSite(SEND), Group::CallSite(OTHER)];
        assert_eq!(wanted(&callers, after(start, 11_999)), [RETURNS, both[0], both[1]]);
        assert_eq!(wanted(&callers, after(start, 12_000)), both);
    }

    #[test]
    fn what_was_never_called_keeps_its_returns() {
        let (mut callers, start) = (callers(), Instant::now());
        callers.learn(caller(1), HTTP, site(SEND), start);
        let wanted = |callers: &Callers, milliseconds| {
            let now = after(start, milliseconds);
            callers.wanted([HTTP, STREAMS].into_iter(), [].into_iter(), now).into_iter().collect::<Vec<_>>()
        };
        let [streams, send] = [Group::Returns(STREAMS), Group::CallSite(SEND)];
        assert_eq!(wanted(&callers, 4_999), [RETURNS, streams, send]);
        assert_eq!(wanted(&callers, 100_000), [streams, send]);
        callers.learn(caller(2), STREAMS, site(OTHER), after(start, 100_000));
        let other = Group::CallSite(OTHER);
        assert_eq!(wanted(&callers, 104_999), [streams, send, other]);
        assert_eq!(wanted(&callers, 105_000), [send, other]);
    }

    #[test]
    fn what_was_trusted_in_vain_goes_after_ten_seconds_and_comes_when_it_is_seen() {
        let (mut callers, start) = (callers(), Instant::now());
        callers.learn(caller(2), HTTP, site(OTHER), start);
        let both = [Group::CallSite(SEND), Group::CallSite(OTHER)];
        assert_eq!(wanted(&callers, after(start, 9_999)), both);
        assert_eq!(wanted(&callers, after(start, 10_000)), [Group::CallSite(OTHER)]);
        callers.learn(caller(1), HTTP, site(SEND), after(start, 60_000));
        assert_eq!(wanted(&callers, after(start, 65_000)), both);
    }

    #[test]
    fn a_caller_without_a_place_keeps_the_returns() {
        let (mut callers, start) = (callers(), Instant::now());
        callers.learn(caller(1), HTTP, site(SEND), start);
        callers.learn(caller(2), HTTP, Err("in a tail call".to_owned()), start);
        assert_eq!(wanted(&callers, after(start, 60_000)), [RETURNS, Group::CallSite(SEND)]);
    }

    #[test]
    fn a_place_that_cannot_be_probed_is_none() {
        let (mut callers, start) = (callers(), Instant::now());
        callers.learn(caller(1), HTTP, site(SEND), start);
        callers.learn(caller(2), HTTP, site(OTHER), start);
        callers.give_up(Group::CallSite(OTHER));
        assert_eq!(wanted(&callers, after(start, 60_000)), [RETURNS, Group::CallSite(SEND)]);
        // A trusted one as well.
        callers.give_up(Group::CallSite(SEND));
        assert_eq!(wanted(&callers, after(start, 60_000)), [RETURNS]);
        assert_eq!(wanted(&callers, start), [RETURNS]);
        // Nor is it tried again for another caller.
        callers.learn(caller(3), HTTP, site(OTHER), after(start, 60_000));
        assert_eq!(wanted(&callers, after(start, 120_000)), [RETURNS]);
    }

    #[test]
    fn with_too_many_callers_the_returns_stay() {
        let (mut callers, start) = (callers(), Instant::now());
        for number in 0..MAX_CALLERS_OF_BINARY as u64 {
            assert!(callers.is_new(caller(number)));
            callers.learn(caller(number), HTTP, site(SEND), start);
        }
        assert_eq!(wanted(&callers, after(start, 60_000)), [Group::CallSite(SEND)]);
        assert!(!callers.is_new(caller(1_000)));
        assert_eq!(wanted(&callers, after(start, 60_000)), [RETURNS, Group::CallSite(SEND)]);
    }

    #[test]
    fn whatever_is_overlooked_ends_at_the_returns() {
        let (mut callers, start) = (callers(), Instant::now());
        callers.learn(caller(1), HTTP, site(SEND), start);
        assert!(callers.overlook());
        assert!(!callers.overlook());
        assert_eq!(wanted(&callers, after(start, 60_000)), [RETURNS, Group::CallSite(SEND)]);
    }
}
