//! What processes do, as the kernel tells at once, and how long sweeps can wait for that.

use std::time::{Duration, Instant};

use lightfoot_probes_abi::{Counter, ProcessEvent};
use tracing::{debug, info};

use super::{Binary, WatchError, Watcher};
use crate::attach::{ProcessEvents, count};
use crate::discover::{Listeners, ProcessKey};

/// How often /proc is swept where nobody tells what processes do, or a port may be opened at any time …
const SWEEP: Duration = Duration::from_secs(1);
/// … and where that is told, for what was not.
const SLOW_SWEEP: Duration = Duration::from_secs(10);
/// So long it is looked whether a process that is about to end has ended; then the next sweep knows.
const ENDING: Duration = Duration::from_secs(1);
/// How often.
pub(super) const ENDING_POLL: Duration = Duration::from_millis(10);
/// So long a new process is looked at each second, for it may open the port that spans are sent to.
const YOUNG: Duration = Duration::from_secs(10);
/// So much more seldom than each tick are the counts of processes looked at for each that there is: idle ones cost next to nothing.
const WEIGH_FOR_EACH: Duration = Duration::from_millis(10);
/// When so many processes are left alone, by us or to another agent, those that have ended are forgotten. Where more than half as many live,
/// that is at twice their number: it would bring little more often, and each time /proc is swept.
const MAX_LEFT: usize = 65_536;

impl Watcher {
    /// From now on nothing that processes do is missed, if the kernel tells of it.
    pub(super) fn follow(&mut self) -> Option<ProcessEvents> {
        match self.kernel.follow_processes() {
            Ok(events) => {
                self.is_told = true;
                Some(events)
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                info!(error, "new processes are found by a look each second");
                None
            }
        }
    }

    /// Until when the next sweep can wait.
    pub(super) fn sweep_interval(&self, is_told: bool) -> Duration {
        if is_told && self.selection.ports.is_empty() { SLOW_SWEEP } else { SWEEP }
    }

    /// Looks at processes that have done something.
    pub(super) fn take_events(&mut self, events: &mut ProcessEvents) {
        for ProcessEvent { tgid, kind } in events {
            match kind {
                ProcessEvent::EXECUTED => self.executed(tgid),
                ProcessEvent::CALLED => self.has_new_callers(),
                _ => self.ending.extend(self.watched_as(tgid).map(|key| (key, Instant::now() + ENDING))),
            }
        }
        self.leave_ended();
    }

    fn watched_as(&self, pid: u32) -> Option<ProcessKey> {
        self.watched.keys().find(|key| key.pid == pid).copied()
    }

    fn executed(&mut self, pid: u32) {
        let key = self.proc.process(pid);
        if let Some(before) = self.watched_as(pid).filter(|before| Some(*before) != key) {
            self.leave(before);
        }
        let Some(key) = key.filter(|key| self.is_eligible(key) && !self.is_decided(key)) else { return };
        // Most programs of a host are not Go's, and known as such.
        let is_refused = |binary: &Binary| {
            binary.analysis.as_ref().is_err_and(|why| !matches!(why, WatchError::Covered { .. }))
        };
        if self.binaries.get(&key.file).is_some_and(is_refused) && !self.selection.is_explicit() {
            return;
        }
        let proc = self.proc.clone();
        let listening = Listeners::new(&proc, &self.selection).of(pid);
        self.consider(key, &listening);
        self.sweep_soon |= are_too_many(self.left_count(), self.left_at_sweep);
    }

    /// How many processes are left alone, by us or to another agent, or of a pod.
    pub(super) fn left_count(&self) -> usize {
        self.left.len() + self.claimed.len() + self.pods.len()
    }

    /// Some kernels tell of an end before, some after the process has let its program go.
    pub(super) fn leave_ended(&mut self) {
        for (key, until) in std::mem::take(&mut self.ending) {
            if self.proc.process(key.pid) != Some(key) {
                self.leave(key);
            } else if Instant::now() < until {
                self.ending.push((key, until));
            }
        }
    }

    /// What is looked at each second.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.weigh_due {
            self.weigh_routes();
            self.weigh_callers();
            let watched = u32::try_from(self.watched.len()).unwrap_or(u32::MAX);
            self.weigh_due = now + WEIGH_FOR_EACH.saturating_mul(watched);
        }
        if self.is_new && self.analyses.are_done() {
            self.is_new = false;
            // A command is just about to become what is watched.
            if self.watched.is_empty() && self.selection.ancestor.is_none() {
                info!("nothing to watch yet");
            }
        }
        self.look_at_young();
        self.look_at_pods();
        self.end_trials();
        self.detach_unused(Some(now));
        if self.has_room_again && !self.waiting.is_empty() {
            self.sweep_soon = true;
        }
        let overlooked =
            self.kernel.counts(None).map_or(0, |counts| count(&counts, Counter::ProcessEventsFull));
        if overlooked != self.overlooked {
            debug!(
                count = overlooked.wrapping_sub(self.overlooked),
                "what processes did was not told in time"
            );
            (self.overlooked, self.sweep_soon) = (overlooked, true);
            self.has_new_callers();
        }
    }

    /// Leaves whoever has opened the port that spans are sent to, or one that a rule forbids, shortly after its start.
    fn look_at_young(&mut self) {
        if !self.selection.depends_on_sockets() {
            return self.young.clear();
        }
        self.young.retain(|(key, since)| since.elapsed() < YOUNG && self.watched.contains_key(key));
        let proc = self.proc.clone();
        let mut listeners = Listeners::new(&proc, &self.selection);
        for (key, _) in self.young.clone() {
            let listening = listeners.of(key.pid);
            if self.is_forbidden_by_socket(key, &listening) {
                self.leave_alone(key, &listening);
            }
        }
    }
}

/// Whether some of so many are to be forgotten, if so many lived at the last sweep.
fn are_too_many(left: usize, lived: usize) -> bool {
    left > MAX_LEFT.max(lived.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_left_alone_are_swept_when_there_are_more_than_may_be_but_not_for_each_that_lives() {
        assert!(!are_too_many(MAX_LEFT, 0) && are_too_many(MAX_LEFT + 1, 0));
        assert!(!are_too_many(MAX_LEFT, MAX_LEFT / 2) && are_too_many(MAX_LEFT + 1, MAX_LEFT / 2));
        assert!(!are_too_many(2 * MAX_LEFT, MAX_LEFT) && are_too_many(2 * MAX_LEFT + 1, MAX_LEFT));
    }
}
