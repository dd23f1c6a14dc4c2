//! The mark that an agent leaves while it works, so that the next one can say that it was killed, and since when.
//!
//! One small file for each agent, in a folder that they share: written once and renamed into place, locked as long as the
//! agent lives, its time of modification set anew every [`REFRESH`], and removed at a clean stop. A file that nobody
//! holds locked is what a killed agent left; what had ended by its time of modification that one had delivered, or counted as
//! lost. Nothing in it is
//! believed beyond what is shown: it decides nothing.

use std::error::Error as _;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod finding;
mod folders;

pub use finding::{Finding, Left, shown};
pub use folders::{default_folders, is_trustworthy};

/// How often a mark is to be refreshed.
pub const REFRESH: Duration = Duration::from_secs(5);
/// A longer file is none of ours, in bytes.
pub const MAX_FILE: u64 = 4_096;
/// At most so many entries of the folder are looked at.
pub const MAX_ENTRIES: usize = 1_024;
/// At most so many characters of what an agent watches are kept.
pub const MAX_WATCHED: usize = 200;

/// Of this form, so that another Lightfoot does not misread it.
const VERSION: u32 = 1;
const PREFIX: &str = "agent-";
const SUFFIX: &str = ".json";
/// What a mark's name ends in where the agent says how it goes.
const SOCKET: &str = "sock";

/// Why no mark can be left.
#[derive(Debug, Error)]
pub enum StateError {
    /// The folder is missing and cannot be made.
    #[error("the folder {} cannot be made", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another user could take it away, or put something else in its place.
    #[error("the folder {} is not this user's alone", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
    },
    /// None of the folders that were tried can be used.
    #[error("{}", .0.iter().map(chain).collect::<Vec<_>>().join("; "))]
    Nowhere(Vec<Self>),
    /// It cannot be listed, or no file can be put there.
    #[error("no file can be kept in {}", folder.display())]
    File {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    version: u32,
    pid: u32,
    /// As /proc/sys/kernel/random/boot_id: another one after each start of the host.
    boot: String,
    /// Seconds since 1970.
    started: u64,
    /// What it watches, for people.
    watched: String,
}

/// The mark of this agent. Dropping it leaves the file once the agent [watches](Mark::watches): only [`Mark::clear`] says then that all
/// went well. An agent that fails before that has lost nothing.
#[derive(Debug)]
pub struct Mark {
    file: File,
    path: PathBuf,
    watches: bool,
}

impl Mark {
    /// Leaves a mark in `folder`, which is made if it is missing, and finds what other agents left there.
    pub fn leave(folder: &Path, watched: &str) -> Result<(Self, Vec<Left>), StateError> {
        make(folder)?;
        let failed = |source| StateError::File { folder: folder.to_owned(), source };
        let mark = Self::write(folder, watched).map_err(failed)?;
        let found = left_behind(folder, &mark.path).map_err(failed)?;
        Ok((mark, found))
    }

    /// The same in the first of several folders that can be used. Each is looked into: another agent may have found less, or
    /// more, that it could use. A folder that another user could replace is left alone.
    pub fn leave_in_first(folders: &[PathBuf], watched: &str) -> (Result<Self, StateError>, Vec<Left>) {
        let left = Self::write_in_first(folders, watched);
        let own = left.as_ref().map_or(Path::new(""), |mark| &mark.path);
        let is_own = |folder: &&PathBuf| folders::check_parent(folder).and(folders::check(folder)).is_ok();
        let found = folders.iter().filter(is_own).filter_map(|folder| left_behind(folder, own).ok());
        let found = found.flatten().collect();
        (left, found)
    }

