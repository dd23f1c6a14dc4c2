use serde_json::{Value, json};

use super::pod::Written;
use super::*;

const UID: &str = "0f3a1b2c-1111-2222-3333-444455556666";
const ID: &str = "3f1b0d8c5a7e92460d8c5a7e92463f1b8c5a7e9246d03f1b5a7e92463f1b0d8c";

fn pod(text: Value) -> Pod {
    Pod::from(serde_json::from_value::<Written>(text).unwrap())
}

fn of(id: Option<&str>, pod_uid: Option<&str>) -> Container {
    Container { id: id.map(str::to_owned), pod_uid: pod_uid.map(str::to_owned) }
}

fn owned(labels: &Value, kind: &str, name: &str) -> Vec<(Kind, String)> {
    let owner = json!({"kind": kind, "name": name, "uid": "u", "controller": true});
    let other = json!({"kind": "Node", "name": "not the controller", "uid": "n"});
    let pod = pod(json!({"metadata": {"labels": labels, "ownerReferences": [other, owner]}}));
    pod.owners.into_iter().map(|owner| (owner.kind, owner.name)).collect()
}

#[test]
fn of_a_pod_is_kept_what_is_asked_for() {
    let pod = pod(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "uid": UID, "name": "cart-0", "namespace": "shop", "resourceVersion": "7", "creationTimestamp": null,
            "labels": {"app.kubernetes.io/name": "cart", "app.kubernetes.io/version": "1.4", "other": "x"},
            "annotations": {"resource.opentelemetry.io/team": "blue", "resource.opentelemetry.io/": "x", "other": "x"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:metadata": {}}}],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "cart", "image": "shop/cart:1.4", "env": [{"name": "A", "value": "b"}]}, {"name": "proxy"}],
            "initContainers": [{"name": "first", "image": "init"}],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "proxy", "containerID": "", "restartCount": 0},
                {"name": "cart", "containerID": format!("containerd://{ID}"), "restartCount": 3},
            ],
        },
    }));
    let container = |name: &str, image: &str, id: Option<&str>, restarts| OfContainer {
        name: name.to_owned(),
        image: image.to_owned(),
        id: id.map(str::to_owned),
        restarts,
    };
    assert_eq!((&*pod.uid, &*pod.name, &*pod.namespace, &*pod.node), (UID, "cart-0", "shop", "node-1"));
    assert_eq!((pod.instance.as_deref(), pod.application.as_deref()), (None, Some("cart")));
    assert_eq!(pod.version.as_deref(), Some("1.4"));
    assert_eq!(pod.attributes, [("team".to_owned(), "blue".to_owned())].into());
    assert_eq!(pod.owners, []);
    assert_eq!(
        pod.containers,
        [
            container("cart", "shop/cart:1.4", Some(ID), 3),
            container("proxy", "", None, 0),
            container("first", "init", None, 0)
        ]
    );
}

#[test]
fn owners_above_the_controller_are_known_by_its_name() {
    let hash = json!({"pod-template-hash": "5d8c7b9f6"});
    let list = |owners: &[(Kind, &str)]| -> Vec<_> {
        owners.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect()
    };
    for (labels, kind, name, expected) in [
        (
            &hash,
            "ReplicaSet",
            "cart-5d8c7b9f6",
            list(&[(Kind::ReplicaSet, "cart-5d8c7b9f6"), (Kind::Deployment, "cart")]),
        ),
        (
            &hash,
            "ReplicaSet",
            "a-b-5d8c7b9f6",
            list(&[(Kind::ReplicaSet, "a-b-5d8c7b9f6"), (Kind::Deployment, "a-b")]),
        ),
        // One that nobody deployed.
        (&hash, "ReplicaSet", "cart-other", list(&[(Kind::ReplicaSet, "cart-other")])),
        (&hash, "ReplicaSet", "-5d8c7b9f6", list(&[(Kind::ReplicaSet, "-5d8c7b9f6")])),
        (&json!({}), "ReplicaSet", "cart-5d8c7b9f6", list(&[(Kind::ReplicaSet, "cart-5d8c7b9f6")])),
        (&hash, "StatefulSet", "db", list(&[(Kind::StatefulSet, "db")])),
        (&hash, "DaemonSet", "log-5d8c7b9f6", list(&[(Kind::DaemonSet, "log-5d8c7b9f6")])),
        (
            &json!({}),
            "Job",
            "nightly-29730240",
            list(&[(Kind::Job, "nightly-29730240"), (Kind::CronJob, "nightly")]),
        ),
        (&json!({}), "Job", "migrate-2", list(&[(Kind::Job, "migrate-2")])),
        (&json!({}), "Job", "x-2973024a", list(&[(Kind::Job, "x-2973024a")])),
        (&json!({}), "Rollout", "cart", list(&[])),
    ] {
        assert_eq!(owned(labels, kind, name), expected, "{kind} {name}");
    }
}

