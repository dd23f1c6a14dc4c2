//! The list of the node's pods, and the watch that follows it (Kubernetes API concepts, "Efficient detection of changes").

use std::collections::HashSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use kube::{Client, Config};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::pod::{Pod, Written};
use super::{Directory, Put};
use crate::counters::SessionCounter;

/// Where pods are, of all namespaces.
const PODS: &str = "/api/v1/pods";
/// So many pods come with one answer of a list, so that no answer is large.
const PAGE: u32 = 64;
/// How long one such answer may take.
const LIST: Duration = Duration::from_secs(30);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// The waits between tries, the first and the longest. A watch that ended sooner than the first is no success.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// What the API server answers where its history does not go back as far as what we know.
const GONE: u16 = 410;

/// Why nothing is known of pods.
#[derive(Debug, Error)]
pub enum KubernetesError {
    /// Neither a kubeconfig nor the files of a pod can be used.
    #[error("nothing says where the API server is, and who asks")]
    Config(#[from] kube::config::InferConfigError),
    /// The API server cannot be asked, or refuses.
    #[error("{}", said(.0))]
    Api(#[source] kube::Error),
    /// A list that does not come.
    #[error("no answer within {} s", LIST.as_secs())]
    Slow,
}

impl From<kube::Error> for KubernetesError {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

/// One sentence, without what repeats itself in others'.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        kube::Error::Service(error) => chain(&**error),
        error => error.to_string(),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[derive(Deserialize)]
struct Page {
    metadata: OfList,
    /// Go writes an empty list as nothing.
    items: Option<Vec<Written>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OfList {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Keeps the directory as the API server has the pods of `node`, for ever. Tells `count` what is left out and what failed.
pub async fn follow(node: String, directory: Directory, count: impl Fn(SessionCounter, u64)) {
    let mut following = Following {
        selector: format!("spec.nodeName={node}"),
        directory,
        count,
        client: None,
        version: None,
    };
    let [mut wait, longest] = WAITS;
    let mut is_failing = false;
    loop {
        let began = Instant::now();
        match following.once(&mut is_failing).await {
            // The server ends each watch after some minutes.
            Ok(()) => {}
            Err(KubernetesError::Api(kube::Error::Api(status))) if status.code == GONE => {
                debug!("the pods of this node are listed anew");
                following.version = None;
            }
            Err(error) => {
                (following.count)(SessionCounter::KubernetesFailures, 1);
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(%error, "nothing new is known of the pods of this node");
                }
            }
        }
        following.directory.0.asked.notify_one();
        if began.elapsed() > longest {
            wait = WAITS[0];
        }
        // All agents of a cluster lose the API server at once.
        sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(longest);
    }
}

struct Following<C> {
    selector: String,
    directory: Directory,
    count: C,
    client: Option<Client>,
    /// Up to which change all is known; `None` before the first list.
    version: Option<String>,
}

impl<C: Fn(SessionCounter, u64)> Following<C> {
    /// Lists the pods unless they are known, and follows their changes until the server ends that.
    async fn once(&mut self, is_failing: &mut bool) -> Result<(), KubernetesError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(client().await?).clone(),
        };
        if self.version.is_none() {
            self.version = Some(self.list(&client).await?);
            self.directory.0.asked.notify_one();
            if !*is_failing {
                info!(pods = self.directory.len(), "the pods of this node are known");
            }
        }
        let parameters = WatchParams::default().fields(&self.selector);
        let from = self.version.as_deref().unwrap_or_default();
        let request = Request::new(PODS).watch(&parameters, from).map_err(kube::Error::BuildRequest)?;
        let mut events = pin!(client.request_events::<Written>(request).await?);
        if std::mem::replace(is_failing, false) {
            info!("the pods of this node are known again");
        }
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    self.version = Some(pod.metadata.resource_version.clone());
                    self.put(pod);
                }
                WatchEvent::Deleted(pod) => {
                    self.version = Some(pod.metadata.resource_version.clone());
                    self.directory.remove(&Pod::from(pod).uid);
                }
                WatchEvent::Bookmark(bookmark) => self.version = Some(bookmark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            }
        }
        Ok(())
    }

    /// Asks for all pods, page by page. Returns the version of the list.
    async fn list(&self, client: &Client) -> Result<String, KubernetesError> {
        let mut uids = HashSet::new();
        let mut parameters = ListParams::default().fields(&self.selector).limit(PAGE);
        loop {
            let request = Request::new(PODS).list(&parameters).map_err(kube::Error::BuildRequest)?;
            let page = timeout(LIST, client.request::<Page>(request));
            let Page { metadata, items } = page.await.map_err(|_| KubernetesError::Slow)??;
            for pod in items.into_iter().flatten() {
                // What is left out need not be remembered.
                uids.extend(self.put(pod));
            }
            let Some(next) = metadata.next.filter(|next| !next.is_empty()) else {
                self.directory.retain(&uids);
                return Ok(metadata.resource_version);
            };
            parameters = parameters.continue_token(&next);
        }
    }

    /// Returns its UID, unless there was no room for it.
    fn put(&self, pod: Written) -> Option<String> {
        let pod = Pod::from(pod);
        let (uid, left_out) = (pod.uid.clone(), pod.left_out);
        match self.directory.put(pod) {
            Put::Same => Some(uid),
            Put::Changed => {
                if left_out > 0 {
                    (self.count)(SessionCounter::PodAttributesLeftOut, left_out);
                }
                Some(uid)
            }
            Put::NoRoom => {
                (self.count)(SessionCounter::PodsLeftOut, 1);
                None
            }
        }
    }
}

async fn client() -> Result<Client, KubernetesError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests;
