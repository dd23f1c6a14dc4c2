//! A proxy on the way: it gets requests over http itself, and is asked for a tunnel by gRPC and https.

use std::net::SocketAddr;

use super::proxy::proxy;
use super::*;

/// Sends a span to an endpoint that only the proxy knows; returns what the proxy was asked for.
async fn sent(protocol: &str, target: SocketAddr) -> String {
    let (proxy, asked) = proxy(target);
    let flags = Flags {
        endpoint: Some("http://collector.test".into()),
        protocol: Some(protocol.into()),
        ..Flags::default()
    };
    let variable = |name: &str| match name {
        "http_proxy" => Some(OsString::from(format!("http://user:pass%20word@{proxy}"))),
        "NO_PROXY" => Some("10.0.0.0/8,other.test".into()),
        _ => None,
    };
    let pipeline = start(&read(variable, &flags));
    pipeline.push(&process("shop"), span(1, 1, 0, 0));
    let left = pipeline.flush(Duration::from_secs(10)).await;
    assert_eq!(left, 0, "{:?}", pipeline.last_export_error());
    assert_eq!(totals(pipeline.counters())(Counter::Exported), 1);
    let asked = asked.lock().unwrap();
    asked.join("\n").to_lowercase()
}

#[test]
fn a_proxy_gets_requests_or_makes_tunnels() {
    // user:pass word
    let credentials = "proxy-authorization: basic dxnlcjpwyxnzihdvcmq=";
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    let address = endpoint.address.strip_prefix("http://").unwrap().parse().unwrap();
    let asked = block_on(sent("http/protobuf", address));
    assert!(asked.starts_with("post http://collector.test/v1/traces http/1.1\r\n"), "{asked}");
    assert!(asked.contains(credentials), "{asked}");

    let asked = block_on(async {
        let endpoint = GrpcEndpoint::start(|_| Reply::default()).await;
        sent("grpc", endpoint.address).await
    });
    assert!(asked.starts_with("connect collector.test:80 http/1.1\r\n"), "{asked}");
    assert!(asked.contains(credentials), "{asked}");
}
