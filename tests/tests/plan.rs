//! What the planner makes of real programs: every supported Go version, way to build and architecture.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lightfoot::catalog::Role;
use lightfoot::catalog::net_http::ROUND_TRIP_RESULTS;
use lightfoot::inspect::{self, Program as Facts};
use lightfoot::plan::caller::caller;
use lightfoot::plan::layouts::layout;
use lightfoot::plan::{OperationPlan, Plan};
use lightfoot_probes_abi::layout::NONE;
use lightfoot_symbolizer::functions::Function;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::{self, Code, IndirectCall, Price, Reason};
use lightfoot_symbolizer::{Architecture, VirtualAddress};
use lightfoot_tests::each::each_build;
use lightfoot_tests::go::version::NEWEST;
use lightfoot_tests::go::{Build, GoToolchain, Mode, Program, matrix};
use lightfoot_tests::oracle;

const ROUND_TRIP: &str = "net/http.(*Transport).RoundTrip";
const SEND: &str = "net/http.send";

/// The operations of a build that can be watched, by title, and the refusals of the others.
fn operations(path: &Path) -> BTreeMap<&'static str, OperationPlan> {
    let facts = Facts::inspect(path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    let plan = Plan::new(&facts);
    let operations = plan.libraries.into_iter().flat_map(|library| library.operations.into_iter().flatten());
    operations.map(|operation| (operation.operation.title, operation)).collect()
}

/// The function in which a moment is caught, and the prices of the sites there.
fn caught(operation: &OperationPlan, role: Role) -> (&'static str, Vec<Price>) {
    let point =
        operation.points.iter().find(|point| point.role == role).expect("the role is in the catalogue");
    let (function, sites) = point.chosen.as_ref().unwrap_or_else(|| panic!("{role:?}: {:?}", point.refused));
    (function, sites.iter().map(|planned| planned.site.price).collect())
}

/// A header is written at the call that ends the others, or that puts them into a frame, where the request or the connection stands on
/// the stack: nowhere else. On arm64 that call has them in registers over HTTP/2.
fn check_propagation(build: &Build, operations: &BTreeMap<&'static str, OperationPlan>) {
    let framing = if build.version.minor < 27 {
        "net/http.(*http2ClientConn).writeHeaders"
    } else {
        "net/http/internal/http2.(*ClientConn).writeHeaders"
    };
    let written =
        [("HTTP/1 client propagation", "net/http.(*Request).write"), ("HTTP/2 client propagation", framing)];
    for (title, function) in written {
        let operation = &operations[title];
        if build.architecture == Architecture::Aarch64 && function == framing {
            assert!(
                operation.refusals[0]
                    .ends_with(" takes its headers in registers, where nothing can be written")
            );
            continue;
        }
        assert!(operation.can_be_watched(), "{title}: {:?}", operation.refusals);
        assert_eq!(caught(operation, Role::Written), (function, vec![Price::Emulated]));
    }
    let layout = layout(&Facts::inspect(&build.path().expect("it was built")).expect("it was inspected"));
    let is_there = build.architecture == Architecture::X86_64;
    assert!(layout.propagation.is_known() && layout.propagation.knows_encoded(), "{:?}", layout.propagation);
    assert_eq!(layout.propagation.http2.is_known(), is_there, "{:?}", layout.propagation);
}

/// The connection of a request is in its register at the entry of what all of them pass that go over HTTP/1, or leads to it over HTTP/2, and what
/// it leads to is known.
fn check_connection(build: &Build, operations: &BTreeMap<&'static str, OperationPlan>) {
    let operation = &operations["HTTP/1 client connection"];
    assert!(operation.can_be_watched(), "{:?}", operation.refusals);
    let site = ("net/http.(*persistConn).roundTrip", vec![Price::Emulated]);
    assert_eq!(caught(operation, Role::Connected), site);
    // That of a stream is where its headers are about to be encoded.
    let of_stream = if build.version.minor < 27 {
        "net/http.(*http2clientStream).encodeAndWriteHeaders"
    } else {
        "net/http/internal/http2.(*clientStream).encodeAndWriteHeaders"
    };
    let operation = &operations["HTTP/2 client connection"];
    assert!(operation.can_be_watched(), "{:?}", operation.refusals);
    assert_eq!(caught(operation, Role::Connected), (of_stream, vec![Price::Emulated]));
    let layout = layout(&Facts::inspect(&build.path().expect("it was built")).expect("it was inspected"));
    let found = layout.client_connection;
    assert!(found.is_known() && found.tls_type != NONE && found.tls_connection != NONE, "{found:?}");
    assert!(layout.http2_connection.is_known(), "{:?}", layout.http2_connection);
}

