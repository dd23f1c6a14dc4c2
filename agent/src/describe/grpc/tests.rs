use std::borrow::Cow;
use std::collections::BTreeMap;

use opentelemetry::trace::SpanKind;

use super::{Names, target};
use crate::describe::Description;
use crate::record::{CallError, GrpcClient, GrpcServer};
use crate::span::Status;

/// Described, as long as the test runs.
fn server(call: &GrpcServer<'static>, names: Names) -> Description<'static> {
    super::server(call, names, Box::leak(Box::default()))
}

fn client(call: &GrpcClient<'static>, names: Names) -> Description<'static> {
    super::client(call, names, Box::leak(Box::default()))
}

fn attributes(description: &Description<'static>) -> BTreeMap<Cow<'static, str>, String> {
    description.attributes.iter().map(|pair| (pair.key.clone(), pair.value.to_string())).collect()
}

fn served(code: u32, message: &'static str) -> GrpcServer<'static> {
    GrpcServer {
        method: "/shop.Cart/Add",
        code: Some(code),
        message,
        peer: Some(([127, 0, 0, 1], 4711).into()),
        ..GrpcServer::default()
    }
}

fn made(code: u32) -> GrpcClient<'static> {
    GrpcClient {
        method: "/shop.Cart/Add",
        target: "dns:///cart:50051",
        code: Some(code),
        message: "no",
        ..GrpcClient::default()
    }
}

#[test]
fn a_call_that_was_served() {
    let description = server(&served(0, ""), Names::New);
    assert_eq!((&description.kind, description.name), (&SpanKind::Server, "shop.Cart/Add"));
    assert_eq!(description.status, Status::Unset);
    let expected = [
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", "4711"),
        ("rpc.method", "shop.Cart/Add"),
        ("rpc.response.status_code", "OK"),
        ("rpc.system.name", "grpc"),
    ];
    assert_eq!(attributes(&description), expected.map(|(key, value)| (key.into(), value.to_owned())).into());
}

/// Go calls a unix socket without a name "@".
#[test]
fn a_unix_socket_has_a_name_or_says_nothing() {
    for (socket, address) in
        [("/run/a.sock", Some("/run/a.sock")), ("@name", Some("@name")), ("@", None), ("", None)]
    {
        let call = GrpcServer { peer: None, peer_name: socket, ..served(0, "") };
        let attributes = attributes(&server(&call, Names::New));
        assert_eq!(attributes.get("network.peer.address").map(String::as_str), address);
        assert_eq!(attributes.get("network.peer.port"), None);
    }
}

#[test]
fn errors_of_servers_are_those_that_are_their_fault() {
    for code in 0..=17 {
        let is_error = [2, 4, 12, 13, 14, 15, 17].contains(&code);
        let description = server(&served(code, "why"), Names::New);
        let status = if is_error { Status::Error("why".into()) } else { Status::Unset };
        assert_eq!(description.status, status, "{code}");
        let attributes = attributes(&description);
        let name = &attributes["rpc.response.status_code"];
        assert_eq!(attributes.get("error.type"), is_error.then_some(name), "{code}");
    }
    let panicked = server(&GrpcServer { code: None, has_panicked: true, ..served(0, "") }, Names::New);
    assert_eq!(attributes(&panicked)["error.type"], "panic");
    let gone = server(&GrpcServer { code: None, ..served(0, "") }, Names::New);
    assert_eq!(gone.status, Status::Unset);
    assert_eq!(attributes(&gone).get("rpc.response.status_code"), None);
}

#[test]
fn each_code_but_ok_is_an_error_of_clients() {
    for code in 0..=17 {
        let description = client(&made(code), Names::New);
        let status = if code == 0 { Status::Unset } else { Status::Error("no".into()) };
        assert_eq!(description.status, status, "{code}");
        let attributes = attributes(&description);
        let name = &attributes["rpc.response.status_code"];
        assert_eq!(attributes.get("error.type"), (code != 0).then_some(name), "{code}");
    }
    assert_eq!(attributes(&client(&made(1), Names::New))["rpc.response.status_code"], "CANCELLED");
    assert_eq!(attributes(&client(&made(17), Names::New))["rpc.response.status_code"], "17");
    let error = CallError { type_name: Some("*errors.errorString"), ..CallError::default() };
    let without = client(&GrpcClient { code: None, error: Some(error), ..made(0) }, Names::New);
    let attributes = attributes(&without);
    assert_eq!(attributes["error.type"], "*errors.errorString");
    assert_eq!(attributes["rpc.response.status_code"], "UNKNOWN");
}

#[test]
fn methods_that_nothing_handles_are_other() {
    for message in ["unknown service shop.Cart", "unknown method Add for service shop.Cart"] {
        let description = server(&served(12, message), Names::New);
        assert_eq!(description.name, "grpc");
        let attributes = attributes(&description);
        assert_eq!(attributes["rpc.method"], "_OTHER");
        assert_eq!(attributes["rpc.method_original"], "shop.Cart/Add");
    }
    assert_eq!(server(&served(12, "not yet"), Names::New).name, "shop.Cart/Add");
    assert_eq!(server(&served(5, "unknown service "), Names::New).name, "shop.Cart/Add");
}

#[test]
fn old_names_and_both() {
    let old =
        attributes(&client(&made(5), Names::Old)).into_iter().map(|(key, value)| format!("{key}={value}"));
    let expected = [
        "error.type=NOT_FOUND",
        "rpc.grpc.status_code=5",
        "rpc.method=Add",
        "rpc.service=shop.Cart",
        "rpc.system=grpc",
        "server.address=cart",
        "server.port=50051",
    ];
    assert_eq!(old.collect::<Vec<_>>(), expected);
    let both = attributes(&client(&made(5), Names::Both));
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.system", "grpc"),
        ("rpc.method", "shop.Cart/Add"),
        ("rpc.service", "shop.Cart"),
        ("rpc.response.status_code", "NOT_FOUND"),
        ("rpc.grpc.status_code", "5"),
    ] {
        assert_eq!(both[key], value);
    }
    for (list, names) in [
        ("", Names::New),
        ("http", Names::New),
        ("rpc", Names::New),
        ("http, rpc/dup", Names::Both),
        ("rpc,rpc/dup", Names::Both),
        ("rpc/old", Names::Old),
        ("rpc/old,rpc", Names::New),
    ] {
        assert_eq!(Names::opted_in(list), names, "{list}");
    }
}

#[test]
fn targets_tell_servers() {
    for (target, address, port) in [
        ("grpc.io:50051", "grpc.io", Some(50051)),
        ("dns:grpc.io:50051", "grpc.io", Some(50051)),
        ("dns:///grpc.io:50051", "grpc.io", Some(50051)),
        ("dns://1.2.3.4/grpc.io:50051", "grpc.io", Some(50051)),
        ("passthrough:///grpc.io:50051", "grpc.io", Some(50051)),
        ("passthrough:grpc.io:50051", "grpc.io", Some(50051)),
        ("dns:///grpc.io", "grpc.io", Some(443)),
        ("dns:grpc.io", "grpc.io", Some(443)),
        ("grpc.io", "grpc.io", None),
        ("[::1]:50051", "::1", Some(50051)),
        ("dns:///[::1]:50051", "::1", Some(50051)),
        ("unix:/run/x.sock", "/run/x.sock", None),
        ("unix:///run/x.sock", "/run/x.sock", None),
        ("unix:rel.sock", "rel.sock", None),
        ("unix-abstract:name", "name", None),
        ("xds:///a", "xds:///a", None),
        ("manual:///x", "manual:///x", None),
        ("zk://zk1:2181,zk2/cart", "zk://zk1:2181,zk2/cart", None),
        ("ipv4:1.2.3.4:5,2.3.4.5:6", "ipv4:1.2.3.4:5,2.3.4.5:6", None),
        ("", "", None),
        (":50051", "", Some(50051)),
    ] {
        assert_eq!(target::server(target), (address, port), "{target}");
    }
}