    /// The first of several folders in which a mark can be left: one is left and taken away again.
    pub fn try_out(folders: &[PathBuf]) -> Result<PathBuf, StateError> {
        let mark = Self::write_in_first(folders, "")?;
        let folder = mark.folder().to_owned();
        mark.clear();
        Ok(folder)
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Where this agent says how it goes: beside the mark.
    pub fn socket(&self) -> PathBuf {
        self.path.with_extension(SOCKET)
    }

    fn write_in_first(folders: &[PathBuf], watched: &str) -> Result<Self, StateError> {
        let mut failed = Vec::new();
        let write = |folder: &PathBuf| {
            make_own(folder)?;
            let failed = |source| StateError::File { folder: folder.clone(), source };
            Self::write(folder, watched).map_err(failed)
        };
        let written =
            folders.iter().find_map(|folder| write(folder).map_err(|error| failed.push(error)).ok());
        written.ok_or(StateError::Nowhere(failed))
    }

    fn write(folder: &Path, watched: &str) -> io::Result<Self> {
        // Numbers of processes are used again, and two namespaces have the same ones.
        let name = format!("{PREFIX}{:016x}{SUFFIX}", fastrand::u64(..));
        let (path, draft) = (folder.join(&name), folder.join(format!(".{name}")));
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let watched = watched.chars().take(MAX_WATCHED).collect();
        let content = Content { version: VERSION, pid: std::process::id(), boot: boot(), started, watched };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        // Locked before it has its name: whoever finds it finds it locked. The lock goes with the file.
        let written = file
            .try_lock()
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(serde_json::to_string(&content)?.as_bytes()))
            .and_then(|()| fs::rename(&draft, &path));
        if let Err(error) = written {
            // It has a name that nobody looks at.
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        Ok(Self { file, path, watches: false })
    }

    /// Says that the agent is alive, and that it has delivered or counted all that had ended so long ago.
    pub fn refresh(&self, undelivered: Duration) {
        let until = SystemTime::now().checked_sub(undelivered).unwrap_or(UNIX_EPOCH);
        // A mark that looks older than it is makes the uncertain interval longer, never shorter.
        let _ = self.file.set_modified(until);
    }

    /// Whether it takes CAP_DAC_OVERRIDE to take it away.
    pub fn is_in_folder_of_others(&self) -> bool {
        fs::metadata(self.folder()).is_ok_and(|folder| folder.uid() != geteuid().as_raw())
    }

    /// From now on spans may be missing if the agent does not end as it should.
    pub fn watches(&mut self) {
        self.watches = true;
    }

    /// Takes the mark away, at a clean stop.
    pub fn clear(mut self) {
        self.watches = false;
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if !self.watches {
            // If it stays, the next start says more than it need.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Text with all that is behind it.
fn chain(error: &StateError) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn make_own(folder: &Path) -> Result<(), StateError> {
    folders::check_parent(folder)?;
    make(folder)?;
    folders::check(folder)
}

fn make(folder: &Path) -> Result<(), StateError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(StateError::Folder { folder: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// What agents left that do not run any more. Their sockets are taken away.
fn left_behind(folder: &Path, own: &Path) -> io::Result<Vec<Left>> {
    let mut found = Vec::new();
    for path in named(folder, SUFFIX)?.into_iter().filter(|path| path != own) {
        // What cannot be opened or is no file of ours is nobody's mark.
        found.extend(look(&path).ok().flatten().map(|finding| Left { finding, path }));
    }
    // An agent that runs has its mark before its socket, and takes that away first.
    for path in sockets(folder)? {
        let mark = path.with_extension("json");
        if !mark.exists() || found.iter().any(|left| left.path == mark) {
            let _ = fs::remove_file(path);
        }
    }
    Ok(found)
}

/// The sockets of agents whose marks are in a folder.
pub fn sockets(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_socket =
        |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    Ok(named(folder, &format!(".{SOCKET}"))?.into_iter().filter(is_socket).collect())
}

/// The files of agents that end so.
fn named(folder: &Path, end: &str) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.take(MAX_ENTRIES).filter_map(Result::ok);
    let is_named =
        |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(end));
    Ok(entries.filter(|entry| is_named(&entry.file_name())).map(|entry| entry.path()).collect())
}

/// `None` if an agent holds it, if it is no plain file of this user, or if somebody else was faster.
fn look(path: &Path) -> io::Result<Option<Finding>> {
    // Neither a link that leads elsewhere nor a pipe that nobody writes to.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != geteuid().as_raw() {
        return Ok(None);
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Whoever had the lock before may have taken it away meanwhile.
    if file.metadata()?.nlink() == 0 {
        return Ok(None);
    }
    let mut text = Vec::new();
    (&file).take(MAX_FILE + 1).read_to_end(&mut text)?;
    let content = match serde_json::from_slice::<Content>(&text) {
        Ok(content) if content.version == VERSION && text.len() as u64 <= MAX_FILE => content,
        _ => return Ok(Some(Finding::Unreadable { path: path.to_owned() })),
    };
    Ok(Some(Finding::new(&content, metadata.modified()?, SystemTime::now(), &boot())))
}

/// Empty if it cannot be told.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests;
