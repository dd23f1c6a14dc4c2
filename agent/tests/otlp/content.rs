//! What arrives is what the records said, value by value.

use std::sync::Arc;
use std::time::Duration;

use bumpalo::Bump;
use lightfoot::counters::{Counter, Counters};
use lightfoot::deliver::Pipeline;
use lightfoot::describe::Describer;
use lightfoot::record::{HttpServer, Operation, Parent, ParentRule, Record};
use lightfoot::resource::ProcessIdentity;
use serde_json::{Value, json};

use super::collector::Collector;
use super::process::{block_on, clock, process, settings};

fn record(id: u8, parent: Option<(u8, ParentRule)>, request: HttpServer<'static>) -> Record<'static> {
    Record {
        pid: 7,
        start: 1_000_000_000,
        end: 1_000_000_000 + u64::from(id),
        trace_id: [0xab; 16],
        span_id: [id; 8],
        parent: parent.map(|(id, rule)| Parent { span_id: [id; 8], rule }),
        flags: 1,
        trace_state: None,
        segment: None,
        operation: Operation::HttpServer(request),
    }
}

fn records() -> [Record<'static>; 3] {
    let full = HttpServer {
        method: "PROPFIND",
        target: "/café/7?secret=1",
        host: "[2001:db8::1]:8080",
        pattern: "PROPFIND shop/café/{id}",
        user_agent: "agent \u{1b}[31m",
        peer: "10.0.0.9:5555",
        protocol: (1, 1),
        status: Some(503),
        is_tls: true,
        cut: &["user_agent"],
        ..HttpServer::default()
    };
    let panicked = HttpServer {
        method: "GET",
        target: "/",
        peer: "/run/shop.sock",
        protocol: (2, 0),
        has_panicked: true,
        ..HttpServer::default()
    };
    let plain = HttpServer { method: "GET", target: "/x", status: Some(200), ..HttpServer::default() };
    let mut first = record(1, Some((9, ParentRule::Incoming)), full);
    first.trace_state = Some("vendor=1,other=2");
    [first, record(2, Some((1, ParentRule::ParentGoroutine)), panicked), record(3, None, plain)]
}

fn text(value: &str) -> Value {
    json!({"stringValue": value})
}

fn number(value: i64) -> Value {
    json!({"intValue": value.to_string()})
}

/// What the Collector must have got for [`records`].
fn expected() -> [Value; 3] {
    // In the flags of a span: sampled, then "it is known whether the parent is remote", then "it is".
    let (local, remote) = (0x101, 0x301);
    let trace = "abababababababababababababababab";
    let start = "1700000001000000000";
    let scheme = |scheme| text(scheme);
    [
        json!({
            "traceId": trace, "spanId": "0101010101010101", "parentSpanId": "0909090909090909",
            "traceState": "vendor=1,other=2", "flags": remote, "name": "HTTP /café/{id}", "kind": 2,
            "startTimeUnixNano": start, "endTimeUnixNano": "1700000001000000001",
            "status": {"code": 2},
            "attributes": {
                "http.request.method": text("_OTHER"),
                "http.request.method_original": text("PROPFIND"),
                "url.scheme": scheme("https"),
                "url.path": text("/café/7"),
                "server.address": text("2001:db8::1"),
                "server.port": number(8080),
                "network.peer.address": text("10.0.0.9"),
                "network.peer.port": number(5555),
                "client.address": text("10.0.0.9"),
                "network.protocol.version": text("1.1"),
                "user_agent.original": text("agent \u{1b}[31m"),
                "http.route": text("/café/{id}"),
                "http.response.status_code": number(503),
                "error.type": text("503"),
                "lightfoot.truncated": {"arrayValue": {"values": [text("user_agent.original")]}},
                "lightfoot.parent.rule": text("incoming"),
            },
        }),
        json!({
            "traceId": trace, "spanId": "0202020202020202", "parentSpanId": "0101010101010101",
            "flags": local, "name": "GET", "kind": 2,
            "startTimeUnixNano": start, "endTimeUnixNano": "1700000001000000002",
            "status": {"code": 2, "message": "the handler panicked"},
            "attributes": {
                "http.request.method": text("GET"),
                "url.scheme": scheme("http"),
                "url.path": text("/"),
                "network.peer.address": text("/run/shop.sock"),
                "client.address": text("/run/shop.sock"),
                "network.protocol.version": text("2"),
                "error.type": text("panic"),
                "lightfoot.parent.rule": text("parent_goroutine"),
                "lightfoot.parent.inferred": {"boolValue": true},
            },
        }),
        json!({
            "traceId": trace, "spanId": "0303030303030303", "flags": local, "name": "GET", "kind": 2,
            "startTimeUnixNano": start, "endTimeUnixNano": "1700000001000000003", "status": {},
            "attributes": {
                "http.request.method": text("GET"),
                "url.scheme": scheme("http"),
                "url.path": text("/x"),
                "http.response.status_code": number(200),
            },
        }),
    ]
}

/// What goes with the spans of the process `pid`.
fn about(identity: &ProcessIdentity, own: &[(&str, Value)]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let schema = "https://opentelemetry.io/schemas/1.44.0";
    let mut resource = json!({
        "host.arch": text("arm64"),
        "host.name": text("node"),
        "os.type": text("linux"),
        "process.creation.time": text("2023-11-14T22:13:21.000Z"),
        "process.executable.name": text("x"),
        "process.executable.path": text("/srv/bin/x"),
        "process.parent_pid": number(1),
        "process.pid": number(i64::from(identity.pid)),
        "process.runtime.description": text("go version go1.26.8 linux/arm64"),
        "process.runtime.name": text("go"),
        "process.runtime.version": text("go1.26.8"),
        "service.name": text(&identity.service_name),
        "service.version": text("v1.2.3"),
        "telemetry.distro.name": text("lightfoot"),
        "telemetry.distro.version": text(version),
        "telemetry.sdk.language": text("go"),
        "telemetry.sdk.name": text("lightfoot"),
        "telemetry.sdk.version": text(version),
    });
    for (key, value) in own {
        resource[key] = value.clone();
    }
    json!({
        "resource": resource, "resource schema": schema, "scope schema": schema,
        "scope": {"name": "lightfoot/net/http", "version": version},
    })
}

/// Two processes send the same three spans, and a second batch over the same connection.
fn sent_and_received(protocol: &str, variables: &[(&str, &str)]) {
    let collector = Collector::start(None);
    let settings = settings(&format!("http://127.0.0.1:{}", collector.port(protocol)), protocol, variables);
    let shop =
        process(7, "OTEL_RESOURCE_ATTRIBUTES=team=a%2Cb,service.instance.id=one\0", "acme.org/shop/v2");
    let stock =
        process(8, "OTEL_SERVICE_NAME=stock\0OTEL_RESOURCE_ATTRIBUTES=service.instance.id=two\0", "a/b");
    let counters = Arc::new(Counters::default());
    let (describer, arena) = (Describer::new(lightfoot::describe::Settings::default()), Bump::new());

    block_on(async {
        let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
        for record in records() {
            pipeline.push(&shop, describer.span(&record, &clock(), &arena));
        }
        assert_eq!(pipeline.flush(Duration::from_secs(20)).await, 0, "{:?}", pipeline.last_export_error());
        for record in records() {
            pipeline.push(&stock, describer.span(&record, &clock(), &arena));
        }
        pipeline.stop(Duration::from_secs(20)).await;
    });
    let snapshot = counters.snapshot();
    assert_eq!(snapshot.of(Counter::Exported).collect::<Vec<_>>(), [("shop", 3), ("stock", 3)]);

    let mut received = collector.spans(6);
    assert_eq!(received.len(), 6);
    let services = [
        about(&shop, &[("team", text("a,b")), ("service.instance.id", text("one"))]),
        about(&stock, &[("service.instance.id", text("two"))]),
    ];
    for about in services {
        for span in expected() {
            let is_it = |(its, received): &(Value, Value)| {
                its["resource"]["process.pid"] == about["resource"]["process.pid"]
                    && received["spanId"] == span["spanId"]
            };
            let position = received.iter().position(is_it).expect("each span arrives");
            let (its, received) = received.swap_remove(position);
            assert_eq!(its, about);
            assert_eq!(received, span);
        }
    }
}

#[test]
fn spans_arrive_whole_over_grpc() {
    sent_and_received("grpc", &[]);
}

#[test]
fn spans_arrive_whole_over_http() {
    sent_and_received("http/protobuf", &[]);
}

#[test]
fn spans_arrive_whole_as_json() {
    sent_and_received("http/json", &[]);
}

#[test]
fn spans_arrive_whole_compressed() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        sent_and_received(protocol, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    }
}
