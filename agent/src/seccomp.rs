//! System calls that an agent refuses itself once everything is loaded, so that whoever got hold of it could do no more with
//! the rights that it keeps than it does.
//!
//! A list of what is refused, not of what is allowed: what a C library or a kernel calls tomorrow must not end an agent. To
//! refuse is to fail with `EPERM`. A call by another table of the kernel's than the program's own (`int 0x80`) ends the process.

use std::env::consts::ARCH;

use nix::libc::{self, c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads, sock_filter,
};
use thiserror::Error;

/// Numbers that libc does not have for each machine, or of another type; x86-64 alone has one of its own
/// (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
const KEXEC_FILE_LOAD: c_long = if cfg!(target_arch = "x86_64") { 320 } else { 294 };
const OPEN_TREE_ATTR: c_long = 467;
const CLONE3: u32 = 435;

/// What is refused, with its number, and the reason why somebody might want it.
pub const REFUSED: &[(&str, &[(&str, c_long)])] = &[
    ("to become another program", &[("execve", libc::SYS_execve), ("execveat", libc::SYS_execveat)]),
    (
        "to change other processes",
        &[
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_writev", libc::SYS_process_vm_writev),
            ("process_madvise", libc::SYS_process_madvise),
            ("process_mrelease", libc::SYS_process_mrelease),
            ("move_pages", libc::SYS_move_pages),
            ("migrate_pages", libc::SYS_migrate_pages),
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
            ("kexec_file_load", KEXEC_FILE_LOAD),
            ("reboot", libc::SYS_reboot),
        ],
    ),
    (
        "to change what files, namespaces and hosts it is in",
        &[
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("move_mount", libc::SYS_move_mount),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("open_tree", libc::SYS_open_tree),
            ("open_tree_attr", OPEN_TREE_ATTR),
            ("fsopen", libc::SYS_fsopen),
            ("fspick", libc::SYS_fspick),
            ("fsconfig", libc::SYS_fsconfig),
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
            ("quotactl_fd", libc::SYS_quotactl_fd),
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
            ("io_uring_enter", libc::SYS_io_uring_enter),
            ("io_uring_register", libc::SYS_io_uring_register),
            ("personality", libc::SYS_personality),
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (
        "what only x86-64 has of these",
        &[
            ("mknod", libc::SYS_mknod),
            ("iopl", libc::SYS_iopl),
            ("ioperm", libc::SYS_ioperm),
            ("modify_ldt", libc::SYS_modify_ldt),
        ],
    ),
];

/// From here on x86-64 has the numbers of its x32 ABI, by which most calls can be made as well (arch/x86/include/uapi/asm/unistd.h).
/// No other machine has any.
const X32: u32 = 0x4000_0000;

/// What a new process or thread may have of its own by `clone`. (`clone3` alone takes CLONE_NEWTIME.)
const NAMESPACES: [c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Why they are not refused.
#[derive(Debug, Error)]
pub enum SeccompError {
    /// The filter cannot be made.
    #[error("the filter of system calls cannot be made")]
    Make(#[source] BackendError),
    /// The kernel does not take it.
    #[error("the kernel does not take the filter of system calls")]
    Apply(#[source] seccompiler::Error),
}

/// The filter.
fn program() -> Result<BpfProgram, SeccompError> {
    let refused = REFUSED.iter().flat_map(|(_, calls)| *calls).map(|(_, number)| (*number, Vec::new()));
    let namespaces = NAMESPACES.into_iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        let is_set = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag);
        SeccompRule::new(vec![is_set?])
    });
    let namespaces = namespaces.collect::<Result<_, BackendError>>().map_err(SeccompError::Make)?;
    let refused = refused.chain([(libc::SYS_clone, namespaces)]).collect();
    let action = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let machine: TargetArch = ARCH.try_into().map_err(SeccompError::Make)?;
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, action, machine);
    let rest = filter.and_then(BpfProgram::try_from).map_err(SeccompError::Make)?;
    Ok(before_all().into_iter().chain(rest).collect())
}

/// What the library has no words for: all of [`X32`] is refused, and `clone3`, whose flags are in memory where no filter
/// sees them, is said not to be there, so that C libraries make threads by `clone`.
fn before_all() -> [sock_filter; 5] {
    #[expect(clippy::cast_possible_truncation, reason = "codes are of 16 bits, and numbers of calls small")]
    let step = |code: u32, k: u32, jf: u8| sock_filter { code: code as u16, jt: 0, jf, k };
    let fail =
        |error: c_int| step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error.unsigned_abs(), 0);
    let number = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let [at_least, equal] = [libc::BPF_JGE, libc::BPF_JEQ].map(|test| libc::BPF_JMP | test | libc::BPF_K);
    [
        step(number, 0, 0),
        step(at_least, X32, 1),
        fail(libc::EPERM),
        step(equal, CLONE3, 1),
        fail(libc::ENOSYS),
    ]
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

    use nix::errno::Errno;

    use super::*;
    use crate::sys::fail_call;

    /// In a thread that has the filter.
    fn filtered<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        let program = program().unwrap();
        let thread = thread::spawn(move || {
            seccompiler::apply_filter(&program).unwrap();
            run()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_thread_that_has_the_filter_executes_nothing_opens_files_and_starts_threads() {
        let outcome = filtered(|| {
            // A file is no program.
            std::fs::metadata("/proc/self/status").unwrap();
            thread::spawn(|| Command::new("/bin/true").status().map_err(|error| error.kind())).join().unwrap()
        });
        assert_eq!(outcome.unwrap_err(), ErrorKind::PermissionDenied);
        assert!(Command::new("/bin/true").status().unwrap().success());
    }

    #[test]
    fn each_call_is_refused_by_each_of_its_numbers() {
        for &(name, number) in REFUSED.iter().flat_map(|(_, calls)| *calls) {
            for number in [number, number | c_long::from(X32)] {
                let failed = filtered(move || fail_call(number, usize::MAX));
                assert_eq!(failed, Some(Errno::EPERM), "{name} {number:#x}");
            }
        }
        // Those of execve and execveat there are others, and the last one is nobody's.
        for number in [520, 545, 0x3fff_ffff] {
            assert_eq!(filtered(move || fail_call(c_long::from(X32) + number, 0)), Some(Errno::EPERM));
        }
    }

    #[test]
    fn nothing_is_made_in_namespaces_of_its_own() {
        /// Without threads' other flags, so that it fails where nothing refuses it.
        const UNFIT: c_int = libc::CLONE_THREAD;
        assert_eq!(fail_call(libc::SYS_clone, UNFIT.unsigned_abs() as usize), Some(Errno::EINVAL));
        for flag in NAMESPACES {
            let flags = (flag | UNFIT).unsigned_abs() as usize;
            assert_eq!(filtered(move || fail_call(libc::SYS_clone, flags)), Some(Errno::EPERM), "{flag:#x}");
        }
        assert_eq!(filtered(|| fail_call(libc::SYS_clone3, 0)), Some(Errno::ENOSYS));
    }
}
