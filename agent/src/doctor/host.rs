//! The kernel, its settings, and what else is given.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Check;
use crate::attach::{MAX_BINARIES, PidNamespace, RESERVED_FILES, Sizes, pid_namespace};
use crate::deliver::settings::QUEUE_BYTES;
use crate::discover::{FileIdentity, Proc};
use crate::inspect::Program;
use crate::memory_limit::{self, RECOMMENDED, TooLittle};
use crate::plan::{OperationPlan, Plan};
use crate::quirks::{LOCKED_MEMORY, QUIRKS, Release, TOO_OLD};

/// Looking for services takes no longer than that, begun inspections left out.
const SEARCH: Duration = Duration::from_secs(1);
/// `uprobe_multi` takes up to two files for each binary.
const FILES: u64 = MAX_BINARIES as u64 * 2 + RESERVED_FILES;

pub(super) fn checks() -> Vec<Check> {
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy().into_owned();
    vec![
        version(&release),
        lockdown(fs::read_to_string("/sys/kernel/security/lockdown").ok().as_deref()),
        setting(
            "perf_event_paranoid",
            "it binds perf events without CAP_PERFMON only, and from 3 on, on Debian's kernels, those without CAP_SYS_ADMIN",
        ),
        setting("unprivileged_bpf_disabled", "it binds whoever lacks CAP_BPF only"),
        namespace(pid_namespace().ok()),
        files(getrlimit(Resource::Nofile).maximum),
        locked_memory(&release, raised_limit_of_locked_memory()),
        memory_limit(memory_limit::check(Sizes::USUAL, QUEUE_BYTES)),
    ]
}

fn version(release: &str) -> Check {
    let id = "kernel";
    let found = format!("Linux {release}, {}", std::env::consts::ARCH);
    match Release::parse(release) {
        None => Check::note(id, format!("{found}, which is no version number")),
        version if TOO_OLD.holds_on(version) => Check::lost(
            id,
            found,
            "no way to place probes is known to work on it",
            "use Linux 6.6, or at least 5.10",
        ),
        _ => Check::good(id, found),
    }
}

/// What this kernel does otherwise than others.
pub(super) fn quirks() -> impl Iterator<Item = Check> {
    let release = Release::running();
    let here = QUIRKS.iter().filter(move |quirk| quirk.holds_on(release));
    here.map(|quirk| Check::note(quirk.id, format!("{}; so: {}", quirk.symptom, quirk.response)))
}

/// `text` is as `[none] integrity confidentiality`.
fn lockdown(text: Option<&str>) -> Check {
    let id = "lockdown";
    let chosen = text.and_then(|text| text.split_once('[')?.1.split_once(']')).map(|(chosen, _)| chosen);
    match chosen {
        Some("confidentiality") => Check::note(
            id,
            "lockdown is confidentiality; it leaves only uprobe_multi (Linux 6.6) to place probes: without that, start the kernel \
             with lockdown=integrity or none",
        ),
        Some(other) => Check::good(id, format!("lockdown is {other}")),
        None => {
            Check::note(id, "lockdown is not told (no securityfs); the programs below show what it allows")
        }
    }
}

fn setting(name: &'static str, meaning: &str) -> Check {
    let folder = "/proc/sys/kernel";
    match fs::read_to_string(format!("{folder}/{name}")) {
        Ok(value) => Check::note(name, format!("{name} is {}; {meaning}", value.trim())),
        Err(error) => Check::note(name, format!("{name} cannot be read: {error}")),
    }
}

fn namespace(namespace: Option<PidNamespace>) -> Check {
    let id = "pid_namespace";
    match namespace {
        Some(PidNamespace { inode: 0, .. }) => Check::good(id, "in the host's PID namespace"),
        Some(_) => Check::lost(
            id,
            "in a PID namespace below the host's",
            "only processes of this namespace are seen",
            "run it in the host's (hostPID: true, docker run --pid=host)",
        ),
        None => Check::note(id, "/proc/self/ns/pid cannot be read"),
    }
}

/// `limit` is the hard one, which `run` raises its own to.
fn files(limit: Option<u64>) -> Check {
    let id = "open_files";
    match limit {
        Some(limit) if limit < FILES => Check::lost(
            id,
            format!("at most {limit} files may be open"),
            format!("{MAX_BINARIES} binaries take up to {FILES}, and perf events one for each site"),
            "raise the hard limit (LimitNOFILE=, ulimit -Hn)",
        ),
        limit => Check::good(
            id,
            limit.map_or("no limit of open files".to_owned(), |limit| format!("{limit} files may be open")),
        ),
    }
}

