//! A cgroup as the kubelet makes one for a container, with a process in it that no kubelet knows of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LiveError, wait_for};

/// Where version 2 is, alone or beside version 1, and a hierarchy of version 1.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids"];

/// The cgroup; it is removed in the end, when whoever was in it has ended.
#[derive(Debug)]
pub struct PodCgroup {
    /// From the outer to the inner one.
    folders: [PathBuf; 2],
}

impl PodCgroup {
    /// Makes that of a container, as containerd names it for the driver of systemd.
    pub fn of(pod_uid: &str, container: &str) -> Result<Self, LiveError> {
        let root = ROOTS.iter().map(Path::new).find(|root| root.join("cgroup.procs").is_file());
        let root = root.unwrap_or(Path::new("/sys/fs/cgroup"));
        let slice = root.join(format!("kubepods-burstable-pod{}.slice", pod_uid.replace('-', "_")));
        let scope = slice.join(format!("cri-containerd-{container}.scope"));
        fs::create_dir_all(&scope).map_err(LiveError::io("making", &scope))?;
        Ok(Self { folders: [slice, scope] })
    }

    /// Makes it, and puts a process into it.
    pub fn around(pid: u32, pod_uid: &str, container: &str) -> Result<Self, LiveError> {
        // Another test may just be done with the same one, and take it away.
        let mut last = None;
        let placed = wait_for("a place in a cgroup", || {
            let placed = Self::of(pod_uid, container).and_then(|cgroup| {
                let members = cgroup.members();
                fs::write(&members, pid.to_string()).map_err(LiveError::io("writing", &members))?;
                Ok(cgroup)
            });
            placed.map_err(|error| last = Some(error)).ok()
        });
        placed.map_err(|late| last.unwrap_or(late))
    }

    /// A program as the runtime of containers starts it: by a process that is in the cgroup before it becomes that.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$1\""]).arg(self.members()).arg(program);
        command
    }

    fn members(&self) -> PathBuf {
        let [_, scope] = &self.folders;
        scope.join("cgroup.procs")
    }
}

impl Drop for PodCgroup {
    fn drop(&mut self) {
        for folder in self.folders.iter().rev() {
            // Whoever is in it still keeps it.
            let _ = fs::remove_dir(folder);
        }
    }
}
