//! The tables of docs/routers.md: the routes that routers match are those of spans, and those that routers name.
//!
//! Needs root and a kernel that attaches probes; elsewhere it says why it does nothing, and fails where `CI` is `true`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation is a failed test")]

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Agent, Client, Server, Span, is_privileged};

const ROUTERS: [Program; 4] = [Program::Gin, Program::Chi, Program::Echo, Program::Gorilla];

/// What a program answers that matches nothing, that refuses or panics.
const STATUSES: [(&str, u16); 5] =
    [("/status/", 418), ("/panic/", 500), ("/nowhere", 404), ("/refused/", 403), ("/error/", 403)];

#[test]
fn go_1_21() {
    routes_are_those_of_routers(21);
}

#[test]
fn go_1_26() {
    routes_are_those_of_routers(26);
}

fn routes_are_those_of_routers(minor: u32) {
    let documented = documented("routers.md").unwrap();
    for (column, program) in ROUTERS.into_iter().enumerate() {
        let build = Build::here(program, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
        if !is_privileged(&format!("watching {build}")) {
            return;
        }
        // Of all of them, and those of its own.
        let rows = documented.iter().filter_map(|row| match &row[..] {
            [request, routes @ ..] if routes.len() == ROUTERS.len() => Some((request, &routes[column])),
            [request, router, route] if router == program.name() => Some((request, route)),
            _ => None,
        });
        let rows: Vec<_> = rows.map(|(request, route)| (request, route.replace("none", ""))).collect();
        assert!(rows.len() > 7, "{build}");
        let (server, agent) = watched(&build);
        let mut client = Client::tcp(server.address);
        for (row, _) in &rows {
            let length = if row.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
            let request = format!("{row} HTTP/1.1\r\nHost: host.test\r\n{length}\r\n");
            let path = row.split(' ').nth(1).unwrap();
            let status = STATUSES.iter().find(|(prefix, _)| path.starts_with(prefix));
            let response = client.exchange(request.as_bytes()).unwrap().unwrap();
            assert_eq!(response.status, status.map_or(200, |(_, status)| *status), "{build}: {request}");
        }
        agent.wait_for_spans(rows.len(), |_| true).unwrap();
        let (outcome, truth) = (agent.stop().unwrap(), server.stop().unwrap());
        assert_eq!((outcome.spans.len(), truth.len()), (rows.len(), rows.len()));
        assert_eq!(outcome.count("read_fault"), 0, "{build}: {}", outcome.messages);
        for ((row, route), truth) in rows.iter().zip(&truth) {
            let (method, path) = row.split_once(' ').unwrap();
            assert_eq!(truth.route, *route, "{build}");
            let is_its = |span: &&Span| span.path() == path;
            let span = outcome.spans.iter().find(is_its).unwrap();
            assert_eq!(span.text("http.route"), route, "{build}");
            assert_eq!(span.name, format!("{method} {route}").trim_end(), "{build}");
        }
    }
}

/// What those that tell the route when they are done do not tell: of a panic that no middleware of theirs recovers from, or an
/// end of the goroutine. gin tells it before, unless it is so old that the call there is inlined.
#[test]
fn a_handler_that_does_not_return() {
    let before = [(Program::Gin, 26), (Program::Gorilla, 21), (Program::Gorilla, 26)];
    for program in ROUTERS {
        for minor in [21, 26] {
            let build = Build::here(program, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
            if !is_privileged(&format!("watching {build}")) {
                return;
            }
            let (server, agent) = watched(&build);
            assert_eq!(Client::tcp(server.address).get("/exit/7", "").unwrap(), None, "{build}");
            agent.wait_for_spans(1, |_| true).unwrap();
            let span = agent.stop().unwrap().spans.remove(0);
            assert_eq!(span.text("error.type"), "panic", "{build}");
            let is_told = before.contains(&(program, minor));
            assert_eq!(span.text("http.route").starts_with("/exit/"), is_told, "{build}: {span:?}");
            drop(server.stop());
        }
    }
}

/// A server under watch.
fn watched(build: &Build) -> (Server, Agent) {
    let server = Server::start(&build.path().unwrap()).unwrap();
    let agent = Agent::start(["--pid", &server.pid().to_string()], &[]).unwrap();
    agent.watches(server.pid()).unwrap();
    (server, agent)
}
