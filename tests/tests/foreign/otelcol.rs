//! The OpenTelemetry Collector: OTLP over HTTP in, a file out.

use std::process::Command;

use serde_json::json;

use crate::driver::Driver;
use crate::service::{Behind, Place, Service};

const OTLP: usize = 0;
const HEALTH: usize = 1;
const PAGES: usize = 2;

pub(crate) const OTELCOL: Service = Service {
    name: "otelcol",
    fronts: &["http", "http", "http"],
    health: (HEALTH, "/health"),
    behind: Behind::Nobody,
    prepare,
    drive,
    crowd: &[
        (PAGES, "/debug/pipelinez"),
        (PAGES, "/debug/extensionz"),
        (OTLP, "/v1/traces"),
        (OTLP, "/v1/nothing"),
    ],
    output: &["spans.json"],
    unobserved: &[],
    counted: &[],
};

fn prepare(place: &Place, command: &mut Command) {
    let configuration = json!({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": place.address(OTLP)}}}},
        "exporters": {"file": {"path": place.path("spans.json"), "flush_interval": "50ms"}},
        "extensions": {
            "health_check": {"endpoint": place.address(HEALTH), "path": "/health"},
            "zpages": {"endpoint": place.address(PAGES)},
        },
        "service": {
            "extensions": ["health_check", "zpages"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    });
    let path = place.write("configuration.json", &configuration.to_string());
    command.arg(format!("--config=file:{path}"));
}

fn drive(driver: &mut Driver<'_>) {
    for number in 0..20 {
        driver.post(OTLP, "/v1/traces", &spans(number, 1));
    }
    driver.post(OTLP, "/v1/traces", &spans(20, 3_000));
    driver.post(OTLP, "/v1/traces", "{");
    driver.ask(OTLP, "POST /v1/traces", "Content-Type: text/plain\r\n", b"x");
    driver.ask(OTLP, "POST /v1/traces", "Content-Type: application/x-protobuf\r\n", b"");
    driver.ask(
        OTLP,
        "POST /v1/traces",
        "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n",
        b"no",
    );
    driver.post(OTLP, "/v1/logs", r#"{"resourceLogs":[]}"#);
    driver.ask(OTLP, "PUT /v1/traces", "", b"");
    driver.ask(OTLP, "HEAD /v1/traces", "", b"");
    driver.get(OTLP, "/v1/traces");
    driver.get(HEALTH, "/health");
    driver.get(HEALTH, "/elsewhere");
    driver.get(PAGES, "/debug/pipelinez?pipelinenamez=traces");
    driver.get(PAGES, "/debug/servicez");
    driver.get(PAGES, "/debug/extensionz");
    driver.get(PAGES, "/debug/tracez");
}

/// A request of OTLP with so many spans.
pub(crate) fn spans(number: u32, count: u32) -> String {
    let span = |index: u32| {
        json!({
            "traceId": format!("{:032x}", number + 1), "spanId": format!("{:016x}", number * 10_000 + index + 1),
            "name": "work", "kind": 2,
            "startTimeUnixNano": "1700000001000000000", "endTimeUnixNano": "1700000002000000000",
            "attributes": [{"key": "number", "value": {"intValue": number.to_string()}}],
        })
    };
    let spans: Vec<_> = (0..count).map(span).collect();
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).to_string()
}
