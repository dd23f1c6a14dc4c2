//! A server under watch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Agent, Client, Outcome, Server, Truth, is_privileged};

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
        let build = Build::here(Program::Truth, GoVersion::of_minor(minor).unwrap(), mode);
        if !is_privileged(&format!("watching {build}")) {
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let server = Server::start(&build.path().unwrap()).unwrap();
        let agent = Agent::start(["--pid", &server.pid().to_string()], &[]).unwrap();
        agent.watches(server.pid()).unwrap();
        Some(Self { build, server, agent, _alone: alone })
    }

    /// A client of the server.
    pub(crate) fn client(&self) -> Client {
        Client::tcp(self.server.address)
    }

    /// Ends both: the truth and what the agent made of it.
    pub(crate) fn end(self) -> (Vec<Truth>, Outcome) {
        let outcome = self.agent.stop().unwrap();
        (self.server.stop().unwrap(), outcome)
    }
}
