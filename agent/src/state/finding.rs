//! What is said of an agent that did not end as it should.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;

use super::{Content, MAX_WATCHED};

/// The year 9999, the last that is shown.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// What an earlier agent left behind. What the file said is in it, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was killed or failed: spans may be missing.
    Unclean {
        /// Its number.
        pid: u32,
        /// What it watched.
        watched: String,
        /// What had ended by then is delivered or was counted; `None` if the time of day was set back since, so that this is not
        /// known.
        alive: Option<SystemTime>,
        /// When that was found.
        now: SystemTime,
        /// Whether the host was started again since.
        is_of_earlier_boot: bool,
    },
    /// The file is no mark that this version can read. Spans may be missing; of when nothing is known.
    Unreadable {
        /// The file.
        path: PathBuf,
    },
}

/// What an earlier agent left behind, and that is there until it was told.
#[derive(Debug)]
pub struct Left {
    /// What is to be told.
    pub finding: Finding,
    pub(super) path: PathBuf,
}

impl Left {
    /// Takes it away: the next one does not tell it again. Whoever is killed before leaves it to that.
    pub fn told(self) {
        // Somebody else may have been faster.
        let _ = fs::remove_file(self.path);
    }
}

impl Finding {
    pub(super) fn new(content: &Content, modified: SystemTime, now: SystemTime, boot: &str) -> Self {
        let is_known = modified <= now && modified >= UNIX_EPOCH;
        Self::Unclean {
            pid: content.pid,
            watched: content.watched.chars().take(MAX_WATCHED).collect(),
            alive: is_known.then_some(modified),
            now,
            is_of_earlier_boot: content.boot != boot,
        }
    }
}

/// A time of a [`Finding`], to the second. A file may have made it up.
pub fn shown(time: SystemTime) -> impl fmt::Display {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    format_rfc3339_seconds(UNIX_EPOCH + since)
}
