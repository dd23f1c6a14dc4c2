//! Processes of pods about which rules ask: they wait until Kubernetes has told of their pod, and are decided about anew when it tells
//! something else of that.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Event, WatchError, Watcher};
use crate::discover::facts::Looked;
use crate::discover::pods::OfPod;
use crate::discover::{Listeners, Listening, ProcessKey};

/// So long nothing is said of a process that waits for its pod: the API server tells of that within a second, as a rule.
pub const POD_WAIT: Duration = Duration::from_secs(10);

/// The processes of pods that were looked at while rules ask about pods; those that have ended go with the next sweep.
#[derive(Debug, Default)]
pub(super) struct InPods {
    processes: HashMap<ProcessKey, InPod>,
    /// Up to which change of what is known of pods they were looked at.
    seen: u64,
}

#[derive(Debug)]
struct InPod {
    /// What was known of its pod when it was decided about; that stays when the pod is no more.
    pod: OfPod,
    /// Since when it waits for more, if it does.
    waits: Option<Instant>,
    /// Whether that was said.
    is_told: bool,
}

impl InPods {
    pub(super) fn len(&self) -> usize {
        self.processes.len()
    }

    /// There are no others than these.
    pub(super) fn retain(&mut self, running: &HashSet<ProcessKey>) {
        self.processes.retain(|key, _| running.contains(key));
    }
}

impl Watcher {
    /// Looks at a process, and remembers its pod if rules ask about that.
    pub(super) fn look(&mut self, key: ProcessKey, executable: &Path, listening: &Listening) -> Looked {
        let looked = self.look_only(key, executable, listening);
        let before = self.pods.processes.remove(&key);
        let (waits, was_told) = before.map_or((None, false), |before| (before.waits, before.is_told));
        let is_told = was_told && looked.awaits_pod;
        if let Some(pod) = looked.pod.clone() {
            let waits = waits.filter(|_| looked.awaits_pod);
            self.pods.processes.insert(key, InPod { pod, waits, is_told });
        }
        if was_told && !is_told {
            self.tell(Event::Settled { key });
        }
        looked
    }

    /// The same, and nothing is remembered.
    pub(super) fn look_only(&self, key: ProcessKey, executable: &Path, listening: &Listening) -> Looked {
        let known = self.pods.processes.get(&key).and_then(|in_pod| in_pod.pod.found.as_ref());
        self.selection.look(&self.proc, key.pid, executable, listening, known)
    }

    /// Leaves a process that would be watched until more is known of its pod. Whoever waits for long, or in vain, is told of.
    pub(super) fn await_pod(&mut self, key: ProcessKey, executable: PathBuf) {
        let is_asked = self.selection.pods.is_some();
        let is_repeated = self.pods.processes.values().any(|in_pod| in_pod.is_told);
        let Some(in_pod) = self.pods.processes.get_mut(&key) else { return };
        let since = *in_pod.waits.get_or_insert_with(Instant::now);
        if is_asked && since.elapsed() < POD_WAIT || std::mem::replace(&mut in_pod.is_told, true) {
            return;
        }
        let reason = WatchError::PodUnknown { because: if is_asked { NOT_TOLD } else { NOT_ASKED } };
        self.tell(Event::Refused { key, executable, reason, is_repeated });
    }

    /// Decides anew about processes of pods of which something else is known now.
    pub(super) fn look_at_pods(&mut self) {
        let Some(directory) = self.selection.pods.clone() else { return };
        let generation = directory.generation();
        if std::mem::replace(&mut self.pods.seen, generation) != generation {
            let is_other = |pod: &OfPod| {
                let found = directory.find(&pod.container);
                found.is_some() && found != pod.found
            };
            let processes = self.pods.processes.iter();
            let changed: Vec<_> =
                processes.filter(|(_, in_pod)| is_other(&in_pod.pod)).map(|(key, _)| *key).collect();
            self.decide_anew(&changed);
        }
        let is_due =
            |in_pod: &InPod| !in_pod.is_told && in_pod.waits.is_some_and(|since| since.elapsed() >= POD_WAIT);
        let due: Vec<_> =
            self.pods.processes.iter().filter(|(_, in_pod)| is_due(in_pod)).map(|(key, _)| *key).collect();
        for key in due {
            // One that has ended goes with the next sweep.
            if let Some(executable) = self.proc.executable_path(key.pid) {
                self.await_pod(key, executable);
            }
        }
    }

    fn decide_anew(&mut self, processes: &[ProcessKey]) {
        if processes.is_empty() {
            return;
        }
        let proc = self.proc.clone();
        let mut listeners = Listeners::new(&proc, &self.selection);
        for key in processes.iter().filter(|key| proc.process(key.pid) == Some(**key)) {
            if self.watched.contains_key(key) {
                self.treat_anew(*key, &mut listeners);
            } else {
                self.left.remove(key);
            }
            if self.is_eligible(key) && !self.is_decided(key) {
                self.consider(*key, &listeners.of(key.pid));
            }
        }
    }

    /// Says that rules ask about pods in vain.
    pub(super) fn warn_of_pods(&self) {
        if self.selection.rules.ask_for_pods() && self.selection.pods.is_none() {
            warn!(
                "rules ask about pods, and Kubernetes is not asked: processes of pods are left alone where such a rule may be about them"
            );
        }
    }
}

const NOT_TOLD: &str = "Kubernetes has not told it";
const NOT_ASKED: &str = "Kubernetes is not asked";
