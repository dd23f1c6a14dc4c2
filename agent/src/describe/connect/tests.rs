use std::collections::BTreeMap;

use bumpalo::Bump;

use super::{Names, client, server};
use crate::describe::{Description, net_http};
use crate::record::{HttpClient, HttpServer, Protocol};

fn served(request: &HttpServer<'static>, names: Names) -> Description<'static> {
    let arena: &'static Bump = Box::leak(Box::default());
    server(net_http::server(request, &net_http::Settings::default(), arena), request, names)
}

fn sent(request: &HttpClient<'static>, names: Names) -> Description<'static> {
    let arena: &'static Bump = Box::leak(Box::default());
    client(net_http::client(request, &net_http::Settings::default(), arena), request, names)
}

fn call(protocol: Protocol) -> HttpServer<'static> {
    HttpServer {
        method: "POST",
        target: "/shop.Cart/Add",
        pattern: "/shop.Cart/",
        protocol: (1, 1),
        status: Some(200),
        rpc: Some(protocol),
        ..HttpServer::default()
    }
}

/// The name and what begins with `rpc.`.
fn told(description: &Description<'_>) -> (String, BTreeMap<String, String>) {
    let attributes = description.attributes.iter().filter(|pair| pair.key.starts_with("rpc."));
    (
        description.name.to_owned(),
        attributes.map(|pair| (pair.key.to_string(), pair.value.to_string())).collect(),
    )
}

fn expected<const N: usize>(name: &str, attributes: [(&str, &str); N]) -> (String, BTreeMap<String, String>) {
    (name.to_owned(), attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

#[test]
fn a_call_has_the_attributes_of_its_request_and_its_own() {
    let description = served(&call(Protocol::ConnectUnary), Names::New);
    let of_call = [
        ("rpc.method", "shop.Cart/Add"),
        ("rpc.response.status_code", "OK"),
        ("rpc.system.name", "connectrpc"),
    ];
    assert_eq!(told(&description), expected("shop.Cart/Add", of_call));
    let plain = served(&HttpServer { rpc: None, ..call(Protocol::ConnectUnary) }, Names::New);
    assert_eq!(told(&plain), expected("POST /shop.Cart/", []));
    let shared = description.attributes.iter().filter(|pair| !pair.key.starts_with("rpc."));
    assert!(shared.eq(plain.attributes.iter()));
    let request = HttpClient {
        method: "POST",
        path: "/shop.Cart/Add",
        rpc: Some(Protocol::Grpc),
        ..HttpClient::default()
    };
    let of_call = [("rpc.method", "shop.Cart/Add"), ("rpc.system.name", "grpc")];
    assert_eq!(told(&sent(&request, Names::New)), expected("shop.Cart/Add", of_call));
}

#[test]
fn codes_are_told_where_the_status_leaves_no_doubt() {
    let code = |protocol, status, has_panicked| {
        let request = HttpServer { status, has_panicked, response_size: 30, ..call(protocol) };
        told(&served(&request, Names::New)).1.get("rpc.response.status_code").cloned().unwrap_or_default()
    };
    for (status, expected) in [
        (Some(200), "OK"),
        (Some(401), "unauthenticated"),
        (Some(403), "permission_denied"),
        (Some(503), "unavailable"),
        // invalid_argument, failed_precondition, out_of_range, or internal; not_found or unimplemented; and so on.
        (Some(400), ""),
        (Some(404), ""),
        (Some(429), ""),
        (Some(499), ""),
        (Some(500), ""),
        (Some(501), ""),
        (Some(504), ""),
        (None, ""),
    ] {
        assert_eq!(code(Protocol::ConnectUnary, status, false), expected, "{status:?}");
        // A stream tells behind its last message whether it went well.
        let of_stream = if status == Some(200) { "" } else { expected };
        assert_eq!(code(Protocol::Connect, status, false), of_stream, "{status:?}");
        assert_eq!(code(Protocol::Grpc, status, false), "", "{status:?}");
    }
    assert_eq!(code(Protocol::ConnectUnary, Some(200), true), "");
}

#[test]
fn a_method_that_did_not_answer_is_other() {
    let other = |protocol, response_size| {
        let request = HttpServer { status: Some(404), response_size, ..call(protocol) };
        let (name, attributes) = told(&served(&request, Names::New));
        if attributes["rpc.method"] == "_OTHER" {
            assert_eq!(
                (name.as_str(), &*attributes["rpc.method_original"]),
                ("POST /shop.Cart/", "shop.Cart/Add")
            );
            return true;
        }
        assert_eq!((name.as_str(), &*attributes["rpc.method"]), ("shop.Cart/Add", "shop.Cart/Add"));
        false
    };
    assert!(other(Protocol::ConnectUnary, 19));
    assert!(!other(Protocol::ConnectUnary, 20));
    assert!(other(Protocol::Connect, 20));
    assert!(other(Protocol::Grpc, 20));
}

#[test]
fn paths() {
    for (target, cut, method) in [
        ("/shop.Cart/Add", &[][..], "shop.Cart/Add"),
        ("/api/v1/shop.Cart/Add?x=/y/z", &[], "shop.Cart/Add"),
        ("/shop.Cart/Add?long", &["target"], "shop.Cart/Add"),
        ("/shop.Cart/Ad", &["target"], ""),
        ("/Add", &[], ""),
        ("/shop.Cart/", &[], ""),
        ("//Add", &[], ""),
        ("", &[], ""),
        ("Add", &[], ""),
        ("/é/ü", &[], "é/ü"),
    ] {
        let request = HttpServer { target, cut, ..call(Protocol::Grpc) };
        let (_, attributes) = told(&served(&request, Names::New));
        assert_eq!(attributes.get("rpc.method").map_or("", |method| method), method, "{target}");
        assert_eq!(attributes.is_empty(), method.is_empty());
    }
}

#[test]
fn old_names_and_both() {
    let failed = HttpServer { status: Some(503), ..call(Protocol::ConnectUnary) };
    let old = [
        ("rpc.connect_rpc.error_code", "unavailable"),
        ("rpc.method", "Add"),
        ("rpc.service", "shop.Cart"),
        ("rpc.system", "connect_rpc"),
    ];
    assert_eq!(told(&served(&failed, Names::Old)), expected("shop.Cart/Add", old));
    let both = [
        ("rpc.connect_rpc.error_code", "unavailable"),
        ("rpc.method", "shop.Cart/Add"),
        ("rpc.response.status_code", "unavailable"),
        ("rpc.service", "shop.Cart"),
        ("rpc.system", "connect_rpc"),
        ("rpc.system.name", "connectrpc"),
    ];
    assert_eq!(told(&served(&failed, Names::Both)), expected("shop.Cart/Add", both));
    let grpc = [("rpc.method", "Add"), ("rpc.service", "shop.Cart"), ("rpc.system", "grpc")];
    assert_eq!(told(&served(&call(Protocol::Grpc), Names::Old)), expected("shop.Cart/Add", grpc));
}
