//! What the API server of Kubernetes tells of the pods of this node, and of nothing else: a list, and then a watch.
//!
//! The right to list and watch pods is all that it takes. What is kept of a pod is bounded ([`Pod`]), and so is the number of pods
//! ([`MAX_PODS`]). Without the API server everything goes on with what was told last.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::resource::Container;

mod following;
mod pod;
mod texts;

pub use following::{KubernetesError, follow};
pub use pod::{Kind, OfContainer, Owner, Pod};
pub use texts::Texts;

/// At most so many pods are known, those of the node that were told first; Kubernetes itself has 110 of a node if nobody says otherwise.
pub const MAX_PODS: usize = 1_024;
/// What the manifest of a DaemonSet puts the node's name into.
pub const NODE_VARIABLE: &str = "NODE_NAME";
/// What the kubelet sets in each container.
const IN_CLUSTER_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// Whether the API server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Where it can be: in a pod that was told the name of its node.
    #[default]
    Auto,
    /// Always, by a kubeconfig if there is one.
    On,
    /// Never.
    Off,
}

impl Mode {
    /// The node whose pods are asked for; `None` if none are. `variable` reads the environment.
    pub fn node(self, named: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let is_wanted = match self {
            Self::Auto => is_set(IN_CLUSTER_VARIABLE),
            Self::On => true,
            Self::Off => false,
        };
        let name = named.map(str::to_owned).or_else(|| variable(NODE_VARIABLE));
        name.filter(|name| is_wanted && !name.is_empty())
    }
}

/// The pods that are known; whoever has a copy sees the same.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pods: Mutex<Pods>,
    /// Grows with each change.
    generation: AtomicU64,
    /// Once the first list was there, or could not be had.
    asked: Notify,
}

/// A pod, and the container of it if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Which of its containers.
    pub container: Option<usize>,
}

impl Directory {
    /// What the pod is that a process with such cgroups runs in.
    pub fn find(&self, container: &Container) -> Option<Found> {
        let pods = self.pods();
        // By the container first: a static pod has another UID at the API server.
        let keys = [&container.id, &container.pod_uid];
        let pod = keys.into_iter().flatten().find_map(|key| pods.by_key.get(key))?;
        Some(Found { pod: Arc::clone(pod), container: pod.container_of(container.id.as_deref()) })
    }

    /// Another number if anything has changed.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// How many pods are known.
    pub fn len(&self) -> usize {
        self.pods().by_uid.len()
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the first list, for so long at most.
    pub async fn asked(&self, within: Duration) {
        // Whoever comes later finds what there is.
        let _ = timeout(within, self.0.asked.notified()).await;
    }

    /// A pod is there, or is otherwise than it was.
    fn put(&self, pod: Pod) -> Put {
        let mut pods = self.pods();
        match pods.by_uid.get(&pod.uid) {
            Some(old) if **old == pod => return Put::Same,
            None if pods.by_uid.len() >= MAX_PODS => return Put::NoRoom,
            _ => {}
        }
        pods.remove(&pod.uid);
        pods.insert(Arc::new(pod));
        self.changed();
        Put::Changed
    }

    /// A pod is no more.
    fn remove(&self, uid: &str) {
        if self.pods().remove(uid) {
            self.changed();
        }
    }

    /// There are no others than these.
    fn retain(&self, uids: &HashSet<String>) {
        let mut pods = self.pods();
        let gone: Vec<_> = pods.by_uid.keys().filter(|uid| !uids.contains(*uid)).cloned().collect();
        for uid in gone {
            pods.remove(&uid);
            self.changed();
        }
    }

    fn changed(&self) {
        self.0.generation.fetch_add(1, Ordering::Release);
    }

    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.0.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a pod that was told.
#[derive(Debug, PartialEq, Eq)]
enum Put {
    Changed,
    Same,
    NoRoom,
}

#[derive(Debug, Default)]
struct Pods {
    by_uid: HashMap<String, Arc<Pod>>,
    /// By what cgroups say: the UID, that of the kubelet, and the ids of containers.
    by_key: HashMap<String, Arc<Pod>>,
}

impl Pods {
    fn insert(&mut self, pod: Arc<Pod>) {
        for key in pod.keys() {
            self.by_key.insert(key.to_owned(), Arc::clone(&pod));
        }
        self.by_uid.insert(pod.uid.clone(), pod);
    }

    fn remove(&mut self, uid: &str) -> bool {
        let Some(pod) = self.by_uid.remove(uid) else { return false };
        for key in pod.keys() {
            // Another pod may say the same.
            if self.by_key.get(key).is_some_and(|there| Arc::ptr_eq(there, &pod)) {
                self.by_key.remove(key);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
