//! Capabilities, and what they are for: reading other processes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::Check;
use crate::capabilities;
use crate::discover::Proc;

/// At most so many processes are tried.
const MAX_TRIED: usize = 4_096;
/// What `run` reads of each process that it watches.
const FILES: [&str; 3] = ["maps", "mem", "environ"];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = match capabilities::effective() {
        Some(effective) => of_set(effective),
        None => vec![Check::note("capabilities", "the kernel does not tell them")],
    };
    checks.push(processes());
    checks
}

fn of_set(effective: u64) -> Vec<Check> {
    let mut checks: Vec<_> = capabilities::of(effective)
        .into_iter()
        .map(|capability| {
            let id = id(capability.name);
            if capability.is_there {
                return Check::good(id, format!("{} is there", capability.name));
            }
            let advice = format!(
                "run it as root, or give it {} (setcap, AmbientCapabilities=, securityContext.capabilities)",
                capability.name
            );
            let check = Check::lost(id, format!("{} is missing", capability.name), capability.lost, advice);
            if capability.is_needed { check.fatal() } else { check }
        })
        .collect();
    let found = if capabilities::has_sys_admin(effective) {
        "CAP_SYS_ADMIN is there; uprobe_multi takes none, so it can be left out"
    } else {
        "CAP_SYS_ADMIN is not there; only perf events take it, on some kernels"
    };
    checks.push(Check::note("cap_sys_admin", found));
    checks
}

fn id(name: &str) -> &'static str {
    match name {
        "CAP_BPF" => "cap_bpf",
        "CAP_PERFMON" => "cap_perfmon",
        "CAP_SYS_PTRACE" => "cap_sys_ptrace",
        _ => "cap_dac_read_search",
    }
}

/// Opens of every process what `run` opens of those that it watches.
fn processes() -> Check {
    let id = "processes";
    let proc = Proc::default();
    let pids = match proc.pids() {
        Ok(pids) => pids,
        Err(error) => {
            return Check::lost(
                id,
                format!("/proc cannot be listed: {error}"),
                "nothing can be watched",
                "mount /proc",
            )
            .fatal();
        }
    };
    let own = std::process::id();
    let tried: Vec<_> = pids
        .filter(|pid| *pid != own)
        .take(MAX_TRIED)
        .filter_map(|pid| Some((pid, readable(&proc.folder(pid))?)))
        .collect();
    let denied: Vec<_> =
        tried.iter().filter_map(|(pid, result)| Some((pid, result.as_ref().err()?))).collect();
    judged(tried.len(), denied.first().map(|(pid, error)| (**pid, *error)), denied.len())
}

/// Few that are closed even to root are guarded by something else, such as a security module, and are rarely services.
fn judged(tried: usize, first: Option<(u32, &io::Error)>, denied: usize) -> Check {
    let id = "processes";
    let Some((pid, error)) = first else {
        return Check::good(id, format!("programs, maps and memory of all {tried} others can be read"));
    };
    let found = format!("{denied} of {tried} processes cannot be read (process {pid}: {error})");
    if denied * 2 < tried {
        return Check::note(id, format!("{found}; these cannot be watched"));
    }
    let advice =
        "it takes CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH for other users' processes, and /proc without hidepid";
    Check::lost(id, found, "these cannot be watched", advice)
}

/// `None` for kernel threads and what ended meanwhile.
fn readable(folder: &Path) -> Option<io::Result<()>> {
    match File::open(folder.join("exe")) {
        Err(error) if is_gone(&error) => return None,
        Err(error) => return Some(Err(error)),
        Ok(_) => {}
    }
    for name in FILES {
        let read = File::open(folder.join(name)).and_then(|mut file| {
            // Rights to memory are checked when it is opened; nothing is mapped at its beginning.
            if name == "mem" { Ok(0) } else { file.read(&mut [0; 1]) }
        });
        match read {
            Err(error) if is_gone(&error) => return None,
            Err(error) => return Some(Err(error)),
            Ok(_) => {}
        }
    }
    Some(Ok(()))
}

fn is_gone(error: &io::Error) -> bool {
    // ESRCH (asm-generic/errno-base.h) is what reading tells of a process that ended while its file was open.
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn processes_are_lost_when_most_are_closed() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(judged(30, None, 0).status, Status::Good);
        assert_eq!(judged(30, Some((1, &error)), 1).status, Status::Note);
        assert_eq!(judged(30, Some((1, &error)), 29).status, Status::Lost);
        assert_eq!(judged(1, Some((1, &error)), 1).status, Status::Lost);
    }

    #[test]
    fn each_missing_capability_is_named_and_the_two_without_which_nothing_goes_are_fatal() {
        let all = of_set(u64::MAX);
        assert!(all.iter().all(|check| matches!(check.status, Status::Good | Status::Note)), "{all:?}");
        let none = of_set(0);
        let statuses: Vec<_> = none.iter().map(|check| (check.id, check.status)).collect();
        let expected = [
            ("cap_bpf", Status::Missing),
            ("cap_perfmon", Status::Missing),
            ("cap_sys_ptrace", Status::Lost),
            ("cap_dac_read_search", Status::Lost),
            ("cap_sys_admin", Status::Note),
        ];
        assert_eq!(statuses, expected);
        assert!(none.iter().take(4).all(|check| check.lost.is_some() && check.advice.is_some()));
    }
}