fn check_http(build: &Build, path: &Path) {
    let operations = operations(path);
    check_propagation(build, &operations);
    check_connection(build, &operations);
    for title in ["HTTP/1 server request", "HTTP/2 server request", "HTTP client request"] {
        let operation = operations.get(title).unwrap_or_else(|| panic!("no {title}"));
        assert!(operation.can_be_watched(), "{title}: {:?}", operation.refusals);
        assert_eq!(operation.traps_per_span(), 2, "{title}");
        for role in [Role::Start, Role::End] {
            let (function, prices) = caught(operation, role);
            if build.mode == Mode::ProfileGuided && title == "HTTP client request" && role == Role::End {
                // net/http.send is inlined as well there: the callee's own return stands in, and says so.
                assert_eq!(function, ROUND_TRIP);
                continue;
            }
            assert_eq!(prices.len(), 1, "{title}, {role:?}: one site each, which all of them pass");
            assert!(
                prices.iter().all(|price| *price == Price::Emulated),
                "{title}, {role:?}: {function} {prices:?}"
            );
        }
    }
    check_http2(build, &operations["HTTP/2 server request"]);
    check_client(build, &operations["HTTP client request"]);
    let server = &operations["HTTP/1 server request"];
    let end = if build.mode == Mode::ProfileGuided {
        "net/http.(*conn).serve"
    } else {
        "net/http.(*response).finishRequest"
    };
    assert_eq!(caught(server, Role::End), (end, vec![Price::Emulated]));
    let route = server.points.iter().find(|point| point.role == Role::Route).expect("it is in the catalogue");
    // Before Go 1.22 there are no patterns to see; an unoptimised build puts results on the stack at once.
    if build.version.minor < 22 || build.mode == Mode::Debug {
        assert!(route.chosen.is_none() && !route.refused.is_empty(), "{:?}", route.chosen);
    } else {
        assert_eq!(caught(server, Role::Route), ("net/http.(*ServeMux).ServeHTTP", vec![Price::Emulated]));
        let sites = route.chosen.iter().flat_map(|(_, sites)| sites);
        assert!(
            sites.map(|site| &site.kept[..]).eq([[Place::IntegerRegister(2), Place::IntegerRegister(3)]])
        );
    }
    let pattern =
        server.layouts.iter().find(|layout| layout.layout.name == "net/http.Request").expect("read");
    let has = |field| pattern.fields.iter().any(|(name, _)| *name == field);
    // Which field holds the route is a matter of the Go version, and both exist since 1.23.
    assert_eq!((has("Pattern"), has("pat")), (build.version.minor >= 23, build.version.minor >= 22));
}

fn check_http2(build: &Build, server: &OperationPlan) {
    let end = if build.version.minor < 27 {
        "net/http.(*http2serverConn).runHandler.func1"
    } else {
        "net/http/internal/http2.(*serverConn).runHandler.func1"
    };
    assert_eq!(caught(server, Role::End), (end, vec![Price::Emulated]));
}

fn check_client(build: &Build, client: &OperationPlan) {
    let stands_in = client.points.iter().any(|point| point.role == Role::StandIn);
    let end = caught(client, Role::End).0;
    match build.architecture {
        // Its own return is emulated, so nothing has to be known of its callers.
        Architecture::Aarch64 => assert_eq!((end, stands_in), (ROUND_TRIP, false)),
        Architecture::X86_64 if build.mode == Mode::ProfileGuided => {
            assert_eq!((end, stands_in), (ROUND_TRIP, false), "its own return is all there is at first");
        }
        Architecture::X86_64 => {
            assert_eq!((end, stands_in), (SEND, true));
            assert_eq!(caught(client, Role::StandIn), (ROUND_TRIP, vec![Price::Stepped]));
        }
    }
}

