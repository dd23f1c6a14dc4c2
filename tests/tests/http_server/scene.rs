//! A server under watch.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::agent::Outcome;
use lightfoot_tests::live::{Agent, Client, Server, Truth, eventually};

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
        if let Some(why) = unable() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
            println!("skipped: {why}");
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let build = Build::here(Program::Truth, GoVersion::of_minor(minor).unwrap(), mode);
        let server = Server::start(&build.path().unwrap()).unwrap();
        let agent = Path::new(env!("CARGO_BIN_EXE_agent-under-test"));
        let agent = Agent::watching(agent, &server, arguments).unwrap();
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
            let spans = self.agent.spans().unwrap();
            spans.iter().any(|span| span.text("http.route") == "/copied/").then_some(())
        };
        eventually(Duration::from_secs(30), knock).unwrap();
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

fn unable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root to watch programs".to_owned());
    }
    lightfoot_probes::OBJECT.err().map(|absent| absent.to_string())
}
