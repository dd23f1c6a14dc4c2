//! A driven program and the agent that watches it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Agent, Driven, Facts, Folder, LiveError, Outcome, Span, is_privileged, lightfoot, wait_for};
use crate::go::version::NEWEST;
use crate::go::{Build, GoVersion, Mode, Program};

/// Arguments with which no first call of a caller is missed, however much time passes between two new ones: for tests that ask for
/// the span of each call.
pub const NO_CALLER_IS_LATE: [&str; 2] = ["--callers-settle", "3600"];

static ALONE: Mutex<()> = Mutex::new(());

/// A driven program and the agent that watches it.
#[derive(Debug)]
pub struct Watched {
    /// What the program is built of.
    pub build: Build,
    /// The program.
    pub program: Driven,
    /// The agent, which watches it. Its spans go to a file, for a pipe is no match for the load of some tests.
    pub agent: Agent,
    output: PathBuf,
    _folder: Folder,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Watched {
    /// Starts both, and nothing else that the tests of this program start so, or says why that is not possible here:
    /// [`is_privileged`]. No first call of a caller is missed: [`NO_CALLER_IS_LATE`].
    ///
    /// # Panics
    /// As [`is_privileged`] does.
    pub fn start(program: Program, minor: u32, mode: Mode) -> Result<Option<Self>, LiveError> {
        Self::start_with(program, minor, mode, &NO_CALLER_IS_LATE, |_| Ok(()))
    }

    /// The same with these arguments for the agent, and something for the program to do before it is watched.
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
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self::start_all(build, &build.path()?, Folder::new()?, arguments, before, Some(alone)).map(Some)
    }

    /// Starts both, with these arguments for the agent, beside whatever else the tests of this program start: probes in a file act on
    /// all of its processes, so that this one has a file of its own. Or says why that is not possible here: [`is_privileged`].
    ///
    /// # Panics
    /// As [`is_privileged`] does.
    pub fn beside_others(build: Build, arguments: &[&str]) -> Result<Option<Self>, LiveError> {
        if !is_privileged(&format!("watching {build}")) {
            return Ok(None);
        }
        let folder = Folder::new()?;
        let copy = folder.copy(&build.path()?, "program")?;
        Self::start_all(build, &copy, folder, arguments, |_| Ok(()), None).map(Some)
    }

    fn start_all(
        build: Build,
        path: &Path,
        folder: Folder,
        arguments: &[&str],
        before: impl FnOnce(&mut Driven) -> Result<(), LiveError>,
        alone: Option<MutexGuard<'static, ()>>,
    ) -> Result<Self, LiveError> {
        let mut program = Driven::start(path)?;
        before(&mut program)?;
        let output = folder.path().join("spans");
        let file = File::create(&output).map_err(LiveError::io("making", &output))?;
        let mut command = Command::new(lightfoot());
        command.args(["run", "--format", "otlp-json", "--pid", &program.pid().to_string()]).args(arguments);
        let agent = Agent::spawn_into(Stdio::from(file), command, &[])?;
        agent.watches(program.pid())?;
        Ok(Self { build, program, agent, output, _folder: folder, _alone: alone })
    }

    /// Waits until the agent has printed all spans that have ended so far.
    pub fn catch_up(&self) -> Result<(), LiveError> {
        wait_for("all spans to be printed", || {
            let counts = self.agent.counts().ok()?;
            let count = |name| counts.get(name).copied().unwrap_or_default();
            let lost = count("spans_lost_printer_behind");
            (count("ended") <= count("spans_printed") + lost).then_some(())
        })
    }

    /// The spans that it has printed so far.
    pub fn spans(&self) -> Result<Vec<Span>, LiveError> {
        read_spans(&self.output)
    }

    /// Ends both, the agent once no more spans come: the truth and what the agent made of it.
    pub fn end(self) -> Result<(Facts, Outcome), LiveError> {
        let length = || fs::metadata(&self.output).map(|file| file.len()).unwrap_or_default();
        let mut last = (length(), Instant::now());
        while last.1.elapsed() < Duration::from_millis(700) {
            thread::sleep(Duration::from_millis(20));
            let now = length();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        let mut outcome = self.agent.stop()?;
        outcome.spans = read_spans(&self.output)?;
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

/// The last line may not be there as a whole.
fn read_spans(output: &Path) -> Result<Vec<Span>, LiveError> {
    let text = fs::read_to_string(output).map_err(LiveError::io("reading", output))?;
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    whole.lines().map(Span::parse).collect()
}
