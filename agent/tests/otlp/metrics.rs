//! Metrics of an agent, as a real Collector understands them.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use lightfoot::deliver::Courier;
use lightfoot::status::metrics::{Kind, table};
use lightfoot::status::otlp::request;
use lightfoot::status::{Delivery, MapFill, Memory, Process, Status};
use serde_json::{Value, json};

use super::collector::Collector;
use super::process::{block_on, settings};

/// Something to say of each metric.
fn status() -> Status {
    Status {
        version: "1.2.3".to_owned(),
        counts_age_seconds: Some(0.5),
        delivery: Delivery {
            endpoint: Some("http://x".to_owned()),
            services: [("shop".to_owned(), [("spans_exported".to_owned(), 4)].into())].into(),
            ..Delivery::default()
        },
        processes: vec![Process { go: Some("go1.26.6".to_owned()), ..Process::default() }],
        parents: [("none".to_owned(), 7)].into(),
        memory: Memory { resident_bytes: Some(1 << 20), map_bytes: Some(1 << 22) },
        maps: vec![MapFill { name: "open_spans".to_owned(), entries: 1, limit: 8 }],
        counts: [("started".to_owned(), 7)].into(),
        ..Status::default()
    }
}

fn sent_and_received(protocol: &str) {
    let collector = Collector::start(None);
    let endpoint = format!("http://127.0.0.1:{}", collector.port(protocol));
    let variables = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
    let metrics = settings(&endpoint, protocol, &variables).metrics.unwrap();
    let about = vec![("service.name", "lightfoot".to_owned())];
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let now = started + Duration::from_secs(1);
    let request = request(&status(), &about, started, now);
    let said = block_on(async { Courier::new(&metrics.otlp).send(&request).await });
    assert_eq!(said, Ok(None));
    let deadline = Instant::now() + Duration::from_secs(30);
    let (resource, received) = loop {
        if let Some(one) = collector.metrics().pop() {
            break one;
        }
        assert!(Instant::now() < deadline, "{}", collector.0.log());
        sleep(Duration::from_millis(50));
    };
    assert_eq!(resource, json!({"service.name": {"stringValue": "lightfoot"}}));
    assert_eq!(received.len(), table().len());
    for metric in table() {
        let is_it = |one: &&Value| one["name"] == json!(metric.name);
        let one = received.iter().find(is_it).unwrap();
        assert_eq!(one["description"], json!(metric.help));
        assert_eq!(one["unit"], json!(metric.unit));
        let data = &one[if metric.kind == Kind::Counter { "sum" } else { "gauge" }];
        if metric.kind == Kind::Counter {
            assert_eq!((&data["isMonotonic"], &data["aggregationTemporality"]), (&json!(true), &json!(2)));
            assert_eq!(data["dataPoints"][0]["startTimeUnixNano"], json!("1000000000"));
        }
        assert_eq!(data["dataPoints"][0]["timeUnixNano"], json!("2000000000"), "{one}");
    }
    let point = |name: &str| {
        let one = received.iter().find(|one| one["name"] == json!(name)).unwrap();
        let kind = if one["sum"].is_object() { "sum" } else { "gauge" };
        one[kind]["dataPoints"][0].clone()
    };
    assert_eq!(point("lightfoot.spans.started")["asInt"], json!("7"));
    assert_eq!(point("lightfoot.counts.age")["asDouble"], json!(0.5));
    let of_service = point("lightfoot.service.spans");
    assert_eq!(of_service["asInt"], json!("4"));
    assert_eq!(
        of_service["attributes"],
        json!([{"key": "service.name", "value": {"stringValue": "shop"}},
            {"key": "outcome", "value": {"stringValue": "exported"}}])
    );
}

#[test]
fn metrics_arrive_whole_by_each_protocol() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        sent_and_received(protocol);
    }
}
