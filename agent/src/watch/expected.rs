//! A process that is about to execute a program: probes stand before its first instruction runs.
//!
//! `lightfoot run -- COMMAND` starts a process that waits until [`Command::Expect`](super::Command) is answered, and
//! then executes the command. Were the command found by a sweep, its first requests could be missed.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::analysis::Analysis;
use super::{Event, Watcher, boot_time, loaded, remember};
use crate::discover::selection::Rule;
use crate::discover::{FileIdentity, Listening, ProcessKey};
use crate::sys;

/// How often is looked whether it has executed the program.
pub(super) const POLL: Duration = Duration::from_millis(1);

/// A process whose number is selected in the kernel before it runs the program.
pub(super) struct Expected {
    pub(super) pid: u32,
    pub(super) file: FileIdentity,
    since: u64,
    /// What it was when it was looked at last.
    seen: Option<ProcessKey>,
}

impl Watcher {
    /// Prepares for `program` in the process `pid`, if it can be watched. If not, a sweep finds out and says why.
    pub(super) fn expect(&mut self, pid: u32, program: &Path) {
        if self.selection.paused.has(program) || self.claims.take(pid).is_err() {
            return;
        }
        self.prepare(pid, program);
        if self.expected.is_none() {
            self.claims.give_back(pid);
        }
    }

    fn prepare(&mut self, pid: u32, program: &Path) {
        let Ok(file) = File::open(program) else { return };
        let Ok(identity) = FileIdentity::of_open(&file) else { return };
        if !self.binaries.contains_key(&identity) {
            // The command waits for it.
            let known = Analysis::of(&file, self.settings.coexistence).map(Arc::new);
            remember(&mut self.binaries, identity, known);
            sys::give_back_memory();
        }
        if self.attach(identity, program, &file).is_err() {
            return;
        }
        // As far as it is known before it is what it will be.
        let treatment = self.selection.look(&self.proc, pid, program, &Listening::default(), None).treatment;
        if self.settings.propagates_for(&treatment) {
            self.prepare_propagation(identity, program);
        }
        let since = boot_time();
        let Some(binary) = self.binaries.get(&identity) else { return };
        let (Some(attachment), Ok(analysis)) = (&binary.attachment, &binary.analysis) else { return };
        // The kernel chooses where a position-independent program goes.
        let bias = (!analysis.position_independent).then_some(0);
        let recording = self.settings.recording(analysis, bias, &treatment);
        if self.kernel.watch(pid, attachment, recording).is_ok() {
            self.expected = Some(Expected { pid, file: identity, since, seen: None });
        } else {
            self.detach_if_unused(identity);
        }
    }

    /// Looks whether the expected process has become what it was to be.
    pub(super) fn meet_expected(&mut self) {
        let Some(Expected { pid, file, since, seen }) = self.expected else { return };
        let key = self.proc.process(pid);
        let runs = FileIdentity::of(&self.proc.executable(pid)).ok();
        if runs.is_some() && (key.is_none() || runs == self.own) {
            return; // it waits, or is in the midst of exec
        }
        if let Some(expected) = &mut self.expected
            && key.is_some()
            && key != seen
        {
            expected.seen = key;
            return; // its stack may not be where it will be
        }
        self.expected = None;
        let met = key.filter(|key| key.file == file && !self.watched.contains_key(key)).and_then(|key| {
            let binary = self.binaries.get(&file)?;
            let analysis = binary.analysis.as_ref().ok()?;
            let loaded = loaded::verify(&self.proc, pid, &analysis.probes).ok()?;
            let build_info = Arc::clone(&analysis.build_info);
            let type_names = binary.type_names.clone();
            self.kernel.set_bias(pid, loaded.bias).ok()?;
            // Only now is it known where they are, if the kernel has no cookies: a request before that is not seen.
            self.locate(pid, file, &loaded.addresses).ok()?;
            let binary = self.binaries.get_mut(&file)?;
            binary.processes.insert(key);
            binary.unused_since = None;
            Some((key, build_info, type_names))
        });
        if let Some((key, build_info, type_names)) = met {
            self.watched.insert(key, file);
            self.try_with_probes(key, file);
            self.chosen_by.insert(key, Rule::Pid);
            // Only now can it be told what they are.
            self.has_new_callers();
            let executable = self.proc.executable_path(pid).unwrap_or_default();
            let facts = self.proc.facts(pid);
            let treatment = self.look(key, &executable, &Listening::default()).treatment;
            let analysis = self.binaries.get(&file).and_then(|binary| binary.analysis.as_ref().ok());
            if let Some(analysis) = analysis {
                let _ = self.kernel.change(pid, &self.settings.recording(analysis, None, &treatment));
            }
            self.set_propagating(file, key, &executable, self.settings.propagates_for(&treatment));
            let treatment = Arc::new(treatment);
            self.tell(Event::Started { key, executable, build_info, facts, type_names, since, treatment });
        } else {
            // Nothing that it did is of interest; a sweep looks at what it is instead.
            let _ = self.kernel.leave(pid);
            self.claims.give_back(pid);
            self.detach_if_unused(file);
        }
    }
}