#[test]
fn the_call_of_round_trip_in_send_is_learned_wherever_send_is_inlined() {
    let http = |build: &Build| build.program == Program::Http;
    each_build(matrix::general(Program::Http).chain(matrix::special()).filter(http), |build, path| {
        let binary = inspect::open(path).expect("it is a Go program");
        let functions = binary.functions(&[SEND]).expect("they are read");
        let hosts: Vec<_> = match functions.get(SEND) {
            Ok(send) => vec![(send, vec![(send.entry, send.end)])],
            Err(_) => functions.inlined_into(SEND).map(|host| (host, ranges_of_send(host))).collect(),
        };
        assert_eq!(hosts.iter().all(|(host, _)| host.name != SEND), build.mode == Mode::ProfileGuided);
        for (host, ranges) in hosts {
            let bytes = host.code(&binary.image).expect("its code is in the file");
            let code = Code { architecture: build.architecture, entry: host.entry, bytes: &bytes };
            let calls = site::indirect_calls(code).expect("it decodes").into_iter();
            let is_round_trip = |call: &IndirectCall| {
                let is_in_send = ranges.iter().any(|(start, end)| (*start..*end).contains(&call.address));
                is_in_send && call.itab_offset == Some(24) && call.arguments & 3 == 3
            };
            let calls: Vec<_> = calls.filter(is_round_trip).collect();
            assert_eq!(calls.len(), 1, "{}: {calls:?}", host.name);
            for call in calls {
                let found = caller(&binary, call.return_address, ROUND_TRIP_RESULTS);
                let found = found.unwrap_or_else(|error| panic!("{}: {error:?}", host.name));
                assert_eq!((&found.function, found.site.site.price), (&host.name, Price::Emulated));
            }
        }
    });
}

/// Where the code of send stands in a function.
fn ranges_of_send(host: &Function) -> Vec<(VirtualAddress, VirtualAddress)> {
    let calls = host.inlined.iter().filter(|call| call.name == SEND);
    calls.flat_map(|call| &call.ranges).copied().collect()
}

#[test]
fn http_is_watched_in_two_emulated_traps_in_every_version_mode_and_architecture() {
    each_build(matrix::general(Program::Http), check_http);
}

#[test]
fn http_is_watched_in_two_emulated_traps_in_unusual_builds() {
    each_build(matrix::special().filter(|build| build.mode != Mode::Race), check_http);
}

#[test]
fn fips_and_boringcrypto_are_noticed() {
    let cryptic = |build: &Build| matches!(build.mode, Mode::Boringcrypto | Mode::Fips);
    each_build(matrix::special().filter(cryptic), |build, path| {
        let facts = Facts::inspect(path).expect("it is a Go program");
        let expected = if build.mode == Mode::Fips { "FIPS 140" } else { "boringcrypto" };
        assert_eq!(facts.build_info.fips(), Some(expected));
    });
    let plain = Build::here(Program::Http, NEWEST, Mode::Plain).path().expect("it builds");
    assert_eq!(Facts::inspect(&plain).expect("it is a Go program").build_info.fips(), None);
}

#[test]
fn stripping_changes_nothing_that_a_plan_says() {
    let stripped = matrix::general(Program::Http)
        .filter(|build| matches!(build.mode, Mode::Stripped | Mode::PieStripped));
    each_build(stripped, |build, path| {
        let mode = if build.mode == Mode::Stripped { Mode::Plain } else { Mode::Pie };
        let twin = Build { mode, ..*build }.path().expect("its twin builds");
        let summary = |path| {
            let operations = operations(path).into_values();
            let summarise = |operation: OperationPlan| {
                let sites =
                    operation.points.iter().flat_map(|point| &point.chosen).map(|(function, sites)| {
                        let sites = sites.iter().map(|site| (site.from_entry, site.site.bytes.clone()));
                        (*function, sites.collect::<Vec<_>>())
                    });
                let layouts =
                    operation.layouts.iter().map(|layout| (layout.layout.name, layout.fields.clone()));
                (sites.collect::<Vec<_>>(), layouts.collect::<Vec<_>>())
            };
            operations.map(summarise).collect::<Vec<_>>()
        };
        assert_eq!(summary(path), summary(&twin));
    });
}

