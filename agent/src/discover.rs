//! Which processes to watch: a sweep over /proc, and the rules that choose among them.
//!
//! Everything read here may vanish or change while it is read: a process that does is skipped, without a word.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::resource::{self, ResourceError};

pub mod facts;
pub mod headers;
pub mod listeners;
pub mod pods;
pub mod rules;
pub mod selection;

pub use facts::{Details, Facts};
pub use listeners::{Listeners, Listening};
pub use rules::{Rules, Treatment};
pub use selection::{Decision, Paused, Selection};

/// At most so many ancestors of a process are looked at.
pub const MAX_ANCESTORS: usize = 256;

/// At most so many bytes of `/proc/PID/stat` are read: 51 numbers of 20 digits, and a name of 64 characters (fs/proc/array.c).
const MAX_STAT: usize = 2048;

/// A process and the program that it runs now: `exec` keeps the number and the start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Its number in the agent's PID namespace.
    pub pid: u32,
    /// When it started, in clock ticks after boot: numbers are used again.
    pub started: u64,
    /// Where its stack begins: another place after each `exec`, of the same file too, as long as address spaces are laid
    /// out at random.
    pub stack: u64,
    /// The file that it runs.
    pub file: FileIdentity,
}

/// A file's content as good as it can be told without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileIdentity {
    /// The device; overlay mounts of one file show different ones.
    pub device: u64,
    /// The inode on it; used again after a file is deleted.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of its content: seconds and nanoseconds.
    pub modified: (i64, i64),
}

impl FileIdentity {
    /// The identity of the file at `path`, symbolic links followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
    }

    /// The identity of an open file.
    pub fn of_open(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// Whether all but the device is the same: it may be the same file, shown by another mount.
    pub fn is_alike(&self, other: &Self) -> bool {
        Self { device: other.device, ..*self } == *other
    }
}

impl From<&fs::Metadata> for FileIdentity {
    fn from(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The process file system that sweeps look at.
#[derive(Clone, Debug)]
pub struct Proc {
    root: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Self { root: "/proc".into() }
    }
}

impl Proc {
    /// A tree of the same shape elsewhere, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// All processes that run a file now; kernel threads and zombies do not.
    pub fn sweep(&self) -> io::Result<HashSet<ProcessKey>> {
        Ok(self.pids()?.filter_map(|pid| self.process(pid)).collect())
    }

    /// Whoever runs this file now, or one that is alike.
    pub fn running(&self, file: &FileIdentity) -> io::Result<Vec<ProcessKey>> {
        let runs =
            |pid: &u32| FileIdentity::of(&self.executable(*pid)).is_ok_and(|other| other.is_alike(file));
        Ok(self.pids()?.filter(runs).filter_map(|pid| self.process(pid)).collect())
    }

