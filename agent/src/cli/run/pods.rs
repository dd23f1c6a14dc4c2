//! Processes of pods, which are called otherwise once Kubernetes tells more of them.
//!
//! Nothing waits for that but the start: what is watched before its pod is known has the names that it has without Kubernetes, until
//! it is told. The kubelet makes a pod's containers after it was told of the pod, by the same API server, so that is rare.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lightfoot_symbolizer::build_info::BuildInfo;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::cli::counts::Counts;
use crate::config::file;
use crate::counters::SessionCounter;
use crate::discover::{ProcessKey, Treatment};
use crate::kubernetes::{Directory, Found, Mode, NODE_VARIABLE, follow};
use crate::resource::Facts;

/// How long the first list may hold up the start.
const FIRST_LIST: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(super) struct KubernetesArguments {
    /// Whether to ask Kubernetes about the pods of this node; auto, which holds if nothing else is said, does in a pod that was told its
    /// node's name
    #[arg(long, value_name = "MODE", value_enum, hide_possible_values = false)]
    kubernetes: Option<Mode>,
    /// The name that Kubernetes has for this node; without it the variable NODE_NAME says it
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
}

impl KubernetesArguments {
    /// The node whose pods are asked for, if any.
    pub(super) fn node(&self, file: &file::Kubernetes) -> Option<String> {
        let mode = self.kubernetes.or(file.mode).unwrap_or_default();
        let named = self.node_name.as_deref().or(file.node_name.as_deref());
        let node = mode.node(named, |name| std::env::var(name).ok());
        if mode == Mode::On && node.is_none() {
            warn!(variable = NODE_VARIABLE, "Kubernetes is not asked: nothing says what this node is called");
        }
        node
    }
}

/// What there is now, or nothing if the answer takes longer than the start of `run` would wait for it.
pub(super) fn now(node: Option<String>) -> anyhow::Result<Option<Directory>> {
    let Some(node) = node else { return Ok(None) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let directory = Directory::default();
    runtime.block_on(async {
        let following = tokio::spawn(follow(node, directory.clone(), |_, _| {}));
        directory.asked(FIRST_LIST).await;
        following.abort();
    });
    Ok(Some(directory))
}

/// The processes of pods, of those that are watched.
#[derive(Default)]
pub(super) struct InPods {
    directory: Directory,
    /// What asks, if anything does.
    following: Option<JoinHandle<()>>,
    generation: u64,
    processes: HashMap<ProcessKey, InPod>,
}

/// What it takes to describe a process anew.
#[derive(Clone)]
pub(super) struct InPod {
    pub(super) facts: Facts,
    pub(super) build_info: Arc<BuildInfo>,
    pub(super) treatment: Arc<Treatment>,
    pub(super) found: Option<Found>,
}

impl InPods {
    /// Asks about the pods of `node`, if there is one; must be called within a tokio runtime.
    pub(super) fn start(node: Option<String>, counts: &Arc<Counts>) -> Self {
        let directory = Directory::default();
        let following = node.map(|node| {
            let counts = Arc::clone(counts);
            tokio::spawn(follow(node, directory.clone(), move |counter, count| counts.add(counter, count)))
        });
        Self { directory, following, generation: 0, processes: HashMap::new() }
    }

    /// What is known of pods, if anything asks.
    pub(super) fn directory(&self) -> Option<Directory> {
        self.following.is_some().then(|| self.directory.clone())
    }

    /// Waits for what is there at the start, but not for long.
    pub(super) async fn asked(&self) {
        if self.following.is_some() {
            self.directory.asked(FIRST_LIST).await;
        }
    }

    /// The pod of a process, which is remembered.
    pub(super) fn find(
        &mut self,
        key: ProcessKey,
        facts: &Facts,
        build_info: &Arc<BuildInfo>,
        treatment: &Arc<Treatment>,
        counts: &Counts,
    ) -> Option<Found> {
        if self.following.is_none() || facts.container().pod_uid.is_none() {
            return None;
        }
        // Rules that change once the pod is gone do not take its names away.
        let before = self.processes.get(&key).and_then(|known| known.found.clone());
        let found = self.directory.find(facts.container()).or(before);
        let known = InPod {
            facts: facts.clone(),
            build_info: Arc::clone(build_info),
            treatment: Arc::clone(treatment),
            found: found.clone(),
        };
        let is_new = self.processes.insert(key, known).is_none();
        if is_new && found.is_none() {
            counts.add(SessionCounter::WithoutPod, 1);
        }
        found
    }

    /// Those of whose pods something else is told than was.
    pub(super) fn changed(&mut self) -> Vec<(ProcessKey, InPod)> {
        let generation = self.directory.generation();
        if std::mem::replace(&mut self.generation, generation) == generation {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for (key, process) in &mut self.processes {
            let found = self.directory.find(process.facts.container());
            // The last spans may come when the pod is no more.
            if found.is_some() && found != process.found {
                process.found = found;
                changed.push((*key, process.clone()));
            }
        }
        changed
    }

    /// A process is no longer watched.
    pub(super) fn ended(&mut self, key: ProcessKey) {
        self.processes.remove(&key);
    }
}

impl Drop for InPods {
    fn drop(&mut self) {
        if let Some(following) = &self.following {
            following.abort();
        }
    }
}
