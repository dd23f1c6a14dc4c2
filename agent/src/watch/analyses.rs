//! Analyses of files that are not known yet, by a thread of its own: a large program keeps no known one waiting.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use rustix::process::setpriority_process;
use tracing::debug;

use super::analysis::Analysis;
use super::contents::Contents;
use super::inbox::Waker;
use super::{Coexistence, WatchError, Watcher, remember};
use crate::discover::{FileIdentity, Listeners, ProcessKey};
use crate::sys;

/// At most so many wait for that, each an open file; the others are asked for again when one is done.
const MAX_WAITING_FILES: usize = 64;
/// Whatever the host is meant for comes first (setpriority(2)).
const NICENESS: i32 = 10;

/// What is known of a file.
pub(super) type Known = Result<Arc<Analysis>, WatchError>;

/// The thread, and what it is asked for. There is one: with two the allocator keeps some 7 MB that it cannot give back.
pub(super) struct Analyses {
    jobs: SyncSender<(FileIdentity, File, PathBuf)>,
    done: Receiver<(FileIdentity, Known)>,
    /// Each file that was asked for, with the processes that run it.
    asked: HashMap<FileIdentity, HashSet<ProcessKey>>,
    /// Whether there was no room for a file.
    is_full: bool,
}

impl Analyses {
    pub(super) fn start(waker: &Waker, coexistence: Coexistence) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(MAX_WAITING_FILES);
        let (tell, done) = sync_channel(MAX_WAITING_FILES);
        let waker = waker.clone();
        thread::Builder::new().name("analyse".to_owned()).spawn(move || {
            analyse(&queue, coexistence, &tell, &waker);
        })?;
        Ok(Self { jobs, done, asked: HashMap::new(), is_full: false })
    }

    /// Whether all that was asked for is known.
    pub(super) fn are_done(&self) -> bool {
        self.asked.is_empty() && !self.is_full
    }

    /// Has the file of a process, which stands at `place`, analysed; the process comes up again when that is done.
    pub(super) fn ask(&mut self, key: ProcessKey, file: File, place: PathBuf) {
        if let Some(processes) = self.asked.get_mut(&key.file) {
            processes.insert(key);
            return;
        }
        match self.jobs.try_send((key.file, file, place)) {
            Ok(()) => drop(self.asked.insert(key.file, HashSet::from([key]))),
            Err(TrySendError::Full(_)) => self.is_full = true,
            // The thread has failed outside of what is caught, which cannot be.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

/// What the thread does.
fn analyse(
    queue: &Receiver<(FileIdentity, File, PathBuf)>,
    coexistence: Coexistence,
    tell: &SyncSender<(FileIdentity, Known)>,
    waker: &Waker,
) {
    // Linux has a niceness for each thread, and lets anyone be nicer.
    if let Err(error) = setpriority_process(None, NICENESS) {
        debug!(%error, "programs are analysed with the usual priority");
    }
    let mut contents = Contents::new();
    for (identity, file, place) in queue {
        let known = AssertUnwindSafe(|| Analysis::known(&file, place, coexistence, &mut contents));
        let known = catch_unwind(known);
        let known = known.unwrap_or(Err(WatchError::Analysis));
        sys::give_back_memory();
        if tell.send((identity, known)).is_err() {
            return;
        }
        waker.wake();
    }
}

impl Watcher {
    /// Goes on with the processes whose files are analysed now.
    pub(super) fn take_analyses(&mut self) {
        while let Ok((file, known)) = self.analyses.done.try_recv() {
            let processes = self.analyses.asked.remove(&file).unwrap_or_default();
            remember(&mut self.binaries, file, known);
            let proc = self.proc.clone();
            let mut listeners = Listeners::new(&proc, &self.selection);
            for key in processes {
                if !self.is_decided(&key) && self.proc.process(key.pid) == Some(key) {
                    self.consider(key, &listeners.of(key.pid));
                }
            }
            // Those for which there was no room are found by looking at all once more.
            if std::mem::take(&mut self.analyses.is_full) {
                self.sweep_soon = true;
            }
        }
    }
}
