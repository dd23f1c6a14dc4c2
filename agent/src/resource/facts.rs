//! What procfs tells of a process. Read once, when the process begins to be watched: it may end the moment after.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::ResourceError;
use super::container::Container;
use super::environment::Environment;

/// What is known of a process besides its program.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name for the kernel, at most 15 bytes.
    pub(super) command: String,
    /// Its start, in clock ticks since boot.
    pub(super) start_time: u64,
    /// Who started it; `None` if that is in another PID namespace.
    pub(super) parent: Option<u32>,
    /// The path of its program, as it sees it.
    pub(super) executable: Option<String>,
    /// Its number in its own PID namespace.
    pub(super) own_pid: Option<u32>,
    /// The inode of its network namespace.
    pub(super) network: Option<u64>,
    pub(super) container: Container,
    pub(super) environment: Environment,
}

impl Facts {
    /// In which container and pod it runs.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Reads the process `pid` from the procfs at `procfs`.
    pub fn read(procfs: &Path, pid: u32) -> Result<Self, ResourceError> {
        let process = procfs.join(pid.to_string());
        let path = process.join("stat");
        let stat = fs::read(&path).map_err(|source| ResourceError::Read { path: path.clone(), source })?;
        let (command, parent, start_time) = parse_stat(&stat).ok_or(ResourceError::Malformed { path })?;
        let executable = fs::read_link(process.join("exe")).ok();
        Ok(Self {
            command,
            start_time,
            parent: Some(parent).filter(|parent| *parent != 0),
            executable: executable.map(|path| without_deleted(path.as_os_str().as_bytes())),
            own_pid: own_pid(&process.join("status")),
            network: fs::metadata(process.join("ns/net")).ok().map(|file| file.ino()),
            container: Container::read(&process.join("cgroup")),
            environment: Environment::read(&process.join("environ")),
        })
    }
}

/// The command, the parent and the start time of `/proc/PID/stat` (proc(5): fields 2, 4 and 22). The command may contain
/// anything.
fn parse_stat(stat: &[u8]) -> Option<(String, u32, u64)> {
    let text = String::from_utf8_lossy(stat);
    let (_, rest) = text.split_once('(')?;
    let (command, fields) = rest.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let (_state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
    Some((command.to_owned(), parent, fields.nth(17)?.parse().ok()?))
}

/// The kernel marks the path of a file that is no longer there (fs/d_path.c).
fn without_deleted(path: &[u8]) -> String {
    String::from_utf8_lossy(path.strip_suffix(b" (deleted)").unwrap_or(path)).into_owned()
}

/// The process's number in its own PID namespace, the last one of `NSpid`.
fn own_pid(status: &Path) -> Option<u32> {
    let status = fs::read(status).ok()?;
    let text = String::from_utf8_lossy(&status);
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}