#[test]
fn a_pod_is_found_by_what_cgroups_say_until_it_is_no_more() {
    let directory = Directory::default();
    let make = |status: Value| {
        pod(json!({
            "metadata": {"uid": UID, "name": "a", "annotations": {"kubernetes.io/config.hash": "0f3a1b2c111122223333444455556666"}},
            "spec": {"containers": [{"name": "one"}, {"name": "two"}]},
            "status": {"containerStatuses": status},
        }))
    };
    let container =
        |id: Option<&str>, uid: Option<&str>| directory.find(&of(id, uid)).map(|found| found.container);
    assert_eq!(container(Some(ID), Some(UID)), None);
    assert_eq!(directory.put(make(json!([]))), Put::Changed);
    assert_eq!(
        container(Some(ID), Some(UID)),
        Some(None),
        "the kubelet has not said yet which container it is"
    );
    assert_eq!(
        container(None, Some("0f3a1b2c111122223333444455556666")),
        Some(None),
        "what the kubelet calls it"
    );
    let told = || json!([{"name": "two", "containerID": format!("cri-o://{ID}")}]);
    let generation = directory.generation();
    assert_eq!(directory.put(make(told())), Put::Changed);
    assert_ne!(directory.generation(), generation);
    assert_eq!(container(Some(ID), Some(UID)), Some(Some(1)));
    assert_eq!(container(Some(ID), None), Some(Some(1)), "by the container alone");
    let generation = directory.generation();
    assert_eq!(directory.put(make(told())), Put::Same);
    assert_eq!(directory.generation(), generation, "what says nothing new changes nothing");
    // It was made anew.
    directory.put(make(json!([{"name": "two", "containerID": "cri-o://other"}])));
    assert_eq!(container(Some(ID), None), None);
    assert_eq!(container(Some("other"), None), Some(Some(1)));
    directory.remove(UID);
    assert_eq!(container(Some("other"), Some(UID)), None);
    assert!(directory.is_empty());
    assert!(directory.pods().by_key.is_empty());
}

#[test]
fn the_only_container_of_a_pod_is_known_before_the_kubelet_says_so() {
    let directory = Directory::default();
    directory.put(pod(json!({"metadata": {"uid": UID}, "spec": {"containers": [{"name": "one"}]}})));
    assert_eq!(directory.find(&of(Some(ID), Some(UID))).unwrap().container, Some(0));
}

#[test]
fn a_directory_has_so_many_pods_and_no_more() {
    let directory = Directory::default();
    let numbered = |number: usize| pod(json!({"metadata": {"uid": number.to_string()}}));
    for number in 0..MAX_PODS {
        assert_eq!(directory.put(numbered(number)), Put::Changed);
    }
    assert_eq!(directory.put(numbered(MAX_PODS)), Put::NoRoom);
    assert_eq!(directory.len(), MAX_PODS);
    // Those that are known can change, and whoever goes makes room.
    let changed = pod(json!({"metadata": {"uid": "1", "name": "new"}}));
    assert_eq!(directory.put(changed), Put::Changed);
    directory.remove("0");
    assert_eq!(directory.put(numbered(MAX_PODS)), Put::Changed);
    directory.retain(&["1".to_owned()].into());
    assert_eq!(directory.len(), 1);
}

#[test]
fn attributes_of_annotations_have_their_room() {
    let annotation =
        |name: &str, length: usize| (format!("resource.opentelemetry.io/{name}"), "x".repeat(length));
    let annotations = [
        annotation("a", pod::MAX_ATTRIBUTES - 3),
        annotation("b", 2),
        annotation("c", 1),
        annotation("d", 0),
    ];
    let annotations: HashMap<_, _> = annotations.into_iter().collect();
    let pod = pod(json!({"metadata": {"annotations": annotations}}));
    // 16,382 bytes; 3 more are too many, 2 are not, and then there is room for nothing.
    assert_eq!(pod.attributes.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(pod.left_out, 2);
}

#[test]
fn so_many_containers_of_a_pod_are_known_those_of_its_specification_first() {
    let named =
        |count: usize| (0..count).map(|number| json!({"name": number.to_string()})).collect::<Vec<_>>();
    let of = |count| {
        let first = [json!({"name": "first"})];
        pod(json!({"spec": {"containers": named(count), "initContainers": first}})).containers
    };
    let last = |count| of(count).last().map(|container| container.name.clone());
    assert_eq!(
        (of(pod::MAX_CONTAINERS - 1).len(), of(pod::MAX_CONTAINERS).len()),
        (pod::MAX_CONTAINERS, pod::MAX_CONTAINERS)
    );
    assert_eq!(last(pod::MAX_CONTAINERS - 1).as_deref(), Some("first"));
    assert_ne!(last(pod::MAX_CONTAINERS).as_deref(), Some("first"));
}

#[test]
fn whether_kubernetes_is_asked_follows_from_mode_and_environment() {
    let pod = |name: &str| match name {
        "KUBERNETES_SERVICE_HOST" => Some("10.0.0.1".to_owned()),
        "NODE_NAME" => Some("node-1".to_owned()),
        _ => None,
    };
    let without = |hidden: &'static str| move |name: &str| pod(name).filter(|_| name != hidden);
    let node = Some("node-1".to_owned());
    assert_eq!(Mode::Auto.node(None, pod), node);
    assert_eq!(Mode::Auto.node(Some("mine"), pod), Some("mine".to_owned()));
    assert_eq!(Mode::Auto.node(None, without("NODE_NAME")), None);
    assert_eq!(Mode::Auto.node(None, without("KUBERNETES_SERVICE_HOST")), None);
    assert_eq!(Mode::On.node(None, without("KUBERNETES_SERVICE_HOST")), node);
    assert_eq!(Mode::On.node(None, without("NODE_NAME")), None);
    assert_eq!(Mode::Off.node(Some("mine"), pod), None);
}
