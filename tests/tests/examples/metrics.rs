//! The dashboard and the alerts ask for nothing that Lightfoot does not tell.

use std::collections::BTreeSet;
use std::fs;

use lightfoot::status::metrics::table;
use serde_json::Value;

use crate::root;

/// Names that are Prometheus' own.
const OF_PROMETHEUS: [&str; 2] = ["up", "instance"];

pub(crate) fn example(path: &str) -> String {
    fs::read_to_string(root().join("deploy/examples").join(path)).unwrap()
}

/// The texts under a key, however deep.
pub(crate) fn texts(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                if name == key {
                    found.extend(value.as_str().map(str::to_owned));
                }
                texts(value, key, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

/// The names in OpenMetrics, of the document that `status` compares with a running agent.
fn names() -> BTreeSet<String> {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `lightfoot."));
    rows.map(|row| row.split('`').nth(2).unwrap().to_owned()).collect()
}

/// What follows a word, up to what encloses it.
fn lists<'a>(expression: &'a str, before: &str, until: char) -> impl Iterator<Item = &'a str> {
    let parts: Vec<_> = expression.split(before).skip(1).collect();
    parts.into_iter().filter_map(move |part| part.split(until).next())
}

#[test]
fn what_dashboard_and_alerts_ask_for_is_told() {
    let alerts: Value = serde_saphyr::from_str(&example("prometheus/alerts.yml")).unwrap();
    let prometheus: Value = serde_saphyr::from_str(&example("prometheus/prometheus.yml")).unwrap();
    assert_eq!(prometheus["rule_files"][0], "alerts.yml");
    let dashboard: Value = serde_json::from_str(&example("grafana/lightfoot.json")).unwrap();
    let mut expressions = Vec::new();
    texts(&alerts, "expr", &mut expressions);
    texts(&dashboard, "expr", &mut expressions);
    texts(&dashboard["templating"], "query", &mut expressions);
    assert!(expressions.len() > 20, "{expressions:?}");
    let (metrics, names) = (table(), names());
    assert_eq!(names.len(), metrics.len());
    let labels = metrics.iter().flat_map(|metric| metric.attributes).map(|label| label.replace('.', "_"));
    let labels: BTreeSet<String> = labels.chain(OF_PROMETHEUS.map(str::to_owned)).collect();
    let mut asked = BTreeSet::new();
    for expression in &expressions {
        let words = expression.split(|one: char| !(one.is_ascii_alphanumeric() || one == '_'));
        for word in words.filter(|word| word.starts_with("lightfoot_")) {
            assert!(names.contains(word), "{word} in {expression}");
            asked.insert(word.to_owned());
        }
        for list in lists(expression, "by (", ')') {
            list.split(',')
                .for_each(|label| assert!(labels.contains(label.trim()), "{label} in {expression}"));
        }
        for list in lists(expression, "lightfoot_", ')').filter_map(|rest| rest.split_once('{')) {
            for matcher in list.1.split('}').next().unwrap().split(',') {
                let label = matcher.split(['=', '!']).next().unwrap().trim();
                assert!(labels.contains(label), "{label} in {expression}");
            }
        }
    }
    let mut legends = Vec::new();
    texts(&dashboard, "legendFormat", &mut legends);
    for label in legends.iter().flat_map(|legend| lists(legend, "{{", '}')) {
        assert!(labels.contains(label.trim()), "{label} in a legend");
    }
    // None of what tells of trouble is forgotten.
    for metric in
        ["spans_lost_total", "endpoint_up", "ready", "programs_suspended_total", "unclean_stops_total"]
    {
        assert!(asked.contains(&format!("lightfoot_{metric}")), "{metric}");
    }
    // Whoever reads an alert is told of which agent.
    let mut summaries = Vec::new();
    texts(&alerts, "summary", &mut summaries);
    assert!(summaries.iter().all(|summary| summary.contains("$labels.instance")), "{summaries:?}");
}
