//! A server of HTTP/2 under watch, and its client, which is not.

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Driven, Facts, Outcome, Span, Watched, wait_for};

/// The ways to serve HTTP/2: the program, the name that it gives the server, and the first Go version that knows it.
pub(crate) const DOORS: [(Program, &str, u32); 5] = [
    (Program::Bundled, "tls", 21),
    (Program::Bundled, "cleartext", 24),
    (Program::XNet, "h2c", 21),
    (Program::XNet, "configured", 21),
    (Program::XNet, "bare", 21),
];

pub(crate) struct Scene {
    pub(crate) watched: Watched,
    pub(crate) client: Driven,
    /// Where the client sends its requests.
    pub(crate) url: String,
    /// The number of the last request that was sent to see whether routes are found.
    knocked: u64,
}

impl Scene {
    /// Starts all three, or says why that is not possible here.
    pub(crate) fn set(
        program: Program,
        door: &str,
        minor: u32,
        mode: Mode,
        arguments: &[&str],
    ) -> Option<Self> {
        let watched = Watched::start_with(program, minor, mode, arguments, |_| Ok(())).unwrap()?;
        let client = Build::here(Program::Http2Drive, GoVersion::of_minor(26).unwrap(), Mode::Plain);
        let client = Driven::start(&client.path().unwrap()).unwrap();
        let url = watched.program.url(door).unwrap();
        Some(Self { watched, client, url, knocked: 0 })
    }

    /// Waits until the agent finds the routes of requests that net/http makes for golang.org/x/net, and of those that are collected
    /// before they end: as with copied requests, it does soon after the first of these.
    pub(crate) fn learn_routes(&mut self) {
        if self.watched.build.version.minor < 27 {
            return;
        }
        let has_route = |span: &Span| !span.text("http.route").is_empty();
        let knock = || {
            self.client.ask(&format!("copied {}", self.url)).unwrap();
            self.knocked += 1;
            self.watched.spans().unwrap().iter().any(has_route).then_some(())
        };
        wait_for("a route", knock).unwrap();
    }

    /// Ends all three. The truth and the spans of requests other than those that [`Scene::learn_routes`] sent.
    pub(crate) fn end(self) -> (Facts, Outcome) {
        let (mut facts, mut outcome) = self.watched.end().unwrap();
        facts.requests.retain(|truth| number(&truth.target) > self.knocked);
        outcome.spans.retain(|span| span.kind == 2 && number(span.path()) > self.knocked);
        (facts, outcome)
    }
}

/// The number in a path `/WHAT/NUMBER`.
pub(crate) fn number(path: &str) -> u64 {
    path.split(['/', '?']).nth(2).and_then(|number| number.parse().ok()).unwrap_or_default()
}