/// What it is once it is raised as far as may be, which loading the programs does, too (`aya::EbpfLoader::load`).
fn raised_limit_of_locked_memory() -> Option<u64> {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    getrlimit(Resource::Memlock).current
}

fn locked_memory(release: &str, limit: Option<u64>) -> Check {
    let id = "memlock";
    match limit {
        _ if !LOCKED_MEMORY.holds_on(Release::parse(release)) => {
            Check::good(id, "this kernel counts memory of BPF maps by cgroup, not as locked")
        }
        None => Check::good(id, "no limit of locked memory"),
        Some(limit) => Check::lost(
            id,
            format!("at most {limit} bytes may be locked, and the limit cannot be raised"),
            "this kernel counts memory of BPF maps as locked: loading fails",
            "raise it (LimitMEMLOCK=infinity, ulimit -l unlimited)",
        ),
    }
}

fn memory_limit(checked: Result<Option<u64>, TooLittle>) -> Check {
    let id = "memory_limit";
    let recommended = RECOMMENDED >> 20;
    match checked {
        Err(error) => {
            let advice = format!("permit {recommended} MiB (resources.limits.memory, MemoryMax=)");
            Check::lost(id, error.to_string(), "`lightfoot run` refuses to start", advice).fatal()
        }
        Ok(Some(permitted)) if permitted < RECOMMENDED => Check::note(
            id,
            format!(
                "this cgroup may use {} MiB of memory; a busy Lightfoot takes up to {recommended}",
                permitted >> 20
            ),
        ),
        Ok(_) => Check::good(id, format!("this cgroup may use the {recommended} MiB of a busy Lightfoot")),
    }
}

/// The Go programs that run now.
pub(super) fn services() -> Option<Check> {
    let until = Instant::now() + SEARCH;
    let proc = Proc::default();
    let own = FileIdentity::of(&proc.executable(std::process::id())).ok();
    let mut seen: HashSet<_> = own.into_iter().collect();
    let mut names = Vec::new();
    for process in proc.sweep().ok()? {
        if Instant::now() > until {
            break;
        }
        if !seen.insert(process.file) {
            continue;
        }
        let Ok(program) = Program::inspect(&proc.executable(process.pid)) else { continue };
        let plan = Plan::new(&program);
        let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
        if operations.into_iter().any(OperationPlan::can_be_watched) {
            names.extend(proc.executable_path(process.pid).map(|path| path.display().to_string()));
        }
    }
    names.sort_unstable();
    Some(Check::note(
        "services",
        if names.is_empty() {
            "no Go program that can be watched runs now".to_owned()
        } else {
            format!("Go programs that can be watched run now: {}", names.join(", "))
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn kernels_are_told_by_their_version() {
        assert_eq!(version("6.18.5-cloud").status, Status::Good);
        assert_eq!(version("5.4.0").status, Status::Lost);
        assert_eq!(version("new").status, Status::Note);
        assert_eq!(locked_memory("6.18.5", Some(1)).status, Status::Good);
        assert_eq!(locked_memory("5.10.200", Some(65_536)).status, Status::Lost);
        assert_eq!(locked_memory("5.10.200", None).status, Status::Good);
    }

    #[test]
    fn lockdown_namespace_and_files_are_judged() {
        assert_eq!(lockdown(Some("[none] integrity confidentiality\n")).status, Status::Good);
        assert_eq!(lockdown(Some("none [integrity] confidentiality\n")).status, Status::Good);
        assert_eq!(lockdown(Some("none integrity [confidentiality]\n")).status, Status::Note);
        assert_eq!(lockdown(None).status, Status::Note);
        assert_eq!(namespace(Some(PidNamespace::default())).status, Status::Good);
        assert_eq!(namespace(Some(PidNamespace { device: 4, inode: 4 })).status, Status::Lost);
        assert_eq!(files(Some(FILES)).status, Status::Good);
        assert_eq!(files(Some(FILES - 1)).status, Status::Lost);
        assert_eq!(files(None).status, Status::Good);
        assert_eq!(memory_limit(Ok(None)).status, Status::Good);
        assert_eq!(memory_limit(Ok(Some(RECOMMENDED))).status, Status::Good);
        assert_eq!(memory_limit(Ok(Some(RECOMMENDED - 1))).status, Status::Note);
    }
}
