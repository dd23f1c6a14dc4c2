//! A Collector that speaks TLS and wants to see a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightfoot::counters::{Counter, Counters};
use lightfoot::deliver::Pipeline;

use super::certificates::{Certificates, REMOTE};
use super::collector::Collector;
use super::outage::span;
use super::process::{block_on, process, settings};
use super::proxy::proxy;

/// Sends a span until it is acknowledged, and returns `None`, or until a failure says `why`. With TLS 1.3 a server refuses
/// a client when that is through with its own part, so that some tries only see a connection that was closed.
fn failure(host: &str, port: u16, protocol: &str, variables: &[(&str, &Path)], why: &str) -> Option<String> {
    let variables: Vec<_> = variables.iter().map(|(name, path)| (*name, path.to_str().unwrap())).collect();
    let settings = settings(&format!("https://{host}:{port}"), protocol, &variables);
    let counters = Arc::new(Counters::default());
    let error = block_on(async {
        let pipeline = Pipeline::start(&settings, Arc::clone(&counters)).unwrap();
        pipeline.push(&process(7, "", "acme.org/shop"), span(1));
        let deadline = Instant::now() + Duration::from_secs(30);
        let error = loop {
            if pipeline.flush(Duration::from_millis(100)).await == 0 {
                break None;
            }
            let error = pipeline.last_export_error();
            if error.as_ref().is_some_and(|error| error.contains(why)) {
                break error;
            }
            assert!(Instant::now() < deadline, "{protocol}: neither taken nor failed for {why}: {error:?}");
        };
        pipeline.stop(Duration::ZERO).await;
        error
    });
    let snapshot = counters.snapshot();
    let (exported, unfinished) = (snapshot.total(Counter::Exported), snapshot.total(Counter::Unfinished));
    assert_eq!((exported, unfinished), if error.is_none() { (1, 0) } else { (0, 1) });
    error
}

const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

#[test]
fn both_ends_prove_who_they_are() {
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
        assert_eq!(failure("localhost", port, protocol, &both, "ertificate"), None, "{protocol}");

        // What fails is tried again, for certificates change; it is never taken.
        let alone = failure("localhost", port, protocol, &both[..1], "ertificate");
        assert!(alone.is_some(), "{protocol}");
        let strangers = [(CERTIFICATE, stranger.as_path()), client[0], client[1]];
        let unknown = failure("localhost", port, protocol, &strangers, "UnknownIssuer");
        assert!(unknown.is_some(), "{protocol}");
    }
    assert_eq!(collector.spans(protocols.len()).len(), protocols.len());
}

#[test]
fn tls_goes_through_the_tunnel_of_a_proxy() {
    let certificates = Certificates::new();
    let collector = Collector::start(Some(&certificates));
    let Certificates { authority, client, client_key, .. } = &certificates;
    let protocols = ["grpc", "http/protobuf"];
    for protocol in protocols {
        let port = collector.port(protocol);
        let (proxy, asked) = proxy(([127, 0, 0, 1], port).into());
        let proxy = format!("http://{proxy}");
        let variables = [
            (CERTIFICATE, authority.as_path()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", client),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", client_key),
            ("HTTPS_PROXY", Path::new(&proxy)),
        ];
        assert_eq!(failure(REMOTE, port, protocol, &variables, "ertificate"), None, "{protocol}");
        let asked = asked.lock().unwrap().remove(0);
        assert!(asked.starts_with(&format!("CONNECT {REMOTE}:{port} HTTP/1.1\r\n")), "{asked}");
    }
    assert_eq!(collector.spans(protocols.len()).len(), protocols.len());
}
