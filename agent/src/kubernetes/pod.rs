//! What is kept of a pod. All else that the API server says of it is passed over while it is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Texts;

/// At most so many bytes of names and values of the attributes that a pod's annotations ask for.
pub(super) const MAX_ATTRIBUTES: usize = 16 << 10;
/// At most so many containers of a pod.
pub(super) const MAX_CONTAINERS: usize = 64;
/// Annotations that ask for an attribute.
const ATTRIBUTE: &str = "resource.opentelemetry.io/";
/// By what the kubelet calls a static pod.
const STATIC_UID: &str = "kubernetes.io/config.hash";
/// What a Deployment adds to the name of its ReplicaSet.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A pod, which is read from what the API server writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Pod {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where it runs.
    pub node: String,
    /// `app.kubernetes.io/instance`, `/name` and `/version`.
    pub instance: Option<String>,
    /// See `instance`.
    pub application: Option<String>,
    /// See `instance`.
    pub version: Option<String>,
    /// Its labels.
    pub labels: Texts,
    /// Its annotations.
    pub annotations: Texts,
    /// What annotations ask for: `resource.opentelemetry.io/NAME` is the attribute NAME.
    pub attributes: BTreeMap<String, String>,
    /// How many attributes there was no room for.
    pub left_out: u64,
    /// Its controller, and that one's.
    pub owners: Vec<Owner>,
    /// Those of its specification, init containers last.
    pub containers: Vec<OfContainer>,
    static_uid: Option<String>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfContainer {
    /// Its name.
    pub name: String,
    /// Its image, as the specification has it.
    pub image: String,
    /// Its id, once it was made.
    pub id: Option<String>,
    /// How often it was made anew.
    pub restarts: u32,
}

/// What a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its UID, unless it is known by its name alone.
    pub uid: Option<String>,
}

/// The owners that the conventions have attributes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Known by the name of its ReplicaSet.
    Deployment,
    /// The controller of a pod.
    ReplicaSet,
    /// The controller of a pod.
    StatefulSet,
    /// The controller of a pod.
    DaemonSet,
    /// Known by the name of its Job.
    CronJob,
    /// The controller of a pod.
    Job,
}

impl Pod {
    /// What a process's cgroups call it.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let ids = self.containers.iter().filter_map(|container| container.id.as_deref());
        [Some(self.uid.as_str()), self.static_uid.as_deref()].into_iter().flatten().chain(ids)
    }

    /// Which container has this id. The only one has it also before the kubelet says so.
    pub(super) fn container_of(&self, id: Option<&str>) -> Option<usize> {
        let told = id.and_then(|id| self.containers.iter().position(|one| one.id.as_deref() == Some(id)));
        told.or_else(|| (self.containers.len() == 1).then_some(0))
    }
}

/// A pod as the API server writes it (Kubernetes API v1), as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    pub(super) metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    uid: String,
    name: String,
    namespace: String,
    pub(super) resource_version: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner_references: Vec<Reference>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    kind: String,
    name: String,
    uid: String,
    controller: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    containers: Vec<Named>,
    init_containers: Vec<Named>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: String,
    restart_count: u32,
}

impl From<Written> for Pod {
    fn from(written: Written) -> Self {
        let Written { metadata, spec, status } = written;
        let Metadata { uid, name, namespace, mut labels, mut annotations, owner_references, .. } = metadata;
        let (kept_labels, kept_annotations) = (Texts::new(&labels), Texts::new(&annotations));
        let hash = labels.remove(TEMPLATE_HASH);
        let controller = owner_references.into_iter().find(|reference| reference.controller);
        let statuses: Vec<_> =
            status.container_statuses.into_iter().chain(status.init_container_statuses).collect();
        let containers = spec.containers.into_iter().chain(spec.init_containers).take(MAX_CONTAINERS);
        let containers = containers.map(|Named { name, image }| {
            let status = statuses.iter().find(|status| status.name == name);
            // `containerd://ID`.
            let id = status.and_then(|status| status.container_id.rsplit_once("//"));
            OfContainer {
                id: id.map(|(_, id)| id.to_owned()),
                restarts: status.map_or(0, |status| status.restart_count),
                name,
                image,
            }
        });
        let mut label = |name: &str| labels.remove(&format!("app.kubernetes.io/{name}"));
        let mut pod = Self {
            uid,
            name,
            namespace,
            node: spec.node_name,
            instance: label("instance"),
            application: label("name"),
            version: label("version"),
            owners: controller.map(|controller| owners(controller, hash.as_deref())).unwrap_or_default(),
            containers: containers.collect(),
            static_uid: annotations.remove(STATIC_UID),
            labels: kept_labels,
            annotations: kept_annotations,
            ..Self::default()
        };
        let mut room = MAX_ATTRIBUTES;
        for (key, value) in annotations {
            let Some(name) = key.strip_prefix(ATTRIBUTE).filter(|name| !name.is_empty()) else { continue };
            match room.checked_sub(name.len() + value.len()) {
                Some(left) => {
                    room = left;
                    pod.attributes.insert(name.to_owned(), value);
                }
                None => pod.left_out += 1,
            }
        }
        pod
    }
}

/// The controller, and the one that its name leads to: that takes no further rights.
///
/// A Deployment calls its ReplicaSets `NAME-HASH`, where the pods have the hash as a label (pkg/controller/deployment), a CronJob its Jobs
/// `NAME-MINUTES`, the time since 1970 (pkg/controller/cronjob: `getJobName`), which had 8 digits since 1989 and has so until 2160.
fn owners(Reference { kind, name, uid, .. }: Reference, hash: Option<&str>) -> Vec<Owner> {
    let kind = match kind.as_str() {
        "ReplicaSet" => Kind::ReplicaSet,
        "StatefulSet" => Kind::StatefulSet,
        "DaemonSet" => Kind::DaemonSet,
        "Job" => Kind::Job,
        _ => return Vec::new(),
    };
    let before = name.rsplit_once('-').filter(|(before, _)| !before.is_empty());
    let above = before.and_then(|(before, end)| {
        let is_time = end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_digit());
        let above = match kind {
            Kind::ReplicaSet if Some(end) == hash => Kind::Deployment,
            Kind::Job if is_time => Kind::CronJob,
            _ => return None,
        };
        Some(Owner { kind: above, name: before.to_owned(), uid: None })
    });
    [Some(Owner { kind, name, uid: Some(uid) }), above].into_iter().flatten().collect()
}
