//! Jaeger, over TLS, with an outage in between. It keeps spans in memory, so it knows those alone that came after that.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lightfoot::counters::{Counter, Counters};
use lightfoot::deliver::Pipeline;
use serde_json::{Value, json};

use super::backend::{Backend, receivers};
use super::certificates::Certificates;
use super::outage::span;
use super::process::{block_on, process, settings};

fn start(certificates: &Certificates) -> Backend {
    Backend::start("jaeger", |ports, _| {
        let [http, grpc] = ports.others.map(|port| json!({"endpoint": format!("127.0.0.1:{port}")}));
        json!({
            "receivers": receivers(ports, Some(certificates)),
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100}}}},
                "jaeger_query": {"storage": {"traces": "memory"}, "http": http, "grpc": grpc},
            },
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        })
    })
}

/// The spans of the one trace of these tests, once there are `count`.
fn spans(jaeger: &Backend, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let [query, _] = jaeger.ports.others;
        let mut stream = TcpStream::connect(("127.0.0.1", query)).unwrap();
        write!(stream, "GET /api/traces/{} HTTP/1.0\r\n\r\n", "01".repeat(16)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let traces: Value = serde_json::from_str(body).unwrap();
        let spans = traces["data"][0]["spans"].as_array().cloned().unwrap_or_default();
        if spans.len() >= count {
            return spans;
        }
        assert!(Instant::now() < deadline, "{} of {count} spans: {answer}\n{}", spans.len(), jaeger.log());
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn jaeger_shows_what_was_sent_before_and_during_an_outage() {
    let certificates = Certificates::new();
    let mut jaeger = start(&certificates);
    let ports = jaeger.ports;
    for (protocol, port) in [("grpc", ports.grpc), ("http/protobuf", ports.http)] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificates.authority.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificates.client.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", certificates.client_key.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ];
        let settings = settings(&format!("https://localhost:{port}"), protocol, &variables);
        let counters = Arc::new(Counters::default());
        let shop = process(7, "OTEL_SERVICE_NAME=shop\0", "a/shop");
        block_on(async {
            let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
            (0..10).for_each(|number| pipeline.push(&shop, span(number)));
            assert_eq!(
                pipeline.flush(Duration::from_secs(20)).await,
                0,
                "{:?}",
                pipeline.last_export_error()
            );
            let tags = &spans(&jaeger, 10)[0]["tags"];
            let method = json!({"key": "http.request.method", "type": "string", "value": "GET"});
            assert!(tags.as_array().unwrap().contains(&method), "{tags}");

            jaeger.stop().await;
            (10..1_000).for_each(|number| pipeline.push(&shop, span(number)));
            assert_eq!(pipeline.flush(Duration::from_secs(1)).await, 990);
            jaeger.start_again();
            pipeline.stop(Duration::from_secs(20)).await;
        });
        let arrived: BTreeSet<_> = spans(&jaeger, 990)
            .iter()
            .map(|span| u64::from_str_radix(span["spanID"].as_str().unwrap(), 16).unwrap() - 1)
            .collect();
        assert_eq!(arrived, (10..1_000).collect::<BTreeSet<_>>(), "{protocol}");
        assert_eq!(counters.snapshot().total(Counter::Exported), 1_000, "{protocol}");
        block_on(jaeger.stop());
        jaeger.start_again();
    }
}
