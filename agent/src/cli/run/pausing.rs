//! The off switch: a file that is there, or SIGTSTP until SIGCONT.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Signal as Number, getpid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::command::is_in_foreground;
use crate::cli::counts::Counts;
use crate::counters::SessionCounter;
use crate::discover::rules::executable;
use crate::discover::{FileIdentity, Paused};
use crate::session::Orders;

/// How often the file is looked at. A look takes one system call, and sees a file also where no events come of it.
const LOOK: Duration = Duration::from_millis(200);
/// A longer file pauses everything, in bytes.
pub(in crate::cli) const MAX_FILE: u64 = 64 << 10;
/// One with more patterns does so, too.
pub(in crate::cli) const MAX_PATTERNS: usize = 256;
/// The file in the folder of the mark.
pub(super) const NAME: &str = "pause";

/// The signals. The handlers stand before anything is watched.
pub(super) struct Signals {
    stop: Signal,
    go: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        // SIGTSTP and SIGCONT have no names of their own in tokio.
        let of = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self { stop: of(Number::TSTP)?, go: of(Number::CONT)? })
    }
}

/// What the file pauses now.
pub(super) fn now(file: Option<&Path>) -> Paused {
    file.filter(|file| file.exists()).map_or(Paused::Nothing, read)
}

/// Pauses and goes on as the file and signals say, until it is dropped. `is_paused` is whether anything is paused as it begins.
pub(super) async fn follow(
    (file, is_paused): (Option<PathBuf>, bool),
    mut signals: Signals,
    orders: Orders,
    counts: Arc<Counts>,
) {
    // What the file pauses, which one it was, and whether a signal pauses everything.
    let (mut by_file, mut seen, mut is_stopped) = (Paused::Nothing, None, false);
    let mut since: Option<Instant> = None;
    let mut counted = 0;
    // The file may be gone by the first look.
    let mut is_to_tell = is_paused;
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let was_stopped = is_stopped;
        tokio::select! {
            _ = signals.stop.recv() => is_stopped = true,
            _ = signals.go.recv() => is_stopped = false,
            _ = tick.tick() => {}
        }
        let file_now = file.as_deref().and_then(|file| FileIdentity::of(file).ok());
        if file_now != seen {
            by_file = file.as_deref().filter(|_| file_now.is_some()).map_or(Paused::Nothing, read);
            (seen, is_to_tell) = (file_now, true);
        }
        is_to_tell |= is_stopped != was_stopped;
        if is_to_tell {
            let paused = if is_stopped { Paused::Everything } else { by_file.clone() };
            // Where there is no room for the order, it is given with the next look.
            if let Some(done) = orders.pause(paused.clone()) {
                is_to_tell = false;
                // Who does not answer has ended, and then nothing is watched.
                let _ = done.await;
                let by = if is_stopped { "SIGTSTP" } else { "the pause file" };
                match (&paused, since) {
                    (Paused::Nothing, Some(began)) => {
                        info!(seconds = began.elapsed().as_secs(), "watching goes on");
                        (since, counted) = (None, 0);
                    }
                    (Paused::Nothing, None) => {}
                    (Paused::Everything, _) => warn!(by, "watching is paused"),
                    (Paused::Executables(patterns), _) => {
                        warn!(patterns = patterns.len(), by, "watching is paused for some programs");
                    }
                }
                if !matches!(paused, Paused::Nothing) {
                    since = since.or_else(|| Some(Instant::now()));
                }
                // As a shell expects of Ctrl-Z; `fg` and `bg` send SIGCONT.
                if is_stopped && !was_stopped && is_in_foreground() {
                    let _ = kill_process(getpid(), Number::STOP);
                }
            }
        }
        let paused_for = since.map_or(0, |began| began.elapsed().as_secs());
        counts.add(SessionCounter::PausedSeconds, paused_for.saturating_sub(counted));
        counted = counted.max(paused_for);
    }
}

/// What a file pauses: programs that match one of its lines, as `--exe` has them. One that is empty or is not understood pauses
/// everything.
fn read(path: &Path) -> Paused {
    match patterns(path) {
        Ok(None) => Paused::Everything,
        Ok(Some(patterns)) => Paused::Executables(patterns),
        Err(error) => {
            error!(error, path = %path.display(), "the pause file is not understood, so everything is paused");
            Paused::Everything
        }
    }
}

fn patterns(path: &Path) -> Result<Option<Vec<globset::GlobMatcher>>, String> {
    let mut text = String::new();
    // Not to wait for who writes to a pipe.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let read = file.and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    read.map_err(|error| error.to_string())?;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if text.len() as u64 > MAX_FILE || lines.len() > MAX_PATTERNS {
        return Err(format!("it has more than {MAX_FILE} bytes or {MAX_PATTERNS} patterns"));
    }
    let patterns: Result<Vec<_>, _> = lines.into_iter().map(executable).collect();
    patterns.map(|patterns| Some(patterns).filter(|patterns| !patterns.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_empty_or_not_understood_pauses_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let long = "x\n".repeat(usize::try_from(MAX_FILE).unwrap());
        let many = "x\n".repeat(MAX_PATTERNS + 1);
        for everything in ["", "\n \n", "[", &long, &many] {
            fs::write(&path, everything).unwrap();
            assert!(matches!(read(&path), Paused::Everything), "{everything:.20}");
        }
        assert!(matches!(read(folder.path()), Paused::Everything), "a folder");
        fs::write(&path, "shop-*\n\n/srv/*/cart\n").unwrap();
        let paused = read(&path);
        assert!(matches!(&paused, Paused::Executables(patterns) if patterns.len() == 2));
        for (program, is_paused) in [("/a/shop-1", true), ("/srv/x/cart", true), ("/a/cart", false)] {
            assert_eq!(paused.has(Path::new(program)), is_paused, "{program}");
        }
        fs::write(&path, "x\n".repeat(MAX_PATTERNS)).unwrap();
        assert!(matches!(read(&path), Paused::Executables(patterns) if patterns.len() == MAX_PATTERNS));
    }
}
