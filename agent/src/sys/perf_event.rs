//! Perf events of tracepoints, and BPF programs on them: aya has no interface for events that tracefs made.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

/// `perf_event_attr` (include/uapi/linux/perf_event.h) as long as it was at first.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    rest: [u64; 6],
}

/// `bpf_attr` (include/uapi/linux/bpf.h) for `BPF_LINK_CREATE` on a perf event.
#[repr(C)]
struct LinkAttributes {
    program: i32,
    event: i32,
    attach_type: u32,
    flags: u32,
    cookie: u64,
}

const PERF_ATTR_SIZE_VER0: u32 = 64;
const LINK_ATTRIBUTES: libc::c_uint = 24;
const _: () = assert!(size_of::<Attributes>() == PERF_ATTR_SIZE_VER0 as usize);
const _: () = assert!(size_of::<LinkAttributes>() == LINK_ATTRIBUTES as usize);

/// Opens the perf event of a tracepoint, in all processes or in the calling thread alone. It counts from then on.
pub(crate) fn open_tracepoint(id: u64, is_for_all: bool) -> io::Result<OwnedFd> {
    const PERF_TYPE_TRACEPOINT: u32 = 2;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    const NO_GROUP: i32 = -1;
    let (kind, size) = (PERF_TYPE_TRACEPOINT, PERF_ATTR_SIZE_VER0);
    let attributes = Attributes { kind, size, config: id, ..Attributes::default() };
    // A program on it runs on every processor, whichever the event is for (`__uprobe_perf_func`,
    // kernel/trace/trace_uprobe.c).
    let (pid, processor) = if is_for_all { (-1, 0) } else { (0, -1) };
    // SAFETY: the kernel reads as much of the attributes as they say they have.
    let result = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            pid,
            processor,
            NO_GROUP,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    owned(result)
}

/// Attaches a BPF program to a perf event by a link that hands it a cookie (Linux 5.15). The link keeps the event.
pub(crate) fn link(program: impl AsFd, event: &OwnedFd, cookie: u64) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    const BPF_PERF_EVENT: u32 = 41;
    let attributes = LinkAttributes {
        program: program.as_fd().as_raw_fd(),
        event: event.as_raw_fd(),
        attach_type: BPF_PERF_EVENT,
        flags: 0,
        cookie,
    };
    // SAFETY: the kernel reads the attributes, which are as long as is said.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attributes, LINK_ATTRIBUTES) };
    owned(result)
}

/// Attaches a BPF program to a perf event until that is closed; it gets no cookie.
pub(crate) fn set_program(event: &OwnedFd, program: impl AsFd) -> io::Result<()> {
    // `_IOW('$', 8, __u32)` (include/uapi/linux/perf_event.h).
    const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
    let program = program.as_fd().as_raw_fd();
    // SAFETY: it takes a descriptor by number.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a system call that makes a descriptor has returned.
fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: the kernel has just made it, for nobody else.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
