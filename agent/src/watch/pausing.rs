//! The off switch: what is paused is detached from at once, not after a while as otherwise, and comes back when it is asked for.

use super::Watcher;
use crate::discover::{Paused, ProcessKey};

impl Watcher {
    /// Leaves alone from now on what is `paused`, and nothing else for that reason. When it returns, no probe is left in files of which
    /// all is paused.
    pub(super) fn pause(&mut self, paused: Paused) {
        let is_everything = matches!(paused, Paused::Everything);
        if is_everything {
            // Where the kernel takes long to take probes away, these do nothing meanwhile.
            let _ = self.kernel.disable();
        }
        self.selection.paused = paused;
        // What was left alone is looked at again: it may be paused no more.
        self.left.clear();
        let has = |key: &&ProcessKey| {
            let path = self.proc.executable_path(key.pid);
            is_everything || path.is_some_and(|path| self.selection.paused.has(&path))
        };
        let left: Vec<_> = self.watched.keys().filter(has).copied().collect();
        for key in left {
            self.leave(key);
        }
        if is_everything && let Some(expected) = self.expected.take() {
            let _ = self.kernel.leave(expected.pid);
            self.claims.give_back(expected.pid);
            self.detach_if_unused(expected.file);
        }
        self.detach_unused(None);
        self.kernel.settle();
        if !is_everything {
            let _ = self.kernel.enable();
        }
        self.sweep_soon = true;
    }
}
