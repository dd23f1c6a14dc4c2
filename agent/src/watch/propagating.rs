//! To whose requests trace contexts are added: the probes for it come with the first process of a binary that is to have them, and go
//! with the last, for each costs a trap whoever passes it.

use std::path::Path;

use super::{Binary, Event, Settings, WatchError, Watcher};
use crate::attach::Group;
use crate::discover::{FileIdentity, ProcessKey, Treatment};

/// What is asked for all processes about which no rule says anything, and whether the kernel's programs can do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// Programs that write are loaded.
    pub is_possible: bool,
    /// What holds where no rule says otherwise.
    pub is_usual: bool,
}

impl Propagation {
    /// Whether trace contexts are added to what a process sends, by what the first rule says that says anything.
    pub fn is_for(self, rule: Option<bool>) -> bool {
        self.is_possible && rule.unwrap_or(self.is_usual)
    }
}

impl Settings {
    /// Whether trace contexts are added to what a process sends.
    pub(super) fn propagates_for(&self, treatment: &Treatment) -> bool {
        self.propagation.is_for(treatment.propagates())
    }
}

impl Watcher {
    /// Notes whether trace contexts are added to what a process of a binary sends, and places or takes away what that needs.
    pub(super) fn set_propagating(
        &mut self,
        owner: FileIdentity,
        key: ProcessKey,
        executable: &Path,
        is_wanted: bool,
    ) {
        if is_wanted {
            self.prepare_propagation(owner, executable);
            if let Some(binary) = self.binaries.get_mut(&owner) {
                binary.propagating.insert(key);
            }
        } else {
            self.stop_propagating(owner, key);
        }
    }

    /// Places the probes of a binary that add trace contexts, unless that was tried. Where something is not proven, it is said once.
    pub(super) fn prepare_propagation(&mut self, owner: FileIdentity, executable: &Path) {
        let Some(binary) = self.binaries.get_mut(&owner) else { return };
        let (Some(_), Ok(analysis)) = (&binary.attachment, &binary.analysis) else { return };
        if analysis.clients.is_none() || std::mem::replace(&mut binary.propagation_is_tried, true) {
            return;
        }
        let (has_places, why) = (!analysis.propagation.places.is_empty(), analysis.not_propagated.join("; "));
        let mut is_partial = has_places;
        let mut reason = if why.is_empty() { None } else { Some(WatchError::Unproven(why)) };
        if has_places && let Err(error) = self.add(owner, Group::Propagation) {
            if let Some(binary) = self.binaries.get_mut(&owner) {
                binary.propagation_failed = Some(error.clone());
            }
            (reason, is_partial) = (Some(error), false);
        }
        if let Some(reason) = reason {
            self.tell(Event::NotPropagated { executable: executable.into(), is_partial, reason });
        }
    }

    /// A process is to have none any more, or is left. Others of its binary that have none pass no probes for it from now on.
    pub(super) fn stop_propagating(&mut self, owner: FileIdentity, key: ProcessKey) {
        let Some(binary) = self.binaries.get_mut(&owner) else { return };
        if binary.propagating.remove(&key) && binary.has_others_alone() {
            (binary.propagation_is_tried, binary.propagation_failed) = (false, None);
            self.take_away(owner, &[Group::Propagation]);
        }
    }
}

impl Binary {
    /// Whether it has processes, and to none of them anything is added.
    fn has_others_alone(&self) -> bool {
        self.propagating.is_empty() && !self.processes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_above_what_is_asked_for_the_run_and_the_kernel_above_both() {
        let all = [(false, false), (false, true), (true, false), (true, true)];
        for (is_possible, is_usual) in all {
            let propagation = Propagation { is_possible, is_usual };
            assert_eq!(propagation.is_for(None), is_possible && is_usual);
            assert_eq!(propagation.is_for(Some(true)), is_possible);
            assert!(!propagation.is_for(Some(false)));
        }
    }
}
