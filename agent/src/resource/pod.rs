//! What the pod of a process says of it, by the rules of OpenTelemetry for Kubernetes ("Specify resource attributes using Kubernetes
//! annotations" of the semantic conventions).

use opentelemetry::{Array, KeyValue, StringValue, Value};

use super::NamedBy;
use crate::kubernetes::{Found, Kind, OfContainer, Pod};
use crate::semconv as name;

impl Found {
    fn of_container(&self) -> Option<&OfContainer> {
        self.pod.containers.get(self.container?)
    }

    /// What the service is called.
    pub(super) fn service_name(&self) -> Option<(&str, NamedBy)> {
        let Pod { attributes, instance, application, owners, name: pod, .. } = &*self.pod;
        [
            (attributes.get(name::SERVICE_NAME), NamedBy::PodAnnotation),
            (instance.as_ref(), NamedBy::PodLabel),
            (application.as_ref(), NamedBy::PodLabel),
            // That of a Deployment, not that of its ReplicaSet.
            (owners.last().map(|owner| &owner.name), NamedBy::PodOwner),
            (Some(pod), NamedBy::Pod),
        ]
        .into_iter()
        .find_map(|(name, by)| name.filter(|name| !name.is_empty()).map(|name| (name.as_str(), by)))
    }

    /// All that is said, what annotations ask for last.
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        let pod = &*self.pod;
        let mut attributes = vec![
            KeyValue::new(name::K8S_POD_UID, pod.uid.clone()),
            KeyValue::new(name::K8S_POD_NAME, pod.name.clone()),
            KeyValue::new(name::K8S_NAMESPACE_NAME, pod.namespace.clone()),
            KeyValue::new(name::K8S_NODE_NAME, pod.node.clone()),
            KeyValue::new(name::SERVICE_NAMESPACE, pod.namespace.clone()),
        ];
        for owner in &pod.owners {
            let (of_name, of_uid) = keys(owner.kind);
            attributes.push(KeyValue::new(of_name, owner.name.clone()));
            attributes.extend(owner.uid.as_ref().map(|uid| KeyValue::new(of_uid, uid.clone())));
        }
        if let Some(container) = self.of_container() {
            let (image, tag, digest) = parts(&container.image);
            let instance = format!("{}.{}.{}", pod.namespace, pod.name, container.name);
            attributes.push(KeyValue::new(name::SERVICE_INSTANCE_ID, instance));
            attributes.push(KeyValue::new(name::K8S_CONTAINER_NAME, container.name.clone()));
            if container.id.is_some() {
                attributes
                    .push(KeyValue::new(name::K8S_CONTAINER_RESTART_COUNT, i64::from(container.restarts)));
            }
            attributes.push(KeyValue::new(name::CONTAINER_IMAGE_NAME, image.to_owned()));
            if let Some(tag) = tag {
                let tags = Array::String(vec![StringValue::from(tag.to_owned())]);
                attributes.push(KeyValue::new(name::CONTAINER_IMAGE_TAGS, Value::Array(tags)));
            }
            let version = match (tag, digest) {
                (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
                (tag, digest) => tag.or(digest).map(str::to_owned),
            };
            attributes.extend(version.map(|version| KeyValue::new(name::SERVICE_VERSION, version)));
        }
        let version = pod.version.as_ref();
        attributes.extend(version.map(|version| KeyValue::new(name::SERVICE_VERSION, version.clone())));
        let asked = pod.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        attributes.extend(asked);
        attributes
    }
}

/// The attributes of an owner's name and of its UID.
const fn keys(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Deployment => (name::K8S_DEPLOYMENT_NAME, name::K8S_DEPLOYMENT_UID),
        Kind::ReplicaSet => (name::K8S_REPLICASET_NAME, name::K8S_REPLICASET_UID),
        Kind::StatefulSet => (name::K8S_STATEFULSET_NAME, name::K8S_STATEFULSET_UID),
        Kind::DaemonSet => (name::K8S_DAEMONSET_NAME, name::K8S_DAEMONSET_UID),
        Kind::CronJob => (name::K8S_CRONJOB_NAME, name::K8S_CRONJOB_UID),
        Kind::Job => (name::K8S_JOB_NAME, name::K8S_JOB_UID),
    }
}

/// Of `registry:5000/shop/cart:1.4@sha256:…` the name, the tag and the digest.
fn parts(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (tagged, digest) =
        image.split_once('@').map_or((image, None), |(tagged, digest)| (tagged, Some(digest)));
    // A colon before a slash is that of a port.
    match tagged.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => (name, Some(tag), digest),
        None => (tagged, None, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn images_have_a_name_a_tag_and_a_digest() {
        for (image, expected) in [
            ("cart", ("cart", None, None)),
            ("cart:1.4", ("cart", Some("1.4"), None)),
            ("registry:5000/shop/cart", ("registry:5000/shop/cart", None, None)),
            ("registry:5000/shop/cart:1.4", ("registry:5000/shop/cart", Some("1.4"), None)),
            ("shop/cart@sha256:aa", ("shop/cart", None, Some("sha256:aa"))),
            ("r:5/cart:1.4@sha256:aa", ("r:5/cart", Some("1.4"), Some("sha256:aa"))),
            ("", ("", None, None)),
            (":@:", ("", Some(""), Some(":"))),
        ] {
            assert_eq!(parts(image), expected, "{image}");
        }
    }
}
