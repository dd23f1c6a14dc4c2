//! Which processes are watched, which are left alone for good, and which wait for room.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::debug;

use super::{Binary, Event, WatchError, Watcher};
use crate::attach::AttachError;
use crate::discover::facts::Looked;
use crate::discover::selection::Rule;
use crate::discover::{Decision, FileIdentity, Listeners, Listening, ProcessKey, Rules};

impl Watcher {
    /// Leaves a process alone; whoever asked for it is told why.
    pub(super) fn forbid(&mut self, key: ProcessKey, rule: Rule) {
        self.left.insert(key);
        if self.selection.is_explicit() && !matches!(rule, Rule::NotSelected | Rule::Paused) {
            let executable = self.proc.executable_path(key.pid).unwrap_or_default();
            self.tell(Event::Refused {
                key,
                executable,
                reason: WatchError::Forbidden(rule),
                is_repeated: false,
            });
        }
    }

    /// Whether a watched process is to be left because of a port that it has opened, or closed, meanwhile.
    pub(super) fn is_forbidden_by_socket(&self, key: ProcessKey, listening: &Listening) -> bool {
        if listening.is_endpoint {
            return true;
        }
        if !self.selection.rules.depend_on_ports() {
            return false;
        }
        let Some(executable) = self.proc.executable_path(key.pid) else { return false };
        let decision = self.look_only(key, &executable, listening).decision;
        matches!(decision, Some(Decision::Leave(_) | Decision::Wait(Rule::OfFile(_))))
    }

    /// Decides about a process that is neither watched nor left alone.
    pub(super) fn consider(&mut self, key: ProcessKey, listening: &Listening) {
        let Some(executable) = self.proc.executable_path(key.pid) else { return };
        let Looked { decision: early, treatment, may_change, awaits_pod, .. } =
            self.look(key, &executable, listening);
        let is_explicit = matches!(&early, Some(Decision::Watch(rule)) if rule.is_explicit());
        match early {
            Some(Decision::Leave(rule)) => return self.forbid(key, rule),
            Some(Decision::Wait(_)) => return,
            Some(Decision::Watch(_)) | None => {}
        }
        let opened = File::open(self.proc.executable(key.pid));
        // It may have gone, or executed something else, which is told or found by a sweep.
        if self.proc.process(key.pid) != Some(key) {
            return debug!(pid = key.pid, path = %executable.display(), "gone before it was inspected");
        }
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                return self.refuse(key, executable, WatchError::Open(Arc::new(error)), is_explicit);
            }
        };
        if !FileIdentity::of_open(&file).is_ok_and(|identity| identity == key.file) {
            return;
        }
        let Some(Binary { analysis, .. }) = self.binaries.get(&key.file) else {
            return self.analyses.ask(key, file, self.proc.executable(key.pid));
        };
        if let Err(reason) = analysis
            && AttachError::of_open_files(reason).is_some()
        {
            let reason = reason.clone();
            self.binaries.remove(&key.file);
            return self.refuse(key, executable, reason, is_explicit);
        }
        let found = match analysis {
            Ok(analysis) => Some((&*analysis.build_info, analysis.is_server)),
            Err(WatchError::Covered { build_info, is_server, .. }) => Some((&**build_info, *is_server)),
            Err(_) => None,
        };
        let can_be_watched = found.is_some();
        let decision = self.selection.after_inspection(early, found);
        let Decision::Watch(rule) = decision else {
            // What cannot be watched, no port makes a service.
            if !(may_change && can_be_watched) {
                self.left.insert(key);
            }
            return;
        };
        if awaits_pod && can_be_watched {
            return self.await_pod(key, executable);
        }
        match self.start(key, &executable, &file, treatment) {
            Ok(()) => {
                self.waiting.remove(&key);
                // Unless another agent watches it.
                if self.watched.contains_key(&key) {
                    self.chosen_by.insert(key, rule);
                }
            }
            // It went away under our hands: the next sweep knows.
            Err(error) if self.proc.process(key.pid) != Some(key) => {
                debug!(pid = key.pid, path = %executable.display(), %error, "gone before it was watched");
            }
            // A rule may be about many processes, of which most are no Go programs.
            Err(reason) => self.refuse(key, executable, reason, can_be_watched || is_explicit),
        }
    }

    /// Follows other rules from now on: what was left alone is looked at again, what is no longer wanted is left, and the
    /// rest goes on under what is said of it now.
    pub(super) fn follow_rules(&mut self, rules: Rules) {
        self.selection.rules = rules;
        self.left.clear();
        self.claimed.clear();
        let proc = self.proc.clone();
        let mut listeners = Listeners::new(&proc, &self.selection);
        let watched: Vec<_> = self.watched.keys().copied().collect();
        for key in watched {
            self.treat_anew(key, &mut listeners);
        }
        self.warn_of_pods();
    }

    /// Leaves a watched process if it is no longer wanted, and has it watched as is said of it now if it is.
    pub(super) fn treat_anew(&mut self, key: ProcessKey, listeners: &mut Listeners<'_>) {
        let Some(executable) = self.proc.executable_path(key.pid) else { return };
        let looked = self.look(key, &executable, &listeners.of(key.pid));
        let analysis = self.binaries.get(&key.file).and_then(|binary| binary.analysis.as_ref().ok());
        let Some(analysis) = analysis else { return };
        let build_info = Arc::clone(&analysis.build_info);
        let decision =
            self.selection.after_inspection(looked.decision, Some((&build_info, analysis.is_server)));
        let recording = self.settings.recording(analysis, None, &looked.treatment);
        let is_watched = matches!(decision, Decision::Watch(_)) && !looked.awaits_pod;
        if is_watched && let Some(owner) = self.watched.get(&key).copied() {
            let propagates = self.settings.propagates_for(&looked.treatment);
            self.set_propagating(owner, key, &executable, propagates);
        }
        if let Decision::Watch(rule) = decision
            && !looked.awaits_pod
            && self.kernel.change(key.pid, &recording).is_ok()
        {
            self.chosen_by.insert(key, rule);
            let treatment = Arc::new(looked.treatment);
            let facts = self.proc.facts(key.pid);
            self.tell(Event::Treated { key, build_info, facts, treatment });
        } else {
            self.leave(key);
        }
    }

    /// Leaves a process alone, or until there is room; that is told of those that are wanted, and of the first for which
    /// there is none.
    fn refuse(&mut self, key: ProcessKey, executable: PathBuf, reason: WatchError, is_wanted: bool) {
        let of_files = AttachError::of_open_files(&reason).map(Arc::new);
        let reason = of_files.map_or(reason, WatchError::Attach);
        let mut is_repeated = false;
        let is_news = if matches!(&reason, WatchError::Attach(error) if error.is_for_lack_of_room()) {
            self.has_room_again = false;
            let is_first = self.waiting.is_empty();
            self.waiting.insert(key) && (is_wanted || is_first)
        } else if matches!(&reason, WatchError::Claimed { .. }) {
            // All others are, most likely.
            is_repeated = !(self.claimed.is_empty() || self.selection.is_explicit());
            self.claimed.insert(key)
        } else {
            self.left.insert(key);
            is_repeated = matches!(&reason, WatchError::Suspended);
            is_wanted
        };
        if is_news {
            self.tell(Event::Refused { key, executable, reason, is_repeated });
        }
    }
}
