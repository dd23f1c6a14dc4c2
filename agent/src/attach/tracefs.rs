//! Probes as dynamic events of tracefs (Documentation/trace/uprobetracer.rst in Linux): for hosts that have no `uprobe_multi`,
//! and let nobody without CAP_SYS_ADMIN open a uprobe as a perf event.
//!
//! An event outlives whoever made it, but does nothing by itself. The kernel refuses to remove one that is in use. So whatever
//! it lets us remove while nobody is about to use a new one, which a lock on the list of events tells, was left behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use crate::sys::perf_event;

/// Of these events, so that everybody can tell them from others. Their names follow.
const GROUP: &str = "lightfoot";
/// At most so many bytes of the list of events are read.
const MAX_LIST: u64 = 16 << 20;
/// An event is in use for a moment after its probe was closed. It is tried so often to remove it, and it stays for the next
/// start after that.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(2);

/// Why there is no probe by way of tracefs.
#[derive(Debug, Error)]
pub enum TracefsError {
    /// It is mounted nowhere, or the kernel has no events for uprobes.
    #[error("tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing), or has no uprobe_events")]
    Missing,
    /// Its list of events cannot be used.
    #[error("{} cannot be used", .0.display())]
    List(PathBuf, #[source] io::Error),
    /// An event was refused.
    #[error("tracefs does not take the event")]
    Event(#[source] io::Error),
    /// An event was made, and cannot be opened.
    #[error("the perf event of a tracefs event cannot be opened")]
    Open(#[source] io::Error),
    /// A program cannot be attached.
    #[error("the BPF program cannot be attached to a tracefs event")]
    Program(#[source] io::Error),
}

/// A mounted tracefs, and the names that our events in it have.
#[derive(Debug)]
pub(super) struct Tracefs {
    folder: PathBuf,
    /// Of all our events: numbers of processes are used again, and two namespaces have the same ones.
    prefix: String,
    made: u64,
}

/// An event, and the probe on it. Dropping it takes both away.
#[derive(Debug)]
pub(super) struct TracedProbe {
    list: PathBuf,
    name: String,
    /// A link or the perf event itself.
    attached: Option<OwnedFd>,
}

impl Tracefs {
    /// Finds where it is mounted, and removes what killed agents have left there.
    pub(super) fn open() -> Result<Self, TracefsError> {
        let folder = folders().find(|folder| folder.join("uprobe_events").is_file());
        let folder = folder.ok_or(TracefsError::Missing)?;
        let prefix = format!("agent_{}_{:08x}_", std::process::id(), fastrand::u32(..));
        let tracefs = Self { folder, prefix, made: 0 };
        tracefs.remove_stale()?;
        Ok(tracefs)
    }

    /// Places a probe at each offset of a file, with a cookie if the kernel is to hand it over; all of them or none.
    pub(super) fn place(
        &mut self,
        program: impl AsFd,
        file: &Path,
        sites: impl Iterator<Item = (u64, Option<u64>)>,
        is_for_all: bool,
    ) -> Result<Vec<TracedProbe>, TracefsError> {
        // Nobody takes an event for a stale one until it is in use.
        let _list = self.locked()?;
        sites.map(|(offset, cookie)| self.place_one(&program, file, offset, cookie, is_for_all)).collect()
    }

    fn place_one(
        &mut self,
        program: &impl AsFd,
        file: &Path,
        offset: u64,
        cookie: Option<u64>,
        is_for_all: bool,
    ) -> Result<TracedProbe, TracefsError> {
        let name = format!("{}{}", self.prefix, self.made);
        self.made += 1;
        let list = self.list();
        let line = format!("p:{GROUP}/{name} {}:{offset:#x}", file.display());
        write(&list, &line).map_err(TracefsError::Event)?;
        let mut probe = TracedProbe { list, name, attached: None };
        let folder = self.folder.join("events").join(GROUP).join(&probe.name);
        let id = fs::read_to_string(folder.join("id"))
            .and_then(|id| id.trim().parse().map_err(io::Error::other))
            .map_err(TracefsError::Event)?;
        let event = perf_event::open_tracepoint(id, is_for_all).map_err(TracefsError::Open)?;
        let attached = match cookie {
            Some(cookie) => perf_event::link(program, &event, cookie),
            None => perf_event::set_program(&event, program).map(|()| event),
        };
        probe.attached = Some(attached.map_err(TracefsError::Program)?);
        Ok(probe)
    }

    /// Removes every event of ours that nobody uses.
    fn remove_stale(&self) -> Result<(), TracefsError> {
        let mut bytes = Vec::new();
        let list = self.locked()?;
        (&list).take(MAX_LIST).read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        // Others name files as they like.
        let text = String::from_utf8_lossy(&bytes);
        for name in names(&text) {
            // Whatever is in use stays.
            let _ = write(&self.list(), &format!("-:{GROUP}/{name}"));
        }
        Ok(())
    }

    fn list(&self) -> PathBuf {
        self.folder.join("uprobe_events")
    }

    /// The list of events, locked until it is dropped.
    fn locked(&self) -> Result<File, TracefsError> {
        // Never truncated: that would remove all events of everybody.
        let file = OpenOptions::new().read(true).append(true).open(self.list());
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> TracefsError {
        TracefsError::List(self.list(), error)
    }
}

impl Drop for TracedProbe {
    fn drop(&mut self) {
        // First: its event is in use as long as it is open.
        drop(self.attached.take());
        for _ in 0..TRIES {
            let removed = write(&self.list, &format!("-:{GROUP}/{}", self.name));
            if !removed.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Adds a line to the list of events, which is a command.
fn write(list: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().append(true).open(list)?.write_all(format!("{line}\n").as_bytes())
}

/// The names of our events in the list, of lines such as `p:lightfoot/agent_7_5f3a_0 /srv/shop:0x4010`.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| {
        let name =
            line.split_whitespace().next()?.strip_prefix("p:")?.strip_prefix(GROUP)?.strip_prefix('/')?;
        name.starts_with("agent_").then_some(name)
    })
}

/// Where it is mounted: as every system has it, then wherever else.
fn folders() -> impl Iterator<Item = PathBuf> {
    let usual = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].map(PathBuf::from);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_line = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        fields
            .next()
            .zip(fields.next())
            .filter(|(_, kind)| *kind == "tracefs")
            .map(|(folder, _)| folder.into())
    };
    usual.into_iter().chain(mounts.lines().filter_map(of_line).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{MAX_LIST, Tracefs, names};

    #[test]
    fn only_events_that_are_ours_are_taken_for_ours() {
        let list = "p:lightfoot/agent_7_5f3a_0 /srv/shop:0x0000000000004010\n\
                    p:probes/p_libc_0x1 /lib/libc.so.6:0x1\nr:lightfoot/agent_1_0_0 /x:0x1\n\
                    p:lightfoot/other /srv/shop:0x1\np:lightfootx/agent_1_0_0 /x:0x1\n\nnonsense\n\
                    p:lightfoot/agent_8_1_12 /proc/self/fd/9:0x10 (ref)\n";
        assert_eq!(names(list).collect::<Vec<_>>(), ["agent_7_5f3a_0", "agent_8_1_12"]);
    }

    #[test]
    fn whatever_others_have_in_the_list_ours_are_removed_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("uprobe_events");
        let event = |name: &str| format!("p:lightfoot/agent_{name} /x:0x1\n").into_bytes();
        let others = b"p:probes/odd /\xff\xfe:0x1\n".repeat(usize::try_from(MAX_LIST).unwrap() / 20);
        fs::write(&list, [event("near"), others, event("far")].concat()).unwrap();
        let before = fs::metadata(&list).unwrap().len();
        assert!(before > MAX_LIST);
        let tracefs = Tracefs { folder: folder.path().to_owned(), prefix: "agent_1_1_".to_owned(), made: 0 };
        tracefs.remove_stale().unwrap();
        // The kernel takes what is added for a command.
        let after = fs::read(&list).unwrap();
        let added = &after[usize::try_from(before).unwrap()..];
        assert_eq!(added, b"-:lightfoot/agent_near\n");
    }
}
