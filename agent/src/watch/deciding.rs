//! Which processes are watched, which are left alone for good, and which wait for room.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::debug;

use super::{Binary, Event, WatchError, Watcher};
use crate::attach::AttachError;
use crate::discover::selection::Rule;
use crate::discover::{Decision, FileIdentity, ProcessKey};

impl Watcher {
    /// Leaves a process alone; whoever asked for it is told why.
    pub(super) fn forbid(&mut self, key: ProcessKey, rule: Rule) {
        self.left.insert(key);
        if self.selection.is_explicit() && rule != Rule::NotSelected {
            let executable = self.proc.executable_path(key.pid).unwrap_or_default();
            self.tell(Event::Refused { key, executable, reason: WatchError::Forbidden(rule) });
        }
    }

    /// Decides about a process that is neither watched nor left alone.
    pub(super) fn consider(&mut self, key: ProcessKey, ports: &HashSet<u16>) {
        let Some(executable) = self.proc.executable_path(key.pid) else { return };
        let descends = self.selection.ancestor.is_some_and(|ancestor| self.proc.descends(key.pid, ancestor));
        let early = self.selection.before_inspection(key.pid, &executable, ports, descends);
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
                return self.refuse(key, executable, WatchError::Open(Arc::new(error)), early.is_some());
            }
        };
        if !FileIdentity::of_open(&file).is_ok_and(|identity| identity == key.file) {
            return;
        }
        let Some(Binary { analysis, .. }) = self.binaries.get(&key.file) else {
            return self.analyses.ask(key, file);
        };
        if let Err(reason) = analysis
            && AttachError::of_open_files(reason).is_some()
        {
            let reason = reason.clone();
            self.binaries.remove(&key.file);
            return self.refuse(key, executable, reason, early.is_some());
        }
        let decision = match (&early, analysis) {
            (Some(decision), _) => decision.clone(),
            (None, Ok(analysis)) if analysis.is_server => self.selection.by_default(&analysis.build_info),
            (None, Err(WatchError::Covered { build_info, is_server: true, .. })) => {
                self.selection.by_default(build_info)
            }
            // Nobody asked for it; that most programs are not Go's, or serve nothing, is no news.
            (None, _) => Decision::Leave(Rule::NotSelected),
        };
        if !matches!(decision, Decision::Watch(_)) {
            self.left.insert(key);
            return;
        }
        match self.start(key, &executable, &file) {
            Ok(()) => {
                self.waiting.remove(&key);
            }
            // It went away under our hands: the next sweep knows.
            Err(error) if self.proc.process(key.pid) != Some(key) => {
                debug!(pid = key.pid, path = %executable.display(), %error, "gone before it was watched");
            }
            Err(reason) => self.refuse(key, executable, reason, true),
        }
    }

    /// Leaves a process alone, or until there is room; that is told of those that are wanted, and of the first for which
    /// there is none.
    fn refuse(&mut self, key: ProcessKey, executable: PathBuf, reason: WatchError, is_wanted: bool) {
        let of_files = AttachError::of_open_files(&reason).map(Arc::new);
        let reason = of_files.map_or(reason, WatchError::Attach);
        let is_news = if matches!(&reason, WatchError::Attach(error) if error.is_for_lack_of_room()) {
            self.has_room_again = false;
            let is_first = self.waiting.is_empty();
            self.waiting.insert(key) && (is_wanted || is_first)
        } else {
            self.left.insert(key);
            is_wanted
        };
        if is_news {
            self.tell(Event::Refused { key, executable, reason });
        }
    }
}
