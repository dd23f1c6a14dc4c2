//! A server under watch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Agent, Client, LiveError, Outcome, Server, Truth, is_privileged, wait_for};
use crate::go::version::NEWEST;
use crate::go::{Build, GoVersion, Mode, Program};

static ALONE: Mutex<()> = Mutex::new(());

/// The user agent of requests that are sent to see whether the agent watches, and what.
const KNOCK: &str = "knock/0";

/// A server and the agent that watches it.
#[derive(Debug)]
pub struct Scene {
    /// What the server is built of.
    pub build: Build,
    /// The server.
    pub server: Server,
    /// The agent.
    pub agent: Agent,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Scene {
    /// Starts both, and nothing else that the tests of this program start so, or says why that is not possible here:
    /// [`is_privileged`].
    ///
    /// # Panics
    /// As [`is_privileged`] does.
    pub fn set(minor: u32, mode: Mode) -> Result<Option<Self>, LiveError> {
        Self::set_with(minor, mode, &[])
    }

    /// The same with further arguments for the agent.
    pub fn set_with(minor: u32, mode: Mode, arguments: &[&str]) -> Result<Option<Self>, LiveError> {
        let build = Build::here(Program::Truth, GoVersion::of_minor(minor).unwrap_or(NEWEST), mode);
        if !is_privileged(&format!("watching {build}")) {
            return Ok(None);
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self::start(build, arguments, Some(alone)).map(Some)
    }

    /// Starts both, beside whatever else the tests of this program start.
    pub fn beside_others(build: Build) -> Result<Self, LiveError> {
        Self::start(build, &[], None)
    }

    fn start(
        build: Build,
        arguments: &[&str],
        alone: Option<MutexGuard<'static, ()>>,
    ) -> Result<Self, LiveError> {
        let server = Server::start(&build.path()?)?;
        let pid = server.pid().to_string();
        let agent = Agent::start([&["--pid", &pid], arguments].concat(), &[])?;
        agent.watches(server.pid())?;
        Ok(Self { build, server, agent, _alone: alone })
    }

    /// A client of the server.
    pub fn client(&self) -> Client {
        Client::tcp(self.server.address)
    }

    /// Waits until the agent sees the routes of copied requests: it does soon after the first of them. No other request
    /// may be under way.
    pub fn learn_copied_routes(&self) -> Result<(), LiveError> {
        let (minor, mode) = (self.build.version.minor, self.build.mode);
        // Before Go 1.22 there are none, and in some builds no emulated instruction has the pattern still in a register.
        if minor < 22 || mode == Mode::Debug || (minor, mode) == (22, Mode::Race) {
            return Ok(());
        }
        let mut client = self.client();
        let mut knock = || {
            let answer = client.get("/copied/0", &format!("User-Agent: {KNOCK}\r\n"));
            answer.ok().flatten()?;
            (self.agent.count_spans(|span| span.text("http.route") == "/copied/") != 0).then_some(())
        };
        wait_for("the route of a copied request", &mut knock)
    }

    /// Ends both: the truth and what the agent made of it, without the requests that were sent to see whether it watches.
    pub fn end(self) -> Result<(Vec<Truth>, Outcome), LiveError> {
        let mut outcome = self.agent.stop()?;
        outcome.spans.retain(|span| span.text("user_agent.original") != KNOCK);
        let mut truth = self.server.stop()?;
        truth.retain(|truth| truth.user_agent != KNOCK);
        Ok((truth, outcome))
    }
}
