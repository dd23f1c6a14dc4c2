use proptest::prelude::*;

use super::*;
use crate::record::RequestHeader;
use crate::span::{Attribute, Value};

/// A request that has everything; cases change a field or two.
fn request() -> HttpServer<'static> {
    HttpServer {
        method: "GET",
        target: "/items/7?color=blue",
        host: "shop.example:8080",
        pattern: "GET /items/{id}",
        user_agent: "curl/8",
        peer: "10.1.2.3:4567",
        protocol: (1, 1),
        status: Some(200),
        response_size: 12,
        ..HttpServer::default()
    }
}

fn get<'d, 'a>(description: &'d Description<'a>, key: &str) -> Option<&'d Value<'a>> {
    description.attributes.iter().find(|attribute| attribute.key == key).map(|found| &found.value)
}

fn text(description: &Description<'_>, key: &str) -> String {
    get(description, key).map(ToString::to_string).unwrap_or_default()
}

/// A request described, as long as the test runs.
fn described(request: &HttpServer<'static>, settings: &Settings) -> Description<'static> {
    server(request, settings, Box::leak(Box::default()))
}

/// A request with a change, described with the default settings.
fn describe(change: impl FnOnce(&mut HttpServer<'static>)) -> Description<'static> {
    let mut request = request();
    change(&mut request);
    described(&request, &Settings::default())
}

#[test]
fn a_plain_request_has_exactly_these_attributes() {
    let description = describe(|_| ());
    let expected = [
        ("http.request.method", Value::from("GET")),
        ("url.scheme", Value::from("http")),
        ("url.path", Value::from("/items/7")),
        ("server.address", Value::from("shop.example")),
        ("server.port", Value::Integer(8080)),
        ("network.peer.address", Value::from("10.1.2.3")),
        ("network.peer.port", Value::Integer(4567)),
        ("client.address", Value::from("10.1.2.3")),
        ("network.protocol.version", Value::from("1.1")),
        ("user_agent.original", Value::from("curl/8")),
        ("http.route", Value::from("/items/{id}")),
        ("http.response.status_code", Value::Integer(200)),
    ];
    assert_eq!(description.attributes[..], expected.map(Attribute::from));
    assert_eq!(description.name, "GET /items/{id}");
    assert_eq!((description.kind, description.status), (SpanKind::Server, Status::Unset));
}

#[test]
fn methods() {
    // As sent; `http.request.method`; the original; the name with and without a route.
    let cases = [
        ("GET", "GET", "", "GET /r", "GET"),
        ("QUERY", "QUERY", "", "QUERY /r", "QUERY"),
        ("get", "_OTHER", "get", "HTTP /r", "HTTP"),
        ("PROPFIND", "_OTHER", "PROPFIND", "HTTP /r", "HTTP"),
        ("", "_OTHER", "", "HTTP /r", "HTTP"),
    ];
    for (sent, method, original, with_route, without) in cases {
        let description = describe(|request| (request.method, request.pattern) = (sent, "/r"));
        assert_eq!(text(&description, "http.request.method"), method);
        assert_eq!(text(&description, "http.request.method_original"), original);
        assert_eq!(description.name, with_route);
        assert_eq!(describe(|request| (request.method, request.pattern) = (sent, "")).name, without);
    }
}

#[test]
fn the_list_of_known_methods_is_replaced_not_extended() {
    let settings = Settings::default().with_known_methods("PROPFIND, GET");
    for (method, expected) in [("PROPFIND", "PROPFIND"), ("GET", "GET"), ("POST", "_OTHER")] {
        let request = HttpServer { method, ..request() };
        assert_eq!(text(&described(&request, &settings), "http.request.method"), expected);
    }
    assert_eq!(Settings::default().with_known_methods(" , ").known_methods, KNOWN_METHODS);
}

#[test]
fn targets() {
    // Method, target, encrypted; scheme, path, address, port ("" is none).
    let cases = [
        ("GET", "/a%20b/c?x=1", false, "http", "/a%20b/c", "shop.example", "8080"),
        ("GET", "/", true, "https", "/", "shop.example", "8080"),
        ("GET", "//double/slash", false, "http", "//double/slash", "shop.example", "8080"),
        ("GET", "/to/http://other/?q", false, "http", "/to/http://other/", "shop.example", "8080"),
        ("OPTIONS", "*", false, "http", "*", "shop.example", "8080"),
        ("GET", "http://other:81/x?y", false, "http", "/x", "other", "81"),
        ("GET", "HTTPS://other", false, "https", "/", "other", ""),
        ("GET", "http://other?y", false, "http", "/", "other", ""),
        ("GET", "http://user:secret@other:81/x", false, "http", "/x", "other", "81"),
        ("GET", "http://[fe80::1%25eth0]:81/x", false, "http", "/x", "fe80::1", "81"),
        ("GET", "ftp://other/x", true, "https", "/x", "other", ""),
        ("GET", "http:///x", false, "http", "/x", "shop.example", "8080"),
        ("CONNECT", "other:443", false, "http", "", "other", "443"),
        ("CONNECT", "/rpc?x", false, "http", "/rpc", "shop.example", "8080"),
        ("GET", "", false, "http", "", "shop.example", "8080"),
        ("GET", "?", false, "http", "", "shop.example", "8080"),
    ];
    for (method, target, is_tls, scheme, path, address, port) in cases {
        let description = describe(|request| {
            (request.method, request.target, request.is_tls) = (method, target, is_tls);
        });
        let found =
            ["url.scheme", "url.path", "server.address", "server.port"].map(|key| text(&description, key));
        assert_eq!(found, [scheme, path, address, port], "{method} {target}");
        // Required, so it is there even when it is empty.
        assert!(get(&description, "url.path").is_some());
        assert!(get(&description, "url.query").is_none());
        assert!(!format!("{:?}", description.attributes).contains("secret"));
    }
}

#[test]
fn queries_are_told_only_when_asked_for_and_without_secrets() {
    let settings = Settings { query: true, ..Settings::default() };
    let cases = [
        ("/x?a=1&b=2", Some("a=1&b=2")),
        (
            "/x?sig=abc&Sig=1&x&Signature=&X-Amz-Signature=a=b",
            Some("sig=REDACTED&Sig=1&x&Signature=REDACTED&X-Amz-Signature=REDACTED"),
        ),
        ("/x?", Some("")),
        ("/x", None),
    ];
    for (target, expected) in cases {
        let description = described(&HttpServer { target, ..request() }, &settings);
        assert_eq!(get(&description, "url.query"), expected.map(Value::from).as_ref(), "{target}");
    }
}

#[test]
fn hosts() {
    let cases = [
        ("example.com", "example.com", ""),
        ("example.com:80", "example.com", "80"),
        ("127.0.0.1:8080", "127.0.0.1", "8080"),
        ("[::1]:8080", "::1", "8080"),
        ("[::1]", "::1", ""),
        ("[fe80::1%25lo]:1", "fe80::1", "1"),
        ("::1", "::1", ""),
        ("example.com:", "example.com", ""),
        ("example.com:http", "example.com", ""),
        ("example.com:+80", "example.com", ""),
        ("example.com:0", "example.com", ""),
        ("example.com:70000", "example.com", ""),
        ("[::1", "::1", ""),
        (":80", "", ""),
        ("", "", ""),
    ];
    for (host, address, port) in cases {
        let description = describe(|request| request.host = host);
        assert_eq!(text(&description, "server.address"), address, "{host}");
        assert_eq!(text(&description, "server.port"), port, "{host}");
        assert_eq!(get(&description, "server.address").is_some(), !address.is_empty());
    }
}

#[test]
fn peers() {
    let cases = [
        ("10.1.2.3:4567", "10.1.2.3", "4567"),
        ("[2001:db8::7]:4567", "2001:db8::7", "4567"),
        ("[fe80::1%eth0]:4567", "fe80::1", "4567"),
        ("/run/app.sock", "/run/app.sock", ""),
        ("/run/odd:80", "/run/odd:80", ""),
        ("@abstract", "@abstract", ""),
        ("@", "", ""),
        (":80", "", ""),
        ("", "", ""),
    ];
    for (peer, address, port) in cases {
        let description = describe(|request| request.peer = peer);
        assert_eq!(text(&description, "network.peer.address"), address, "{peer}");
        assert_eq!(text(&description, "client.address"), address, "{peer}");
        assert_eq!(text(&description, "network.peer.port"), port, "{peer}");
        assert_eq!(get(&description, "network.peer.address").is_some(), !address.is_empty());
    }
}

#[test]
fn routes_have_neither_method_nor_host() {
    let cases = [
        ("/items/{id}", Some("/items/{id}")),
        ("GET /items/{id}", Some("/items/{id}")),
        ("GET \t /items", Some("/items")),
        ("GET shop.example/items/{$}", Some("/items/{$}")),
        ("shop.example:80/", Some("/")),
        ("/", Some("/")),
        ("/files/{path...}", Some("/files/{path...}")),
        ("/users/{name:[a-z /]+}", Some("/users/{name:[a-z /]+}")),
        ("GET shop.example", None),
        ("", None),
    ];
    for (pattern, route) in cases {
        let description = describe(|request| request.pattern = pattern);
        assert_eq!(get(&description, "http.route"), route.map(Value::from).as_ref(), "{pattern}");
        let name = route.map_or("GET".to_owned(), |route| format!("GET {route}"));
        assert_eq!(description.name, name);
    }
}

#[test]
fn outcomes() {
    // Status, panicked; the status code, the error type, the span's status.
    let panicked = || Status::Error("the handler panicked".into());
    let failed = || Status::Error("".into());
    let cases = [
        (Some(200), false, "200", "", Status::Unset),
        (Some(101), false, "101", "", Status::Unset),
        (Some(302), false, "302", "", Status::Unset),
        (Some(404), false, "404", "", Status::Unset),
        (Some(499), false, "499", "", Status::Unset),
        (Some(500), false, "500", "500", failed()),
        (Some(599), false, "599", "599", failed()),
        (None, false, "", "", Status::Unset),
        (Some(0), false, "", "", Status::Unset),
        (None, true, "", "panic", panicked()),
        (Some(200), true, "200", "panic", panicked()),
        (Some(500), true, "500", "panic", panicked()),
    ];
    for (status, has_panicked, code, error, span_status) in cases {
        let description = describe(|request| (request.status, request.has_panicked) = (status, has_panicked));
        assert_eq!(text(&description, "http.response.status_code"), code);
        assert_eq!(text(&description, "error.type"), error);
        assert_eq!(description.status, span_status, "{status:?} {has_panicked}");
    }
}

#[test]
fn protocol_versions() {
    for (protocol, version) in [((1, 0), "1.0"), ((1, 1), "1.1"), ((2, 0), "2"), ((3, 0), "3"), ((0, 0), "")]
    {
        let description = describe(|request| request.protocol = protocol);
        assert_eq!(text(&description, "network.protocol.version"), version);
    }
}

#[test]
fn a_request_over_http2_differs_in_its_version_alone() {
    let of = |protocol| {
        let description = describe(|request| (request.protocol, request.is_tls) = (protocol, true));
        let others = description.attributes.clone().into_iter();
        let others: Vec<_> =
            others.filter(|attribute| attribute.key != name::NETWORK_PROTOCOL_VERSION).collect();
        (text(&description, "network.protocol.version"), others, description.name)
    };
    let (version, attributes, name) = of((2, 0));
    assert_eq!(version, "2");
    assert_eq!((attributes.clone(), name), (of((1, 1)).1, of((1, 1)).2));
    let has = |key, value: &'static str| attributes.contains(&(key, value).into());
    // The authority comes as the host.
    assert!(has("url.scheme", "https") && has("server.address", "shop.example"), "{attributes:?}");
}

#[test]
fn absent_texts_are_absent_attributes() {
    let description = described(&HttpServer::default(), &Settings::default());
    let keys: Vec<_> = description.attributes.iter().map(|attribute| &*attribute.key).collect();
    assert_eq!(keys, ["http.request.method", "url.scheme", "url.path"]);
}

#[test]
fn cut_texts_are_named_by_their_attributes() {
    let truncated = |description: &Description<'_>| match get(description, name::TRUNCATED) {
        Some(Value::Texts(texts)) => texts.iter().map(ToString::to_string).collect(),
        other => Vec::from_iter(other.map(ToString::to_string)),
    };
    let cut = |cut: &'static [&'static str], target: &'static str| {
        truncated(&describe(|request| (request.cut, request.target) = (cut, target)))
    };
    assert_eq!(cut(&[], "/"), [""; 0]);
    assert_eq!(cut(&["target"], "/long"), ["url.path"]);
    // Cut in the query, which is not told.
    assert_eq!(cut(&["target"], "/long?x"), [""; 0]);
    let all = &["user_agent", "pattern", "peer", "host", "method"];
    let attributes = [
        "http.request.method",
        "server.address",
        "network.peer.address",
        "client.address",
        "user_agent.original",
        "http.route",
    ];
    assert_eq!(cut(all, "/"), attributes);
    let settings = Settings { query: true, ..Settings::default() };
    let request = HttpServer { cut: &["target"], ..request() };
    assert_eq!(truncated(&described(&request, &settings)), ["url.query"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]
    #[test]
    fn any_request_has_a_valid_span(
        method in "[A-Z]{0,8}|\\PC{0,12}",
        target in "(CONNECT|[a-z]{0,6}://)?[/?#@:\\[\\]%*a-z&=]{0,24}|\\PC{0,40}",
        host in "[\\[\\]:%.a-z0-9]{0,24}|.{0,24}",
        pattern in "[ \t/{}$.A-Za-z]{0,24}|.{0,24}",
        peer in "[\\[\\]:%.@/a-f0-9]{0,24}|.{0,24}",
        protocol in any::<(u8, u8)>(),
        status in any::<Option<u16>>(),
        flags in any::<(bool, bool, bool)>(),
    ) {
        let request = HttpServer {
            method: &method,
            target: &target,
            host: &host,
            pattern: &pattern,
            peer: &peer,
            protocol,
            status,
            is_tls: flags.0,
            has_panicked: flags.1,
            cut: &["method", "target", "host", "pattern", "peer"],
            ..HttpServer::default()
        };
        for query in [false, true] {
            let settings = Settings { query, ..Settings::default() };
            let arena = Bump::new();
            let description = server(&request, &settings, &arena);
            prop_assert!(!description.name.is_empty());
            let mut keys: Vec<_> = description.attributes.iter().map(|attribute| &*attribute.key).collect();
            for required in [name::HTTP_REQUEST_METHOD, name::URL_PATH, name::URL_SCHEME] {
                prop_assert!(keys.contains(&required));
            }
            keys.sort_unstable();
            prop_assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
            for attribute in &description.attributes {
                let may_be_empty = matches!(&*attribute.key, name::URL_PATH | name::URL_QUERY | name::HTTP_ROUTE);
                prop_assert!(may_be_empty || !attribute.value.to_string().is_empty(), "{attribute:?}");
            }
            if let Some(Value::Texts(truncated)) = get(&description, name::TRUNCATED) {
                prop_assert!(truncated.iter().all(|key| keys.contains(&&**key)));
            }
            let is_error = description.status != Status::Unset;
            prop_assert_eq!(is_error, keys.contains(&name::ERROR_TYPE));
            if let Some(route) = get(&description, name::HTTP_ROUTE) {
                prop_assert!(route.to_string().starts_with('/'));
            }
            if let Some(Value::Integer(port)) = get(&description, name::SERVER_PORT) {
                prop_assert!((1..=65_535).contains(port) && keys.contains(&name::SERVER_ADDRESS));
            }
        }
    }
}

#[test]
fn headers_that_a_rule_lists_are_lists_of_values() {
    let header = |name, values, is_shown, is_cut| RequestHeader { name, values, is_shown, is_cut };
    let headers = [
        header("accept", &["a", "b"][..], true, false),
        header("x-forwarded-for", &["192.0.2.7, 10.0.0.1"][..], false, false),
        header("x-long", &["xxx"][..], true, true),
    ];
    let headers: &'static [_] = Box::leak(Box::new(headers));
    let request = HttpServer { headers, peer: "10.0.0.1:4711", cut: &["headers"], ..HttpServer::default() };
    let description = described(&request, &Settings::default());
    let texts = |texts: &[&'static str]| Value::Texts(texts.iter().map(|text| (*text).into()).collect());
    assert_eq!(get(&description, "http.request.header.accept"), Some(&texts(&["a", "b"])));
    assert_eq!(get(&description, "http.request.header.x-long"), Some(&texts(&["xxx"])));
    assert_eq!(get(&description, "http.request.header.x-forwarded-for"), None, "it is not asked for");
    let truncated = ["http.request.header.x-long", "http.request.header"];
    assert_eq!(get(&description, name::TRUNCATED), Some(&texts(&truncated)));
    assert_eq!(get(&description, name::CLIENT_ADDRESS), Some(&"10.0.0.1".into()), "nobody believes it");

    let request = HttpServer { is_forwarded: true, ..request };
    let description = described(&request, &Settings::default());
    assert_eq!(get(&description, name::CLIENT_ADDRESS), Some(&"192.0.2.7".into()));
    assert_eq!(get(&description, name::NETWORK_PEER_ADDRESS), Some(&"10.0.0.1".into()));
    // What tells nothing leaves the peer's address.
    let nothing = RequestHeader { name: "forwarded", values: &["for=unknown"], ..RequestHeader::default() };
    let request = HttpServer { headers: Box::leak(Box::new([nothing])), ..request };
    let description = described(&request, &Settings::default());
    assert_eq!(get(&description, name::CLIENT_ADDRESS), Some(&"10.0.0.1".into()));
    // The standard one is above the other.
    let standard = RequestHeader { values: &["for=192.0.2.8"], ..nothing };
    let request = HttpServer { headers: Box::leak(Box::new([standard, headers[1]])), ..request };
    let description = described(&request, &Settings::default());
    assert_eq!(get(&description, name::CLIENT_ADDRESS), Some(&"192.0.2.8".into()));
    // Also where there is no peer with an address.
    let description = described(&HttpServer { peer: "@", ..request }, &Settings::default());
    assert_eq!(get(&description, name::CLIENT_ADDRESS), Some(&"192.0.2.8".into()));
    assert_eq!(get(&description, name::NETWORK_PEER_ADDRESS), None);
}
