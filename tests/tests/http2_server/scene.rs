//! A server of HTTP/2 under watch, and its client, which is not.

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Driven, Facts, Outcome, Watched};

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
}

impl Scene {
    /// Starts all three, or says why that is not possible here.
    pub(crate) fn set(program: Program, door: &str, minor: u32, mode: Mode) -> Option<Self> {
        let watched = Watched::start(program, minor, mode).unwrap()?;
        let client = Build::here(Program::Http2Drive, GoVersion::of_minor(26).unwrap(), Mode::Plain);
        let client = Driven::start(&client.path().unwrap()).unwrap();
        let url = watched.program.url(door).unwrap();
        Some(Self { watched, client, url })
    }

    /// Ends all three.
    pub(crate) fn end(self) -> (Facts, Outcome) {
        self.watched.end().unwrap()
    }
}
