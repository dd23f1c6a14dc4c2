//! Copies of programs that nothing else runs: probes act on every process of a file.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{LiveError, is_privileged};
use crate::cache::FileError;
use crate::go::version::NEWEST;
use crate::go::{Build, GoVersion, Mode, Program};

/// A folder for the copies of one test. It is removed in the end.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
}

/// The cached binary of a program, built by one of the newer Go versions.
pub fn binary(program: Program) -> Result<PathBuf, LiveError> {
    let version = GoVersion::of_minor(26).unwrap_or(NEWEST);
    Ok(Build::here(program, version, Mode::Plain).path()?)
}

/// A path as text.
///
/// # Panics
/// If it is not UTF-8, as no path of a test is.
pub fn text(path: &Path) -> &str {
    assert!(path.to_str().is_some(), "{} is not UTF-8", path.display());
    path.to_str().unwrap_or_default()
}

impl Folder {
    /// A folder for a test that needs privileges, as [`is_privileged`] says.
    ///
    /// # Panics
    /// As [`is_privileged`] does, or if there is no folder to be had.
    pub fn for_test(test: &str) -> Option<Self> {
        is_privileged(test).then(|| {
            let made = Self::new();
            assert!(made.is_ok(), "{made:?}");
            made.ok()
        })?
    }

    /// A folder that every user may enter.
    pub fn new() -> Result<Self, LiveError> {
        Self::within(&env::temp_dir())
    }

    /// The same within another folder.
    pub fn within(parent: &Path) -> Result<Self, LiveError> {
        let folder = tempfile::tempdir_in(parent).map_err(LiveError::io("making a folder in", parent))?;
        let everyone = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), everyone).map_err(LiveError::io("opening", folder.path()))?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Has a file of that name say something, as editors do: another file in its place. Where it is.
    pub fn say(&self, name: &str, text: &str) -> Result<PathBuf, LiveError> {
        let (new, path) = (self.path().join(format!("{name}.new")), self.path().join(name));
        fs::write(&new, text).map_err(LiveError::io("writing", &new))?;
        fs::rename(&new, &path).map_err(LiveError::io("putting in place", &path))?;
        Ok(path)
    }

    /// A copy of a file under that name.
    pub fn copy(&self, file: &Path, name: &str) -> Result<PathBuf, LiveError> {
        let path = self.path().join(name);
        // By a process of its own: what another thread forks meanwhile would have the copy open for writing until it executes
        // something, and nobody else could execute it.
        let copied = Command::new("cp").arg(file).arg(&path).status();
        match copied.map_err(FileError::at(file))? {
            status if status.success() => {
                // Whatever mask is set for what is made.
                let mode = fs::metadata(file).map_err(FileError::at(file))?.permissions();
                fs::set_permissions(&path, mode).map_err(FileError::at(&path))?;
                Ok(path)
            }
            status => Err(FileError::at(file)(io::Error::other(status.to_string())).into()),
        }
    }

    /// A copy of a program under that name; folders in the name must be there.
    pub fn copy_of(&self, program: Program, name: &str) -> Result<PathBuf, LiveError> {
        self.copy(&binary(program)?, name)
    }

    /// A copy of the program that most tests watch.
    pub fn server(&self) -> Result<PathBuf, LiveError> {
        self.copy_of(Program::Lifecycle, "server")
    }
}
