//! The OpenTelemetry Collector.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::backend::{Backend, receivers};
use super::certificates::Certificates;

/// A Collector that writes what it gets to a file, a JSON document a line: what it acknowledged is there once it is
/// stopped.
pub(super) struct Collector(pub(super) Backend);

impl Collector {
    /// With certificates it speaks TLS, and asks clients for a certificate of the same authority.
    pub(super) fn start(certificates: Option<&Certificates>) -> Self {
        Self(Backend::start("otelcol", |ports, folder| {
            json!({
                "receivers": receivers(ports, certificates),
                "exporters": {
                    "file": {"path": folder.join("spans.json"), "append": true, "flush_interval": "50ms"},
                },
                "service": {
                    "pipelines": {
                        "traces": {"receivers": ["otlp"], "exporters": ["file"]},
                        "metrics": {"receivers": ["otlp"], "exporters": ["file"]},
                    },
                    "telemetry": {"metrics": {"level": "none"}},
                },
            })
        }))
    }

    /// Where that protocol is spoken.
    pub(super) fn port(&self, protocol: &str) -> u16 {
        if protocol == "grpc" { self.0.ports.grpc } else { self.0.ports.http }
    }

    /// Everything received so far: pairs of a resource with its schema and scope, and a span.
    pub(super) fn received(&self) -> Vec<(Value, Value)> {
        let documents = self.documents().into_iter();
        let mut spans = Vec::new();
        for resource in documents.flat_map(|document| members(&document["resourceSpans"])) {
            for scope in members(&resource["scopeSpans"]) {
                let about = json!({
                    "resource": attributes(&resource["resource"]["attributes"]),
                    "resource schema": resource["schemaUrl"],
                    "scope": scope["scope"],
                    "scope schema": scope["schemaUrl"],
                });
                for mut span in members(&scope["spans"]) {
                    span["attributes"] = attributes(&span["attributes"]);
                    spans.push((about.clone(), span));
                }
            }
        }
        spans
    }

    /// The metrics received so far, of all requests, and the attributes of their resources.
    pub(super) fn metrics(&self) -> Vec<(Value, Vec<Value>)> {
        let of_resource = |resource: Value| {
            let scopes = members(&resource["scopeMetrics"]);
            let metrics = scopes.iter().flat_map(|scope| members(&scope["metrics"])).collect();
            (attributes(&resource["resource"]["attributes"]), metrics)
        };
        let resources =
            self.documents().into_iter().flat_map(|document| members(&document["resourceMetrics"]));
        resources.map(of_resource).collect()
    }

    fn documents(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.0.folder.path().join("spans.json")).unwrap_or_default();
        // The last line may still be on its way.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Everything received once there are `count` spans.
    pub(super) fn spans(&self, count: usize) -> Vec<(Value, Value)> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let spans = self.received();
            if spans.len() >= count {
                return spans;
            }
            assert!(Instant::now() < deadline, "{} of {count} spans:\n{}", spans.len(), self.0.log());
            sleep(Duration::from_millis(50));
        }
    }
}

fn members(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

/// From a list of keys and values to an object; no key may come twice.
fn attributes(list: &Value) -> Value {
    let mut object = Map::new();
    for attribute in members(list) {
        let key = attribute["key"].as_str().unwrap().to_owned();
        assert!(object.insert(key.clone(), attribute["value"].clone()).is_none(), "{key} twice");
    }
    Value::Object(object)
}
