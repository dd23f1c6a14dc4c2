//! The BPF programs that run at probe sites. They only read the program they watch, unless the feature `propagate` is on, which makes an
//! object of its own.
//!
//! # Design constraints
//! - Functions use at most 48 bytes of stack frame (`probes/verify`), so what is read goes into map elements, and what needs
//!   registers or a map key of its own is a function of its own.
//! - No scratch memory per processor: programs can be preempted.
//! - Loops are bounded by constants, and the number of instructions that the verifier follows stays small for Linux 5.10.
//! - Small functions of numbers alone are global ones, `no_mangle` with a result: the verifier follows them once instead of
//!   at each call. They must not wait for memory, which Linux 6.18 refuses even where the wait is compiled out.
//! - A failed read leaves out an attribute and is counted; a lost span is counted.
//!
//! Modules, in reading order:
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![expect(clippy::needless_pass_by_value, reason = "aya hands contexts over by value")]
#![expect(internal_features, reason = "the stable atomics lack read-modify-write on this target")]

mod maps;

mod counters;
mod memory;
mod registers;

mod in_flight;

mod addresses;

mod contexts;
mod headers;
mod parents;
mod trace;

#[cfg(feature = "propagate")]
mod propagate;

mod calls;
mod connect;
mod grpc;
mod http_client;
mod http_server;
mod life;
mod record;

mod dispatch;

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_attach_cookie,
    macros::{raw_tracepoint, uprobe},
    programs::{ProbeContext, RawTracePointContext},
};
use lightfoot_probes_abi::Cookie;

/// Every site of every binary but for those of gRPC, where the kernel has uprobe_multi links (Linux 6.6). It may sleep:
/// `MAY_SLEEP` is to be 1.
#[uprobe(multi, sleepable)]
pub fn on_site_multi(context: ProbeContext) -> u32 {
    dispatch::http(context.regs, attach_cookie(&context));
    0
}

/// The same, as perf events with cookies (Linux 5.15).
#[uprobe]
pub fn on_site(context: ProbeContext) -> u32 {
    dispatch::http(context.regs, attach_cookie(&context));
    0
}

/// The same, as perf events without cookies; `SITES` has them by address.
#[uprobe]
pub fn on_site_by_address(context: ProbeContext) -> u32 {
    if let Some(cookie) = dispatch::cookie_by_address(context.regs) {
        dispatch::http(context.regs, cookie);
    }
    0
}

/// Every site of gRPC, as [`on_site_multi`]: one program for all would have more instructions than old kernels verify.
#[uprobe(multi, sleepable)]
pub fn on_site_grpc_multi(context: ProbeContext) -> u32 {
    dispatch::grpc(context.regs, attach_cookie(&context));
    0
}

/// The same, as [`on_site`].
#[uprobe]
pub fn on_site_grpc(context: ProbeContext) -> u32 {
    dispatch::grpc(context.regs, attach_cookie(&context));
    0
}

/// The same, as [`on_site_by_address`].
#[uprobe]
pub fn on_site_grpc_by_address(context: ProbeContext) -> u32 {
    if let Some(cookie) = dispatch::cookie_by_address(context.regs) {
        dispatch::grpc(context.regs, cookie);
    }
    0
}

/// Every site that tells by which connection a call goes, as [`on_site_multi`]. Few agents place any.
#[uprobe(multi, sleepable)]
pub fn on_site_join_multi(context: ProbeContext) -> u32 {
    dispatch::join(context.regs, attach_cookie(&context));
    0
}

/// The same, as [`on_site`].
#[uprobe]
pub fn on_site_join(context: ProbeContext) -> u32 {
    dispatch::join(context.regs, attach_cookie(&context));
    0
}

/// The same, as [`on_site_by_address`].
#[uprobe]
pub fn on_site_join_by_address(context: ProbeContext) -> u32 {
    if let Some(cookie) = dispatch::cookie_by_address(context.regs) {
        dispatch::join(context.regs, cookie);
    }
    0
}

/// A process has executed a program: `sched_process_exec`, in its only thread, when the new program is in place.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn on_exec(_context: RawTracePointContext) -> i32 {
    life::executed();
    0
}

/// A thread ends: `sched_process_exit`.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn on_exit(_context: RawTracePointContext) -> i32 {
    life::ended();
    0
}

/// Every site at which something is written, as [`on_site_multi`].
#[cfg(feature = "propagate")]
#[uprobe(multi, sleepable)]
pub fn on_site_propagate_multi(context: ProbeContext) -> u32 {
    dispatch::propagation(context.regs, attach_cookie(&context));
    0
}

/// The same, as [`on_site`].
#[cfg(feature = "propagate")]
#[uprobe]
pub fn on_site_propagate(context: ProbeContext) -> u32 {
    dispatch::propagation(context.regs, attach_cookie(&context));
    0
}

/// The same, as [`on_site_by_address`].
#[cfg(feature = "propagate")]
#[uprobe]
pub fn on_site_propagate_by_address(context: ProbeContext) -> u32 {
    if let Some(cookie) = dispatch::cookie_by_address(context.regs) {
        dispatch::propagation(context.regs, cookie);
    }
    0
}

#[inline(always)]
fn attach_cookie(context: &ProbeContext) -> Cookie {
    // SAFETY: the context is the one that the kernel gave to this program.
    Cookie(unsafe { bpf_get_attach_cookie(context.as_ptr()) })
}

/// What the kernel asks before it offers helpers that only programs under the GPL may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
