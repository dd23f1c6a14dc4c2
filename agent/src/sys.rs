//! The one room of the agent with unsafe code.
#![expect(
    unsafe_code,
    reason = "the safe interface to wait for a file descriptor that aya owns was found unsound; descriptors are inherited \
              by number; nobody else asks how a process ended; no safe interface gives memory back, attaches programs to events of tracefs, or \
              makes calls that fail"
)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use aya::maps::{MapData, RingBuf};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) mod perf_event;

/// A ring buffer that can be waited for. Must be called within a tokio runtime.
pub(crate) fn readable(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its map's descriptor, hands out the same one each time and closes it when dropped; it is
    // given away here and never replaced.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(io::Error::from)
}

/// What is larger is mapped by itself, and given back at once. Batches of spans are smaller, or each would be mapped anew.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: i32 = 4 << 20;
/// So much that is free at the end of the heap is kept.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: i32 = 2 << 20;

/// Has all threads allocate from one arena, which keeps little of what is free. To be called before there are others: each
/// would have its own, and keep what it once took. They allocate too rarely to get in each other's way.
///
/// Unless it is told, glibc keeps twice the size of the largest mapping that was ever freed, up to 64 MiB (`free` of
/// malloc/malloc.c, glibc 2.36).
pub(crate) fn share_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and no other thread allocates meanwhile (mallopt(3)).
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}

/// Has the allocator give the system what was freed. To inspect a program takes some megabytes, once, which it would keep.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and has no preconditions (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The wait status of a process that has ended and whose parent has asked for it, from Linux 6.15 on.
pub(crate) fn exit_status(process: BorrowedFd<'_>) -> Option<i32> {
    /// `struct pidfd_info` of that version (include/uapi/linux/pidfd.h).
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    /// `PIDFD_INFO_EXIT`.
    const EXIT: u64 = 1 << 3;
    /// `PIDFD_GET_INFO`.
    const GET_INFO: Opcode = opcode::read_write::<Info>(0xff, 11);
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the kernel reads and writes no more than the size that the request has in it, which is that of `info`.
    let answer = unsafe { ioctl(process, Updater::<GET_INFO, Info>::new(&mut info)) };
    (answer.is_ok() && info.mask & EXIT != 0).then_some(info.exit_code)
}

/// The file descriptor that the parent left open in this process for this purpose. To be called once, at the start.
pub(crate) fn inherited(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the parent passes the number of a descriptor that nothing else in this process knows of.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Makes a system call whose first argument is this one and whose others are -1: why it fails, if it does. For calls that
/// fail by that whoever permits them, as no file, process or address is -1.
#[cfg(test)]
pub(crate) fn fail_call(number: libc::c_long, first: usize) -> Option<nix::errno::Errno> {
    const NONE: libc::c_long = -1;
    // SAFETY: the kernel writes to no address that it cannot, as it cannot to -1, nor to the ends of memory before it.
    let result = unsafe { libc::syscall(number, first, NONE, NONE, NONE, NONE, NONE) };
    (result == NONE).then(nix::errno::Errno::last)
}
