//! A server under watch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Client, Outcome, Server, Truth, is_privileged, wait_for};

/// The builds that are watched: every Go, and the one build whose end of a request is elsewhere.
pub(crate) const BUILDS: [(u32, Mode); 8] = [
    (21, Mode::Plain),
    (22, Mode::Plain),
    (23, Mode::Plain),
    (24, Mode::Plain),
    (25, Mode::Plain),
    (26, Mode::Plain),
    (27, Mode::Plain),
    (26, Mode::ProfileGuided),
];

static ALONE: Mutex<()> = Mutex::new(());

/// A server, the agent that watches it, and nothing else that the tests of this program start.
pub(crate) struct Scene {
    pub(crate) build: Build,
    pub(crate) server: Server,
    pub(crate) agent: Agent,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    /// Starts both, or says why that is not possible here.
    pub(crate) fn set(minor: u32, mode: Mode) -> Option<Self> {
        Self::set_with(minor, mode, &[])
    }

    /// The same with further arguments for the agent.
    pub(crate) fn set_with(minor: u32, mode: Mode, arguments: &[&str]) -> Option<Self> {
        let build = Build::here(Program::Truth, GoVersion::of_minor(minor).unwrap(), mode);
        if !is_privileged(&format!("watching {build}")) {
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let server = Server::start(&build.path().unwrap()).unwrap();
        let pid = server.pid().to_string();
        let agent = Agent::start([&["--pid", &pid], arguments].concat(), &[]).unwrap();
        agent.watches(server.pid()).unwrap();
        Some(Self { build, server, agent, _alone: alone })
    }

    /// A client of the server.
    pub(crate) fn client(&self) -> Client {
        Client::tcp(self.server.address)
    }

    /// Waits until the agent sees the routes of copied requests: it does soon after the first of them. No other request
    /// may be under way.
    pub(crate) fn learn_copied_routes(&self) {
        if self.build.version.minor < 22 {
            return;
        }
        let mut client = self.client();
        let knock = || {
            client.get("/copied/0", "User-Agent: knock/0\r\n").unwrap().unwrap();
            (self.agent.count_spans(|span| span.text("http.route") == "/copied/") != 0).then_some(())
        };
        wait_for("the route of a copied request", knock).unwrap();
    }

    /// Ends both: the truth and what the agent made of it, without the requests that were sent to see whether it watches.
    pub(crate) fn end(self) -> (Vec<Truth>, Outcome) {
        let mut outcome = self.agent.stop().unwrap();
        outcome.spans.retain(|span| span.text("user_agent.original") != "knock/0");
        let mut truth = self.server.stop().unwrap();
        truth.retain(|truth| truth.user_agent != "knock/0");
        (truth, outcome)
    }
}
