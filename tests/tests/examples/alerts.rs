//! The alerts, as Prometheus itself evaluates them, and the expressions of the dashboard, as it reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::foreign;
use crate::metrics::{example, texts};

/// The series by which each of them fires, and those by which it does not.
const TRIALS: &str = include_str!("alerts.yml");

pub(crate) static PROMTOOL: LazyLock<PathBuf> = LazyLock::new(|| foreign("promtool"));

fn promtool(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(&*PROMTOOL).current_dir(folder).args(arguments).output().unwrap()
}

/// What it prints, if it has nothing to complain about.
pub(crate) fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = promtool(folder, arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.into_owned()
}

/// A folder with these rules, and with what is tried of them.
fn with_rules(alerts: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("alerts.yml"), alerts).unwrap();
    fs::write(folder.path().join("trials.yml"), TRIALS).unwrap();
    folder
}

#[test]
fn each_alert_fires_when_it_should_and_at_no_other_time() {
    let text = example("prometheus/alerts.yml");
    let folder = with_rules(&text);
    fs::write(folder.path().join("prometheus.yml"), example("prometheus/prometheus.yml")).unwrap();
    succeeds(folder.path(), &["check", "config", "--syntax-only", "--lint-fatal", "prometheus.yml"]);
    succeeds(folder.path(), &["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]);
    succeeds(folder.path(), &["test", "rules", "trials.yml"]);

    // An alert that never fires, or that always does, would be noticed: each is tried both ways.
    let alerts: Value = serde_saphyr::from_str(&text).unwrap();
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    let trials: Value = serde_saphyr::from_str(TRIALS).unwrap();
    let mut tried = Vec::new();
    texts(&trials, "alertname", &mut tried);
    let names: BTreeSet<_> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(tried.iter().map(String::as_str).collect::<BTreeSet<_>>(), names);
    for (number, name) in rules.iter().map(|rule| &rule["alert"]).enumerate() {
        for expression in ["vector(1) > 1", "vector(1) == 1"] {
            let mut others = alerts.clone();
            others["groups"][0]["rules"][number]["expr"] = json!(expression);
            let folder = with_rules(&others.to_string());
            let output = promtool(folder.path(), &["test", "rules", "trials.yml"]);
            assert!(!output.status.success(), "nothing tells {name} from {expression}");
        }
    }
}

/// As recording rules, with what Grafana puts in the place of its variables.
#[test]
fn prometheus_can_read_each_expression_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&example("grafana/lightfoot.json")).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 10, "{expressions:?}");
    let rules = expressions.iter().enumerate().map(|(number, expression)| {
        let expression = expression.replace("$__rate_interval", "2m").replace("$instance", "node-.*");
        assert!(!expression.contains('$'), "{expression}");
        json!({"record": format!("dashboard:{number}"), "expr": expression})
    });
    let rules: Vec<_> = rules.collect();
    let folder = with_rules(&json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string());
    succeeds(folder.path(), &["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]);
}
