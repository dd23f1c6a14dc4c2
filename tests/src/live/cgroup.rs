//! A cgroup whose memory is limited, of version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{skip, wait_for};

/// A cgroup that may use no more than that; it is removed in the end.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// `None` where memory cannot be limited: version 2 without the controller, or no cgroups at all.
    pub fn limited(bytes: u64) -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lightfoot-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        for (mount, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let folder = Path::new(mount).join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let own = Self { folder };
            // The system takes whatever file is written to a cgroup for a setting, and refuses others.
            if fs::write(own.folder.join(limit), bytes.to_string()).is_ok() {
                return Some(own);
            }
        }
        skip("a limit of memory", "there is none to be had here");
        None
    }

    /// What becomes a program in it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        command.args(["-c", &script, "sh"]).arg(program);
        command
    }

    /// What has been used at most, in KiB, if the kernel tells.
    pub fn peak(&self) -> Option<u64> {
        let files = ["memory.max_usage_in_bytes", "memory.peak"];
        let told = files.iter().find_map(|file| fs::read_to_string(self.folder.join(file)).ok())?;
        Some(told.trim().parse::<u64>().ok()? / 1024)
    }

    /// How often the kernel has killed something for lack of memory.
    ///
    /// # Panics
    /// If the kernel does not tell.
    pub fn kills(&self) -> u64 {
        let files = ["memory.oom_control", "memory.events"];
        let told = files.iter().find_map(|file| fs::read_to_string(self.folder.join(file)).ok());
        let told = told.unwrap_or_default();
        let count = told.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        assert!(count.is_some(), "{told}");
        count.unwrap_or_default()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended is in it for another moment.
        let _ = wait_for("an empty cgroup", || fs::remove_dir(&self.folder).ok());
    }
}