#[test]
fn the_http2_of_x_net_is_watched_where_it_is_not_that_of_net_http() {
    let stripped = matrix::general(Program::XNet).filter(|build| build.mode == Mode::Stripped);
    each_build(stripped, |build, path| {
        let operations = operations(path);
        assert_eq!(operations["HTTP/2 server request"].traps_per_span(), 2);
        let of = |title| operations.get(title).unwrap_or_else(|| panic!("no {title}"));
        let (server, client) = (of("x/net HTTP/2 server request"), of("x/net HTTP/2 client request"));
        if build.version.minor >= 27 {
            // x/net 0.55 and later has no implementation of its own there.
            assert_eq!(server.refusals, ["not linked into this program"]);
        } else {
            assert!(server.can_be_watched(), "{:?}", server.refusals);
            for (role, function) in [
                (Role::Start, "golang.org/x/net/http2.(*serverConn).runHandler"),
                (Role::End, "golang.org/x/net/http2.(*serverConn).runHandler.func1"),
            ] {
                assert_eq!(caught(server, role), (function, vec![Price::Emulated]));
            }
        }
        assert!(client.can_be_watched(), "{:?}", client.refusals);
        let round_trip = "golang.org/x/net/http2.(*Transport).RoundTrip";
        let end = if build.architecture == Architecture::Aarch64 { round_trip } else { SEND };
        assert_eq!(caught(client, Role::Start), (round_trip, vec![Price::Emulated]));
        assert_eq!(caught(client, Role::End), (end, vec![Price::Emulated]));
        // The program calls it directly too; before x/net 0.55 that is inlined.
        assert_eq!(inlined(client).is_empty(), build.version.minor >= 25);
        // What x/net calls of net/http within is no request of its own.
        assert!(inlined(&operations["HTTP client request"]).is_empty());
    });
}

/// Functions with a call where a client's start was inlined, with the addresses of the call and of its end.
fn inlined(client: &OperationPlan) -> Vec<(String, VirtualAddress, VirtualAddress)> {
    let sites = |role| {
        let points = client.points.iter().filter(move |point| point.role == role);
        points.flat_map(|point| point.chosen.iter().flat_map(|(_, sites)| sites))
    };
    let pairs = sites(Role::InlinedStart).zip(sites(Role::InlinedEnd));
    let found = pairs.map(|(start, end)| {
        assert_eq!(start.host, end.host);
        assert_eq!((start.site.price, start.site.reason), (Price::Emulated, Reason::Call));
        assert!(end.site.price == Price::Emulated || end.site.reason == Reason::Return, "{end:?}");
        (start.host.clone().expect("it has one"), start.site.address, end.site.address)
    });
    found.collect()
}

#[test]
fn every_direct_call_of_round_trip_is_caught_where_it_was_inlined() {
    const CALL: &str = "CALL net/http.(*Transport).roundTrip(SB)";
    each_build(matrix::versions(Program::Clients, Mode::Plain), |build, path| {
        let mut operations = operations(path);
        let client = operations.remove("HTTP client request").expect("it is linked in");
        assert_eq!(client.traps_per_span(), 2);
        let caught: BTreeSet<_> = inlined(&client).into_iter().map(|(host, at, _)| (host, at.0)).collect();
        let toolchain = GoToolchain::find(build.version).expect("it built the program");
        let listing =
            oracle::tools::instructions(&toolchain, path, "^main\\.|RoundTrip").expect("it is read");
        let calls = listing.iter().flat_map(|(function, instructions)| {
            let calls = instructions.iter().filter(|instruction| instruction.text == CALL);
            calls.map(move |call| (function.clone(), call.address))
        });
        let expected: BTreeSet<_> = calls.filter(|(function, _)| function != ROUND_TRIP).collect();
        assert_eq!(caught, expected);
        assert!(caught.iter().any(|(host, _)| host.starts_with("main.")), "{caught:?}");
    });
    let arm = matrix::general(Program::Clients)
        .filter(|build| build.mode == Mode::Stripped && build.architecture == Architecture::Aarch64);
    each_build(arm, |_, path| {
        let operations = operations(path);
        let calls = inlined(&operations["HTTP client request"]);
        assert!(calls.iter().any(|(host, ..)| host.starts_with("main.")), "{calls:?}");
    });
    // Programs without such calls have nothing of the kind.
    each_build(matrix::versions(Program::Http, Mode::Stripped), |_, path| {
        assert!(inlined(&operations(path)["HTTP client request"]).is_empty());
    });
}

