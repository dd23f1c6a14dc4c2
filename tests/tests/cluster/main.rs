//! The chart and the plain manifests on a real API server of Kubernetes. `make test-all` alone builds that.
//!
//! Needs root for a network of its own; elsewhere it says why it does nothing, and fails where `CI` is `true`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is a failed test"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lightfoot_tests::cache;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::{Folder, skip};

mod coming;
mod documented;
mod pods;
mod server;
#[path = "../common/values.rs"]
mod values;

/// How long a server may take to be ready, and news to reach an agent.
const PATIENCE: Duration = Duration::from_secs(100);

const FOUND: &str = r#"ready: ok
applied: 5
again: 5
pod: pod/lightfoot created
baseline: violates PodSecurity "baseline
restricted: violates PodSecurity "restricted
installed: ["BPF","PERFMON","SYS_PTRACE","DAC_READ_SEARCH"]
privileged: true
everything: ["BPF","PERFMON","SYS_PTRACE","DAC_READ_SEARCH","SYS_ADMIN"], {"config.yaml":"traces:\n  ratio: 0.1\n"}
left: 0
"#;

/// Where a program is that nobody here wrote.
fn foreign(root: &Path, name: &str) -> String {
    let output = Command::new(root.join("scripts/foreign.sh")).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where Helm and kubectl are.
fn tools(root: &Path) -> PathBuf {
    let versions = fs::read_to_string(root.join("scripts/versions.env")).unwrap();
    let version = versions.lines().find_map(|line| line.strip_prefix("HELM_WHEEL_VERSION=")).unwrap();
    cache::folder().join("tools").join(format!("helm-{version}"))
}

/// A folder, where an API server may be started.
fn is_possible(test: &str) -> Option<Folder> {
    if Extent::of_environment() != Extent::All {
        println!("skipped: only `make test-all` builds an API server");
        return None;
    }
    let folder = Folder::for_test(test)?;
    let tools = tools(&root());
    if !tools.is_dir() {
        skip(test, &format!("{} is not there (`scripts/setup.sh chart` brings it)", tools.display()));
        return None;
    }
    Some(folder)
}

/// Pods of the manifests are let in where their namespace has the label that docs/install-kubernetes.md asks for, and nowhere else.
#[test]
fn an_api_server_takes_the_manifests_and_the_chart_with_each_of_its_switches() {
    let Some(folder) = is_possible("the chart on an API server") else { return };
    let root = root();
    let tools = tools(&root);
    let mut command = Command::new("timeout");
    command.args(["300", "unshare", "--net"]).arg(root.join("tests/tests/cluster/trial.sh"));
    command.arg(folder.path()).arg(tools).arg(foreign(&root, "etcd")).arg(foreign(&root, "kube-apiserver"));
    command.arg(root.join("deploy/chart")).arg(root.join("deploy/kubernetes/lightfoot.yaml"));
    let output = command.output().unwrap();
    let log = fs::read_to_string(folder.path().join("server.log")).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), FOUND, "{said}\n{log}");
    assert!(output.status.success(), "{said}");
}
