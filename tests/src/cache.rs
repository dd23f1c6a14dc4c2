//! The cache folder: everything that tests build or fetch lives there, keyed by what it was made from.
//!
//! Nothing is ever removed; deleting the folder costs only time.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// `$LIGHTFOOT_CACHE`, else `$XDG_CACHE_HOME/lightfoot`, else `$HOME/.cache/lightfoot`, else `lightfoot` in the
/// folder for temporary files.
pub fn folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LIGHTFOOT_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("lightfoot")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/lightfoot")))
        .unwrap_or_else(|| env::temp_dir().join("lightfoot"))
}

/// `path`, made by `make` unless it exists. Threads and processes that ask for one path at a time wait for the first
/// of them (a lock on `path.lock`); `make` writes to the temporary path it is given, which is renamed when it is done,
/// so a killed build leaves nothing that looks finished.
pub fn file<E: From<FileError>>(path: &Path, make: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(FileError::at(parent))?;
    }
    let lock_path = with_suffix(path, ".lock");
    let lock = File::create(&lock_path).map_err(FileError::at(&lock_path))?;
    lock.lock().map_err(FileError::at(&lock_path))?;
    if path.exists() {
        return Ok(());
    }
    let unfinished = with_suffix(path, ".unfinished");
    make(&unfinished)?;
    Ok(fs::rename(&unfinished, path).map_err(FileError::at(path))?)
}

/// A file or folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("reading or writing {path}")]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Makes one of what the operating system said about `path`.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { path: path.to_owned(), source }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn concurrent_callers_make_a_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    file(&path, |to| {
                        made.fetch_add(1, Ordering::Relaxed);
                        fs::write(to, "content").map_err(FileError::at(to))
                    })
                    .unwrap();
                    assert_eq!(fs::read_to_string(&path).unwrap(), "content");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_failed_make_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let failed = file(&path, |to| {
            fs::write(to, "half").map_err(FileError::at(to))?;
            Err(FileError::at(to)(io::Error::other("killed")))
        });
        assert!(failed.is_err() && !path.exists());
        file(&path, |to| fs::write(to, "whole").map_err(FileError::at(to))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
    }
}
