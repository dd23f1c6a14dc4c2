//! The programs that tell the truth, without Lightfoot: what they write down is what the other side saw.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Call, Client, Driven, Facts, Server, Truth};
use serde::Deserialize;

fn start(program: Program, minor: u32) -> Driven {
    Driven::start(&binary(program, minor)).unwrap()
}

fn binary(program: Program, minor: u32) -> PathBuf {
    Build::here(program, GoVersion::of_minor(minor).unwrap(), Mode::Plain).path().unwrap()
}

/// The first two parts of a path.
fn place(target: &str) -> (String, u64) {
    let path = target.split(['?', '#']).next().unwrap();
    let path = path.split_once("://").map_or(path, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
    let mut parts = path.split('/').skip(1);
    let mut next = || parts.next().unwrap_or_default().to_owned();
    (next(), next().parse().unwrap_or_default())
}

/// Cases whose server is written by hand, in the middle, or nobody's.
const NO_REQUEST: [&str; 8] = [
    "http-1.0",
    "malformed",
    "malformed-header",
    "custom-transport",
    "reset-in-body",
    "retry",
    "x-unencrypted-refused",
    "connection-lost",
];

#[test]
fn calls_are_what_servers_saw() {
    for minor in [21, 24, 26, 27] {
        for program in [Program::Clients, Program::XNet] {
            let mut driven = start(program, minor);
            let cases = driven.ask("list").unwrap();
            assert!(cases.len() > 10);
            for case in &cases {
                driven.ask(&format!("run {case}")).unwrap();
            }
            if program == Program::Clients {
                driven.ask("load 1000 50 7").unwrap();
                driven.ask("crowd 1000").unwrap();
            }
            let facts = driven.stop().unwrap();
            let called: BTreeSet<&str> = facts.calls.iter().map(|call| call.case.as_str()).collect();
            let silent: Vec<_> = cases.iter().filter(|case| !called.contains(case.as_str())).collect();
            let unseen = if program == Program::Clients { vec!["custom-transport"] } else { vec![] };
            assert_eq!(silent, unseen, "{program} {minor}");
            check_calls(&facts);
        }
    }
}

fn check_calls(facts: &Facts) {
    let mut requests: HashMap<(String, u64), Vec<&Truth>> = HashMap::new();
    for request in &facts.requests {
        requests.entry(place(&request.target)).or_default().push(request);
    }
    for call in &facts.calls {
        assert_ne!(call.status == 0, call.error.is_empty(), "a response or an error: {call:?}");
        assert_eq!(place(&call.url), (call.case.clone(), call.number));
        assert!(call.start < call.end);
        if call.status == 0 || NO_REQUEST.contains(&call.case.as_str()) {
            continue;
        }
        let of_case = requests.get(&(call.case.clone(), call.number));
        let request = of_case.and_then(|all| all.iter().find(|request| agrees(call, request)));
        assert!(request.is_some(), "{call:?} was none of {of_case:?}");
    }
    let calls: HashMap<_, _> =
        facts.calls.iter().map(|call| ((call.case.as_str(), call.number), call)).collect();
    for (place, _) in requests {
        // The proxy's own CONNECT requests have no path.
        let called = calls.contains_key(&(place.0.as_str(), place.1)) || place.0.is_empty();
        assert!(called, "nobody called {place:?}");
    }
}

fn agrees(call: &Call, request: &Truth) -> bool {
    let version =
        if request.major == 2 { "2".to_owned() } else { format!("{}.{}", request.major, request.minor) };
    let inside = call.start <= request.start && request.start <= call.end;
    (call.status, &call.method, &call.version) == (request.status, &request.method, &version) && inside
}

/// Cases whose client and handler differ in what became of the call: one of them left, or somebody between them decided.
const DIFFERING: [&str; 17] = [
    "goexit",
    "unencodable",
    "answer-too-large",
    "deadline",
    "deadline-ignored",
    "cancelled-bare",
    "cancelled-ignored",
    "connection-cut",
    "connection-cut-ignored",
    "connection-closed",
    "stopped",
    "connection-outlived",
    "stream-left-early",
    "stream-deadline",
    "stream-cut",
    "stream-cancelled-ignored",
    "stream-connection-closed",
];

#[test]
fn calls_by_grpc_are_what_handlers_saw() {
    for (program, minor) in [(Program::OldRpc, 21), (Program::OldRpc, 25), (Program::Rpc, 27)] {
        let mut driven = start(program, minor);
        let cases = driven.ask("list").unwrap();
        for case in &cases {
            driven.ask(&format!("run {case}")).unwrap();
        }
        driven.ask_within(Duration::from_mins(1), "load 1000 50 7").unwrap();
        driven.ask("crowd 1000").unwrap();
        driven.ask("hold 10").unwrap();
        driven.ask("release").unwrap();
        let facts = driven.stop().unwrap();
        let called: HashMap<u64, _> = facts.called.iter().map(|called| (called.number, called)).collect();
        let unnumbered = facts.called.iter().filter(|called| called.number == 0).count();
        assert_eq!(called.len() + unnumbered.max(1) - 1, facts.called.len(), "numbers are used once");
        let mut handled = BTreeSet::new();
        for served in &facts.handled {
            let called = called[&served.number];
            assert_eq!((&served.case, &served.method), (&called.case, &called.method));
            assert!(called.start <= served.start && served.start <= served.end, "{called:?} {served:?}");
            // Of several attempts the last one counts.
            let is_last = handled.insert(served.number) && !called.case.contains("retried");
            // Who has left says so in words of his own.
            let has_left = [1, 4].contains(&served.code) && !served.case.starts_with("says-");
            let agrees = served.code == called.code && (has_left || served.message == called.message);
            let may_differ = DIFFERING.contains(&called.case.as_str()) || served.panicked || !is_last;
            assert!(agrees || may_differ, "{called:?} {served:?}");
        }
        assert!(handled.len() > 2000, "{} were handled", handled.len());
        let silent: Vec<_> = cases
            .iter()
            .filter(|case| !case.starts_with("web-"))
            .filter(|case| !facts.called.iter().any(|called| called.case == **case))
            .collect();
        assert_eq!(silent, Vec::<&String>::new(), "{program} {minor}");
    }
}

#[test]
fn parents_are_what_happened() {
    for minor in [21, 26, 27] {
        let mut driven = start(Program::Parents, minor);
        for case in driven.ask("list").unwrap() {
            driven.ask(&format!("run {case}")).unwrap();
        }
        driven.ask("hold 10").unwrap();
        driven.ask("release").unwrap();
        driven.ask("crowd 1000").unwrap();
        driven.ask_within(Duration::from_mins(2), "chaos 5000 64 3").unwrap();
        let facts = driven.stop().unwrap();
        assert!(facts.served.len() > 6000 && facts.calls.len() > 6000);
        let served: HashMap<_, _> = facts.served.iter().map(|served| (served.number, served)).collect();
        let calls: HashMap<_, _> = facts.calls.iter().map(|call| (call.number, call)).collect();
        assert_eq!(
            (served.len(), calls.len()),
            (facts.served.len(), facts.calls.len()),
            "numbers are used once"
        );
        let span = |number: u64| {
            let of_call = || calls.get(&number).map(|call| (call.start, call.end));
            served.get(&number).map(|served| (served.start, served.end)).or_else(of_call)
        };
        let mut rules: BTreeMap<&str, u64> = BTreeMap::new();
        for call in calls.values() {
            *rules.entry(call.rule.as_str()).or_default() += 1;
            assert_eq!(call.rule.is_empty(), call.parent == 0, "{call:?}");
            let (start, end) = span(call.cause).unwrap();
            assert!(call.start >= start);
            let outlives = ["outlives", "outlives-bare"].contains(&call.case.as_str());
            assert!(outlives || call.end <= end, "{call:?} is not within its cause");
            if call.rule.is_empty() {
                continue;
            }
            let (start, end) = span(call.parent).unwrap();
            assert!(call.start >= start, "{call:?}");
            if call.rule == "goroutine" {
                assert!(call.end <= end, "{call:?}");
            }
            let strange = ["borrowed-context", "lazy-pool"].contains(&call.case.as_str());
            assert!(call.parent == call.cause || strange, "{call:?}");
        }
        println!("Go 1.{minor}: {rules:?}");
        assert!(rules.len() == 4 && rules.values().all(|count| *count > 100), "{rules:?}");
    }
}

/// What `tests/targets/http2drive/main.go` says of a request.
#[derive(Debug, Deserialize)]
struct Seen {
    case: String,
    number: u64,
    status: u16,
    complete: bool,
}

#[test]
fn streams_are_what_clients_saw() {
    let mut driver = start(Program::Http2Drive, 26);
    let cases = driver.ask("list").unwrap();
    for (program, minor, doors) in [
        (Program::Bundled, 21, &["tls"][..]),
        (Program::Bundled, 24, &["tls", "cleartext"]),
        (Program::Bundled, 27, &["tls", "cleartext"]),
        (Program::XNet, 21, &["h2c", "configured", "bare"]),
        (Program::XNet, 26, &["h2c", "configured", "bare"]),
        (Program::XNet, 27, &["h2c", "configured", "bare"]),
    ] {
        let server = start(program, minor);
        let mut seen = Vec::new();
        for door in doors {
            let url = server.url(door).unwrap();
            for case in cases.iter().filter(|case| *case != "upgrade" || *door == "h2c") {
                seen.extend(driver.ask(&format!("send {url} {case}")).unwrap());
            }
            seen.extend(driver.ask(&format!("load {url} 500 20 4")).unwrap());
            seen.extend(driver.ask(&format!("at-once {url} 100")).unwrap());
        }
        // Handlers end a moment after their client has left.
        thread::sleep(Duration::from_secs(1));
        let facts = server.stop().unwrap();
        let truth: HashMap<u64, &Truth> =
            facts.requests.iter().map(|truth| (place(&truth.target).1, truth)).collect();
        assert_eq!((truth.len(), facts.requests.len()), (seen.len(), seen.len()), "{program} {minor}");
        for line in &seen {
            let seen: Seen = serde_json::from_str(line).unwrap();
            let truth = truth[&seen.number];
            // A client that leaves, or whose stream is reset, does not see the status.
            let is_seen = seen.complete || seen.status != 0;
            assert!(!is_seen || seen.status == truth.status, "{seen:?} {truth:?}");
            assert_eq!(
                seen.complete,
                !truth.panicked && !seen.case.contains("ca") && seen.case != "connection-lost",
                "{seen:?} {truth:?}"
            );
            assert!(truth.major == 2 || seen.case == "upgrade", "{truth:?}");
        }
    }
}

#[test]
fn routers_say_what_they_matched() {
    let common = [
        ("GET", "/plain/7", 200),
        ("GET", "/users/7/files/a/b", 200),
        ("POST", "/group/inner/7", 200),
        ("GET", "/status/7", 418),
        ("GET", "/panic/7", 500),
        ("GET", "/copied/7", 200),
        ("GET", "/nowhere", 404),
    ];
    let gin = [
        "/plain/:number",
        "/users/:id/files/*path",
        "/group/inner/:id",
        "/status/:number",
        "/panic/:number",
        "/copied/:number",
        "",
    ];
    let echo = [
        "/plain/:number",
        "/users/:id/files/*",
        "/group/inner/:id",
        "/status/:number",
        "/panic/:number",
        "/copied/:number",
        "",
    ];
    let chi = [
        "/plain/{number}",
        "/users/{id:[0-9]+}/files/*",
        "/group/inner/{id}",
        "/status/{number}",
        "/panic/{number}",
        "/copied/{number}",
        "",
    ];
    let gorilla = [
        "/plain/{number}",
        "/users/{id:[0-9]+}/files/{path:.*}",
        "/group/inner/{id}",
        "/status/{number}",
        "/panic/{number}",
        "/copied/{number}",
        "",
    ];
    for (program, routes) in
        [(Program::Gin, gin), (Program::Chi, chi), (Program::Echo, echo), (Program::Gorilla, gorilla)]
    {
        for minor in [21, 26] {
            let server = Server::start(&binary(program, minor)).unwrap();
            let mut client = Client::tcp(server.address);
            for (method, path, status) in common {
                let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
                let request = format!("{method} {path} HTTP/1.1\r\nHost: host.test\r\n{length}\r\n");
                let response = client.exchange(request.as_bytes()).unwrap().unwrap();
                assert_eq!(response.status, status, "{program} {minor} {path}");
            }
            let truth = server.stop().unwrap();
            let said: Vec<_> = truth.iter().map(|truth| (truth.route.as_str(), truth.status)).collect();
            let wanted: Vec<_> = routes.into_iter().zip(common.map(|(_, _, status)| status)).collect();
            assert_eq!(said, wanted, "{program} {minor}");
        }
    }
}
