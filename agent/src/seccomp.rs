//! System calls that an agent refuses itself once everything is loaded, so that whoever got hold of it could do no more with
//! the rights that it keeps than it does.
//!
//! A list of what is refused, not of what is allowed: what a C library or a kernel calls tomorrow must not end an agent. To
//! refuse is to fail with `EPERM`.

use std::env::consts::ARCH;

use nix::libc::{self, c_long};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};
use thiserror::Error;

/// What is refused, with its number, and the reason why somebody might want it.
pub const REFUSED: &[(&str, &[(&str, c_long)])] = &[
    ("to become another program", &[("execve", libc::SYS_execve), ("execveat", libc::SYS_execveat)]),
    (
        "to change other processes",
        &[
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_writev", libc::SYS_process_vm_writev),
            ("process_madvise", libc::SYS_process_madvise),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ],
    ),
    (
        "to change the kernel",
        &[
            ("init_module", libc::SYS_init_module),
            ("finit_module", libc::SYS_finit_module),
            ("delete_module", libc::SYS_delete_module),
            ("kexec_load", libc::SYS_kexec_load),
            ("reboot", libc::SYS_reboot),
        ],
    ),
    (
        "to change what files, namespaces and hosts it is in",
        &[
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("move_mount", libc::SYS_move_mount),
            ("open_tree", libc::SYS_open_tree),
            ("fsopen", libc::SYS_fsopen),
            ("fsmount", libc::SYS_fsmount),
            ("pivot_root", libc::SYS_pivot_root),
            ("chroot", libc::SYS_chroot),
            ("setns", libc::SYS_setns),
            ("unshare", libc::SYS_unshare),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("mknodat", libc::SYS_mknodat),
            ("sethostname", libc::SYS_sethostname),
            ("setdomainname", libc::SYS_setdomainname),
        ],
    ),
    (
        "to change clocks, swap, accounting and quotas",
        &[
            ("settimeofday", libc::SYS_settimeofday),
            ("clock_settime", libc::SYS_clock_settime),
            ("clock_adjtime", libc::SYS_clock_adjtime),
            ("adjtimex", libc::SYS_adjtimex),
            ("swapon", libc::SYS_swapon),
            ("swapoff", libc::SYS_swapoff),
            ("acct", libc::SYS_acct),
            ("quotactl", libc::SYS_quotactl),
        ],
    ),
    (
        "keys, and what kernels were often attacked by",
        &[
            ("add_key", libc::SYS_add_key),
            ("request_key", libc::SYS_request_key),
            ("keyctl", libc::SYS_keyctl),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("personality", libc::SYS_personality),
        ],
    ),
];

/// Why they are not refused.
#[derive(Debug, Error)]
pub enum SeccompError {
    /// The filter cannot be made.
    #[error("the filter of system calls cannot be made")]
    Make(#[source] seccompiler::BackendError),
    /// The kernel does not take it.
    #[error("the kernel does not take the filter of system calls")]
    Apply(#[source] seccompiler::Error),
}

/// The filter.
fn program() -> Result<BpfProgram, SeccompError> {
    let refused = REFUSED.iter().flat_map(|(_, calls)| *calls).map(|(_, number)| (*number, Vec::new()));
    let action = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let machine: TargetArch = ARCH.try_into().map_err(SeccompError::Make)?;
    let filter = SeccompFilter::new(refused.collect(), SeccompAction::Allow, action, machine);
    filter.and_then(BpfProgram::try_from).map_err(SeccompError::Make)
}

/// Refuses them in all threads of this process, and in those to come. It takes `no_new_privs`.
pub fn apply() -> Result<(), SeccompError> {
    apply_filter_all_threads(&program()?).map_err(SeccompError::Apply)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_has_the_filter_executes_nothing_and_opens_files() {
        let program = program().unwrap();
        let thread = thread::spawn(move || {
            seccompiler::apply_filter(&program).unwrap();
            // A file is no program.
            std::fs::metadata("/proc/self/status").unwrap();
            Command::new("/bin/true").status().map_err(|error| error.kind())
        });
        assert_eq!(thread.join().unwrap().unwrap_err(), ErrorKind::PermissionDenied);
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
}
