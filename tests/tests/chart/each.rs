//! Each value by itself: that it says what it means, and what comes of it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, json};

use crate::values::documented;
use crate::{KUBERNETES, of_kind, root, templated, validated};

/// Values, and what comes of each in the DaemonSet's `spec`.
const ALONE: [(&str, &str, &str); 20] = [
    ("image: {repository: r.example/l, tag: v1}", "/template/spec/containers/0/image", r#""r.example/l:v1""#),
    (
        "image: {tag: v1, digest: 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'}",
        "/template/spec/containers/0/image",
        r#""lightfoot@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
    ),
    ("image: {pullPolicy: Always}", "/template/spec/containers/0/imagePullPolicy", r#""Always""#),
    ("imagePullSecrets: [{name: r}]", "/template/spec/imagePullSecrets", r#"[{"name": "r"}]"#),
    (
        "{endpoint: 'http://c:4318', protocol: http/json}",
        "/template/spec/containers/0/env/3/value",
        r#""http/json""#,
    ),
    ("env: [{name: A, value: b}]", "/template/spec/containers/0/env/2", r#"{"name": "A", "value": "b"}"#),
    (
        "envFrom: [{secretRef: {name: o}}]",
        "/template/spec/containers/0/envFrom",
        r#"[{"secretRef": {"name": "o"}}]"#,
    ),
    ("extraArgs: [--log-format=json]", "/template/spec/containers/0/args", r#"["run", "--log-format=json"]"#),
    (
        "extraVolumes: [{name: a, emptyDir: {}}]",
        "/template/spec/volumes",
        r#"[{"name": "a", "emptyDir": {}}]"#,
    ),
    (
        "{extraVolumes: [{name: a, emptyDir: {}}], extraVolumeMounts: [{name: a, mountPath: /a}]}",
        "/template/spec/containers/0/volumeMounts",
        r#"[{"name": "a", "mountPath": "/a"}]"#,
    ),
    (
        "resources: {limits: {memory: 1Gi}}",
        "/template/spec/containers/0/resources/limits",
        r#"{"memory": "1Gi"}"#,
    ),
    ("nodeSelector: {a: b}", "/template/spec/nodeSelector", r#"{"a": "b", "kubernetes.io/os": "linux"}"#),
    ("updateStrategy: {type: OnDelete, rollingUpdate: null}", "/updateStrategy", r#"{"type": "OnDelete"}"#),
    ("terminationGracePeriodSeconds: 20", "/template/spec/terminationGracePeriodSeconds", "20"),
    ("livenessProbe: {periodSeconds: 7}", "/template/spec/containers/0/livenessProbe/periodSeconds", "7"),
    ("readinessProbe: {periodSeconds: 7}", "/template/spec/containers/0/readinessProbe/periodSeconds", "7"),
    ("podAnnotations: {a: b}", "/template/metadata/annotations", r#"{"a": "b"}"#),
    ("podLabels: {a: b}", "/template/metadata/labels/a", r#""b""#),
    ("serviceAccount: {create: false}", "/template/spec/serviceAccountName", r#""default""#),
    ("serviceAccount: {create: false, name: a}", "/template/spec/serviceAccountName", r#""a""#),
];

/// The values of a file.
fn names(values: Map<String, Value>) -> impl Iterator<Item = String> {
    values.into_iter().map(|(name, _)| name)
}

/// What the schema says of the value at a path, if it knows that.
fn described<'a>(schema: &'a Value, path: &[&str]) -> Option<&'a str> {
    let pointer = format!("/properties/{}", path.join("/properties/"));
    schema.pointer(&pointer)?["description"].as_str()
}

#[test]
fn each_value_says_what_it_means_where_it_stands() {
    let chart = root().join("deploy/chart");
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(chart.join("values.schema.json")).unwrap()).unwrap();
    let text = fs::read_to_string(chart.join("values.yaml")).unwrap();
    let (mut path, mut before, mut told) = (Vec::new(), "", BTreeSet::new());
    for line in text.lines() {
        let depth = line.bytes().take_while(|byte| *byte == b' ').count() / 2;
        if let Some((name, _)) =
            line.trim_start().split_once(':').filter(|_| !line.trim_start().starts_with('#'))
        {
            path.truncate(depth);
            path.push(name);
            // What is deeper than the schema goes is Kubernetes', which says what it means.
            if let Some(description) = described(&schema, &path) {
                let is_told = before.trim_start().starts_with("# ");
                assert!(is_told && !description.is_empty(), "{path:?} has nothing above it: {before}");
                told.insert(path[0]);
            }
        }
        before = line;
    }
    // And each that there can be stands there.
    let mut known: BTreeSet<_> =
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(known.remove("global"));
    assert_eq!(told, known);
}

#[test]
fn each_value_ends_up_where_kubernetes_looks_for_it() {
    let mut all = String::new();
    for (values, place, expected) in ALONE {
        let Some(manifests) = templated(values) else { return };
        let set = of_kind(&manifests, "DaemonSet").unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(set["spec"].pointer(place), Some(&expected), "{values}: {set}");
        all += &manifests;
    }
    for kubernetes in KUBERNETES {
        let Some((good, report)) = validated(&all, kubernetes) else { return };
        assert!(good, "Kubernetes {kubernetes}: {report}");
    }
    let annotated = templated("serviceAccount: {name: a, annotations: {b: c}}").unwrap();
    let account = of_kind(&annotated, "ServiceAccount").unwrap();
    assert_eq!(
        (&account["metadata"]["name"], &account["metadata"]["annotations"]),
        (&json!("a"), &json!({"b": "c"}))
    );
    assert_eq!(of_kind(&templated("serviceAccount: {create: false}").unwrap(), "ServiceAccount"), None);
    // Each is tried here, or in a block of the documentation.
    let documented = documented();
    let tried = ALONE.iter().map(|(values, _, _)| *values).chain(documented.iter().map(String::as_str));
    let tried: BTreeSet<String> =
        tried.flat_map(|values| names(serde_saphyr::from_str(values).unwrap())).collect();
    let there = fs::read_to_string(root().join("deploy/chart/values.yaml")).unwrap();
    let there: BTreeSet<String> = names(serde_saphyr::from_str(&there).unwrap()).collect();
    assert_eq!(there.difference(&tried).collect::<Vec<_>>(), Vec::<&String>::new());
}
