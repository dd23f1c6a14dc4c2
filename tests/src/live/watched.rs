//! A driven program and the agent that watches it.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Agent, Driven, Facts, LiveError, Outcome, is_privileged};
use crate::go::version::NEWEST;
use crate::go::{Build, GoVersion, Mode, Program};

static ALONE: Mutex<()> = Mutex::new(());

/// Both, and nothing else that this process's tests start.
#[derive(Debug)]
pub struct Watched {
    /// What the program is built of.
    pub build: Build,
    /// The program.
    pub program: Driven,
    /// The agent, which watches it.
    pub agent: Agent,
    _alone: MutexGuard<'static, ()>,
}

impl Watched {
    /// Starts both, or says why that is not possible here: [`is_privileged`].
    ///
    /// # Panics
    /// As [`is_privileged`] does.
    pub fn start(program: Program, minor: u32, mode: Mode) -> Result<Option<Self>, LiveError> {
        Self::start_with(program, minor, mode, &[], |_| Ok(()))
    }

    /// The same with further arguments for the agent, and something for the program to do before it is watched.
    pub fn start_with(
        program: Program,
        minor: u32,
        mode: Mode,
        arguments: &[&str],
        before: impl FnOnce(&mut Driven) -> Result<(), LiveError>,
    ) -> Result<Option<Self>, LiveError> {
        let build = Build::here(program, GoVersion::of_minor(minor).unwrap_or(NEWEST), mode);
        if !is_privileged(&format!("watching {build}")) {
            return Ok(None);
        }
        let binary = build.path()?;
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut program = Driven::start(&binary)?;
        before(&mut program)?;
        let pid = program.pid().to_string();
        let agent = Agent::start([&["--pid", &pid], arguments].concat(), &[])?;
        agent.watches(program.pid())?;
        Ok(Some(Self { build, program, agent, _alone: alone }))
    }

    /// Ends both, the agent once no more spans come: the truth and what the agent made of it.
    pub fn end(self) -> Result<(Facts, Outcome), LiveError> {
        let mut last = (self.agent.count_spans(|_| true), Instant::now());
        while last.1.elapsed() < Duration::from_millis(700) {
            thread::sleep(Duration::from_millis(20));
            let now = self.agent.count_spans(|_| true);
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        let outcome = self.agent.stop()?;
        Ok((self.program.stop()?, outcome))
    }
}

/// The rows of a table in `docs/`, each as its cells without backticks; the first cell is the name of a case.
pub fn documented(file: &str) -> Result<Vec<Vec<String>>, LiveError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let text = fs::read_to_string(&path).map_err(LiveError::io("reading", &path))?;
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    };
    Ok(rows.map(cells).collect())
}