#[test]
fn grpc_is_found_in_the_releases_that_fit_each_go_version() {
    let on_both = |build: Build| {
        [Architecture::X86_64, Architecture::Aarch64].map(|architecture| Build { architecture, ..build })
    };
    each_build(matrix::versions(Program::Grpc, Mode::Stripped).flat_map(on_both), |build, path| {
        let facts = Facts::inspect(path).expect("it is a Go program");
        let left = layout(&facts).grpc.client.invoke;
        // What is left behind a unary call is looked for where it is on all of them.
        let expected = match build.architecture {
            Architecture::X86_64 => (176, 32, 0, 24),
            Architecture::Aarch64 => (256, 104, 88, 0),
        };
        assert_eq!((left.below, left.size, left.stream, left.returned), expected);
        let operations = operations(path);
        for title in ["gRPC server call", "gRPC client call", "gRPC client stream"] {
            let operation = operations.get(title).unwrap_or_else(|| panic!("no {title}"));
            assert!(operation.can_be_watched(), "{title}: {:?}", operation.refusals);
            assert_eq!(caught(operation, Role::Start).1, [Price::Emulated], "{title}");
        }
        let propagation = &operations["gRPC client propagation"];
        let is_there = build.architecture == Architecture::X86_64;
        assert_eq!(propagation.can_be_watched(), is_there, "{:?}", propagation.refusals);
        let grpc = layout(&facts).propagation.grpc;
        assert!(grpc.is_known() && grpc.knows_frame(), "{grpc:?}");
        for role in [Role::Listed, Role::Written].iter().filter(|_| is_there) {
            assert_eq!(caught(propagation, *role).1, [Price::Emulated], "{role:?}");
        }
        let connection = &operations["gRPC client connection"];
        assert!(connection.can_be_watched(), "{:?}", connection.refusals);
        for (role, function) in [(Role::Connected, "RecvMsg"), (Role::ErrorEnd, "SendMsg.func1")] {
            let (found, prices) = caught(connection, role);
            assert_eq!(
                (found, prices.as_slice()),
                (
                    format!("google.golang.org/grpc.(*clientStream).{function}").as_str(),
                    &[Price::Emulated][..]
                )
            );
        }
        assert!(layout(&facts).grpc.knows_connections(), "{:?}", layout(&facts).grpc);
        for title in ["messages of gRPC server streams", "messages of gRPC client streams"] {
            let operation = &operations[title];
            assert!(operation.can_be_watched(), "{title}: {:?}", operation.refusals);
            for prices in [Role::Sent, Role::Received].map(|role| caught(operation, role).1) {
                assert!(prices.iter().all(|price| *price == Price::Emulated), "{title}: {prices:?}");
            }
        }
    });
}

#[test]
fn the_race_detectors_calls_do_not_hide_the_sites() {
    each_build(matrix::special().filter(|build| build.mode == Mode::Race), |build, path| {
        assert_eq!(build.architecture, Architecture::X86_64, "the machine's own");
        check_http(build, path);
    });
}

/// The server of golang.org/x/net is its own, or net/http's since Go 1.27.
#[test]
fn http2_of_x_net() {
    each_build(matrix::versions(Program::Http2Batch, Mode::Stripped), |build, path| {
        let operations = operations(path);
        let (own, by_net_http) = (
            &operations["x/net HTTP/2 server request"],
            &operations["x/net HTTP/2 server request by net/http"],
        );
        let (watched, other) = if build.version.minor < 27 { (own, by_net_http) } else { (by_net_http, own) };
        assert!(watched.can_be_watched(), "{:?}", watched.refusals);
        assert!(!other.can_be_watched());
        let (start, end) = if build.version.minor < 27 {
            let own = "golang.org/x/net/http2.(*serverConn).runHandler";
            (own, "golang.org/x/net/http2.(*serverConn).runHandler.func1")
        } else {
            ("net/http.http2Handler.ServeHTTP", "net/http/internal/http2.(*serverConn).runHandler.func1")
        };
        assert_eq!(caught(watched, Role::Start), (start, vec![Price::Emulated]));
        assert_eq!(caught(watched, Role::End), (end, vec![Price::Emulated]));
    });
    each_build(matrix::versions(Program::XNet, Mode::Stripped), |build, path| {
        // Its clients are those of net/http since Go 1.27.
        let is_there = build.version.minor < 27 && build.architecture == Architecture::X86_64;
        let propagation = &operations(path)["x/net HTTP/2 client propagation"];
        assert_eq!(propagation.can_be_watched(), is_there, "{:?}", propagation.refusals);
        let layout = layout(&Facts::inspect(path).expect("it was inspected"));
        assert_eq!(layout.propagation.x_http2.is_known(), is_there, "{:?}", layout.propagation);
        if is_there {
            let function = "golang.org/x/net/http2.(*ClientConn).writeHeaders";
            assert_eq!(caught(propagation, Role::Written), (function, vec![Price::Emulated]));
        }
        let connection = &operations(path)["x/net HTTP/2 client connection"];
        assert_eq!(connection.can_be_watched(), build.version.minor < 27, "{:?}", connection.refusals);
        assert_eq!(layout.x_http2_connection.is_known(), build.version.minor < 27);
    });
    each_build(matrix::versions(Program::Http, Mode::Stripped), |_, path| {
        assert!(operations(path).keys().all(|title| !title.starts_with("x/net")), "it is not linked in");
    });
}