    /// The numbers of all processes.
    pub fn pids(&self) -> io::Result<impl Iterator<Item = u32> + use<>> {
        Ok(fs::read_dir(&self.root)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
    }

    /// Whether `ancestor` started the process, or started one that did, and all between them still run.
    pub fn descends(&self, pid: u32, ancestor: u32) -> bool {
        let parents = std::iter::successors(Some(pid), |pid| self.parent(*pid));
        parents.skip(1).take(MAX_ANCESTORS).any(|parent| parent == ancestor)
    }

    fn parent(&self, pid: u32) -> Option<u32> {
        stat_field(self.stat(pid)?.bytes(), 4)
    }

    /// The process with that number, if it runs a file: not one in the midst of `exec`, which has mapped none yet.
    pub fn process(&self, pid: u32) -> Option<ProcessKey> {
        let file = FileIdentity::of(&self.executable(pid)).ok()?;
        let stat = self.stat(pid)?;
        let started = stat_field(stat.bytes(), 22)?;
        // `exec` sets it last (fs/binfmt_elf.c). Whoever may not see it may not see the program either.
        let stack = stat_field(stat.bytes(), 28).filter(|stack| *stack != 0)?;
        Some(ProcessKey { pid, started, stack, file })
    }

    /// The magic link to the program: it opens the file that runs, in whatever mount namespace, deleted or not.
    pub fn executable(&self, pid: u32) -> PathBuf {
        self.folder(pid).join("exe")
    }

    /// The program's path as the process sees it, for people and patterns.
    pub fn executable_path(&self, pid: u32) -> Option<PathBuf> {
        let path = fs::read_link(self.executable(pid)).ok()?;
        let bytes = path.as_os_str().as_bytes();
        let kept = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
        Some(PathBuf::from(OsStr::from_bytes(kept)))
    }

    /// What is known of a process besides its program.
    pub fn facts(&self, pid: u32) -> Result<Box<resource::Facts>, ResourceError> {
        resource::Facts::read(&self.root, pid).map(Box::new)
    }

    /// By one read: a sweep does this for each process, and `fs::read`, which is told no size, takes six.
    fn stat(&self, pid: u32) -> Option<Stat> {
        let mut stat = Stat { bytes: [0; MAX_STAT], length: 0 };
        stat.length = File::open(self.folder(pid).join("stat")).ok()?.read(&mut stat.bytes).ok()?;
        Some(stat)
    }

    /// The folder of one process.
    pub fn folder(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }
}

/// What was read of `/proc/PID/stat`.
struct Stat {
    bytes: [u8; MAX_STAT],
    length: usize,
}

impl Stat {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A field of `/proc/PID/stat` behind the second, by its number in proc_pid_stat(5). The name, the second, may hold spaces
/// and parentheses.
fn stat_field<T: FromStr>(stat: &[u8], number: usize) -> Option<T> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = stat.get(after_name.checked_add(2)?..)?;
    let field = fields.split(|byte| *byte == b' ').nth(number.checked_sub(3)?)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_the_next_with_its_number_and_from_what_it_executes_next() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("42");
        fs::create_dir(&folder).unwrap();
        fs::write(root.path().join("program"), "first").unwrap();
        std::os::unix::fs::symlink(root.path().join("program"), folder.join("exe")).unwrap();
        let stat = |started: u64, stack: u64| {
            let stat = format!(
                "42 (a) b (c) S 1 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {started} 1 2 3 4 5 {stack} 7\n"
            );
            fs::write(folder.join("stat"), stat).unwrap();
        };
        stat(700, 6);
        let first = Proc::at(root.path()).process(42).unwrap();
        assert_eq!((first.pid, first.started, first.stack), (42, 700, 6));
        stat(700, 9);
        assert_ne!(first, Proc::at(root.path()).process(42).unwrap(), "it executed its own file again");
        stat(800, 6);
        let second = Proc::at(root.path()).process(42).unwrap();
        assert_ne!(first, second, "the number was used again");
        stat(800, 0);
        assert_eq!(Proc::at(root.path()).process(42), None, "in the midst of exec");
        stat(800, 6);
        fs::write(root.path().join("program"), "another").unwrap();
        assert_ne!(second, Proc::at(root.path()).process(42).unwrap(), "the program was changed");
        assert_eq!(Proc::at(root.path()).sweep().unwrap().len(), 1);
    }

    #[test]
    fn descendants_are_told_from_others_and_circles_end() {
        let root = tempfile::tempdir().unwrap();
        // 9 and 10 are each other's parent, as no process is.
        for (pid, parent) in [(1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 10), (10, 9)] {
            fs::create_dir(root.path().join(pid.to_string())).unwrap();
            fs::write(root.path().join(format!("{pid}/stat")), format!("{pid} (a) b) S {parent} 1 1"))
                .unwrap();
        }
        let proc = Proc::at(root.path());
        assert!(proc.descends(6, 5) && proc.descends(7, 5));
        for other in [1, 5, 8, 9, 77] {
            assert!(!proc.descends(other, 5), "{other}");
        }
    }

    #[test]
    fn so_many_ancestors_are_looked_at_and_no_more() {
        let root = tempfile::tempdir().unwrap();
        for pid in 2..=MAX_ANCESTORS + 2 {
            fs::create_dir(root.path().join(pid.to_string())).unwrap();
            fs::write(root.path().join(format!("{pid}/stat")), format!("{pid} (a) S {} 1 1", pid - 1))
                .unwrap();
        }
        let descends = |pid: usize| Proc::at(root.path()).descends(u32::try_from(pid).unwrap(), 1);
        assert!(descends(MAX_ANCESTORS + 1) && !descends(MAX_ANCESTORS + 2));
    }

    #[test]
    fn what_is_no_process_or_has_no_program_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for name in ["1", "2", "self", "net", "99999999999"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("1/stat"), "1 (kthreadd").unwrap();
        assert!(Proc::at(root.path()).sweep().unwrap().is_empty());
    }
}
