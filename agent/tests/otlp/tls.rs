//! A Collector that speaks TLS and wants to see a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightfoot::counters::{Counter, Counters};
use lightfoot::deliver::Pipeline;

use super::certificates::Certificates;
use super::collector::Collector;
use super::outage::span;
use super::process::{block_on, process, settings};

/// Sends a span until it is acknowledged or has failed once; returns how often it was acknowledged, and what the failure
/// said.
fn exported(port: u16, protocol: &str, variables: &[(&str, &Path)]) -> (u64, String) {
    let variables: Vec<_> = variables.iter().map(|(name, path)| (*name, path.to_str().unwrap())).collect();
    let settings = settings(&format!("https://localhost:{port}"), protocol, &variables);
    let counters = Arc::new(Counters::default());
    let error = block_on(async {
        let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
        pipeline.push(&process(7, "", "acme.org/shop"), span(1));
        let deadline = Instant::now() + Duration::from_secs(30);
        let brief = Duration::from_millis(100);
        while pipeline.flush(brief).await > 0 && pipeline.last_export_error().is_none() {
            assert!(Instant::now() < deadline, "{protocol}: neither taken nor failed");
        }
        let error = pipeline.last_export_error();
        pipeline.stop(Duration::ZERO).await;
        error.unwrap_or_default()
    });
    let snapshot = counters.snapshot();
    assert_eq!(snapshot.total(Counter::Exported) + snapshot.total(Counter::Unfinished), 1);
    (snapshot.total(Counter::Exported), error)
}

#[test]
fn both_ends_prove_who_they_are() {
    const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    let certificates = Certificates::new();
    let collector = Collector::start(Some(&certificates));
    let Certificates { authority, client, client_key, stranger, .. } = &certificates;
    let client = [
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", client.as_path()),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", client_key.as_path()),
    ];
    let protocols = ["grpc", "http/protobuf", "http/json"];
    for protocol in protocols {
        let port = collector.port(protocol);
        let both = [(CERTIFICATE, authority.as_path()), client[0], client[1]];
        let (count, error) = exported(port, protocol, &both);
        assert_eq!(count, 1, "{protocol}: {error}");

        // What fails is tried again, for certificates change; it is never taken.
        let alone = exported(port, protocol, &both[..1]);
        assert!(alone.0 == 0 && alone.1.contains("ertificate"), "{protocol}: {alone:?}");
        let unknown = exported(port, protocol, &[(CERTIFICATE, stranger), client[0], client[1]]);
        assert!(unknown.0 == 0 && unknown.1.contains("UnknownIssuer"), "{protocol}: {unknown:?}");
    }
    assert_eq!(collector.spans(protocols.len()).len(), protocols.len());
}
