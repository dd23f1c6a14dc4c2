//! A program that each process sees by an overlay mount of its own, as containers of one image do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Folder, LiveError, Target, text};
use crate::go::Program;

/// A copy of the program that most tests watch, and the mounts that show it.
#[derive(Debug)]
pub struct Overlays {
    folder: Folder,
}

impl Overlays {
    /// Puts it into a folder.
    pub fn of(folder: Folder) -> Result<Self, LiveError> {
        let overlays = Self { folder };
        overlays.make("lower")?;
        overlays.folder.copy_of(Program::Lifecycle, "lower/server")?;
        Ok(overlays)
    }

    /// The file that all mounts show.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("lower/server")
    }

    /// A pattern of its path in each mount.
    pub fn pattern(&self) -> String {
        format!("{}/*/server", text(self.folder.path()))
    }

    /// Starts it in a mount of that name, which is new, and ends with the process. Where there are no such mounts, it never says that
    /// it listens.
    pub fn start(&self, name: &str) -> Result<Target, LiveError> {
        let (upper, work, merged) =
            (self.make(&format!("{name}-upper"))?, self.make(&format!("{name}-work"))?, self.make(name)?);
        let script = format!(
            "mount -t overlay overlay -o lowerdir={}/lower,upperdir={},workdir={} {} && exec {}/server",
            text(self.folder.path()),
            text(&upper),
            text(&work),
            text(&merged),
            text(&merged)
        );
        // The mount ends with its namespace.
        Target::spawn(Command::new("unshare").args(["--mount", "sh", "-c", &script]))
    }

    fn make(&self, name: &str) -> Result<PathBuf, LiveError> {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).map_err(LiveError::io("making", &path))?;
        Ok(path)
    }
}
