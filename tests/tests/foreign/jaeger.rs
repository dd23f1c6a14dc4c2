//! Jaeger: traces in by OTLP, questions about them.

use std::process::Command;

use serde_json::json;

use crate::driver::Driver;
use crate::otelcol::spans;
use crate::service::{Behind, Place, Service};

const QUERY: usize = 0;
const OTLP: usize = 1;
const HEALTH: usize = 2;
/// No front: nothing of this test is asked there.
const GRPC: usize = 3;

pub(crate) const JAEGER: Service = Service {
    name: "jaeger",
    fronts: &["http", "http", "http"],
    health: (HEALTH, "/status"),
    behind: Behind::Nobody,
    prepare,
    drive,
    crowd: &[
        (QUERY, "/api/services"),
        (QUERY, "/api/traces/00000000000000000000000000000001"),
        (QUERY, "/api/traces/none"),
        (QUERY, "/api/v3/services"),
    ],
    output: &[],
    unobserved: &[],
    counted: &[],
};

fn prepare(place: &Place, command: &mut Command) {
    let configuration = json!({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": place.address(OTLP)}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "mem"}},
        "extensions": {
            "healthcheckv2": {"use_v2": true, "http": {"endpoint": place.address(HEALTH)}},
            "jaeger_storage": {"backends": {"mem": {"memory": {"max_traces": 1000}}}},
            "jaeger_query": {
                "storage": {"traces": "mem"},
                "http": {"endpoint": place.address(QUERY)},
                "grpc": {"endpoint": place.address(GRPC)},
            },
        },
        "service": {
            "extensions": ["healthcheckv2", "jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
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
    driver.post(OTLP, "/v1/traces", &spans(20, 1_000));
    driver.post(OTLP, "/v1/traces", "{");
    driver.get_until(QUERY, "/api/traces/00000000000000000000000000000015", &format!("{:016x}", 201_000));
    driver.get(QUERY, "/api/services");
    driver.get(QUERY, "/api/services/shop/operations");
    driver.get(QUERY, "/api/operations?service=shop&spanKind=server");
    let range = "start=1700000000000000&end=1700000003000000";
    driver.get(QUERY, &format!("/api/traces?service=shop&{range}&limit=1&tags=%7B%22number%22%3A%227%22%7D"));
    driver.get(QUERY, &format!("/api/traces?service=nobody&{range}"));
    driver.get(QUERY, "/api/traces?service=shop&start=x");
    driver.get(QUERY, "/api/traces/00000000000000000000000000000003");
    driver.get(QUERY, "/api/traces/00000000000000000000000000000099");
    driver.get(QUERY, "/api/traces/none");
    driver.get(QUERY, "/api/dependencies?endTs=1700000003000&lookback=60000");
    driver.get(QUERY, "/api/v3/traces/00000000000000000000000000000003");
    driver.get(QUERY, "/api/v3/operations?service=shop");
    driver.get(QUERY, "/search");
    driver.ask(QUERY, "DELETE /api/services", "", b"");
    driver.get(HEALTH, "/status");
}
