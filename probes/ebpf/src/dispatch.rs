//! From a hit to what it means.

use aya_ebpf::{
    bindings::bpf_pidns_info,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_ns_current_pid_tgid},
};
#[cfg(feature = "propagate")]
use lightfoot_probes_abi::process::process_flags;
use lightfoot_probes_abi::{Cookie, Counter, Layout, Process, Site, SiteKind};

#[cfg(feature = "propagate")]
use crate::propagate;
use crate::{
    counters::{NO_PROCESS, count},
    grpc, http_client, http_server,
    maps::{LAYOUTS, PROCESSES, SETTINGS, SITES, pid_namespace},
    registers::{self, Registers},
};

/// A hit in a selected process.
struct Hit {
    tgid: u32,
    process: &'static Process,
    layout: &'static Layout,
}

/// Tells what was hit, unless that is to be left alone.
#[inline(always)]
fn hit(registers: Registers, cookie: Cookie) -> Option<Hit> {
    if SETTINGS.get(0).is_none_or(|settings| settings.enabled == 0) {
        return None;
    }
    let tgid = current_process();
    // SAFETY: the agent replaces elements as a whole and never changes one in place.
    let Some(process) = (unsafe { PROCESSES.get(&tgid) }) else {
        count(NO_PROCESS, Counter::UnselectedProcess);
        return None;
    };
    if process.binary != cookie.binary() {
        count(process.counters, Counter::ForeignBinary);
        return None;
    }
    if cookie.0 & Cookie::IF_NOT_TAKEN != 0 && registers::lower_or_same(registers) {
        count(process.counters, Counter::StackChecksFailed);
        return None;
    }
    Some(Hit { tgid, process, layout: LAYOUTS.get(process.layout)? })
}

/// Runs what belongs to a site of gRPC.
#[inline(always)]
pub fn grpc(registers: Registers, cookie: Cookie) {
    let Some(Hit { tgid, process, layout }) = hit(registers, cookie) else { return };
    let words = cookie.stack_words();
    match cookie.kind() {
        Some(SiteKind::GrpcServerStart) => grpc::server_start(registers, tgid, process, layout),
        Some(SiteKind::GrpcServerEnd) => grpc::server_end(registers, tgid, process, layout),
        Some(SiteKind::GrpcServerGone) => grpc::server_gone(registers, tgid, process, layout),
        Some(SiteKind::GrpcHandlerStatus) => grpc::handler_status(registers, tgid, process, layout),
        Some(SiteKind::GrpcClientStart) => grpc::client_start(registers, tgid, process, layout, 0),
        Some(SiteKind::GrpcStreamStart) => grpc::client_start(registers, tgid, process, layout, 1),
        Some(SiteKind::GrpcClientEnd) => grpc::client_end(registers, tgid, process, layout, words),
        Some(SiteKind::GrpcStreamOpened) => grpc::stream_opened(registers, tgid, process, layout, words),
        Some(SiteKind::GrpcStreamEnd) => grpc::stream_end(registers, tgid, process, layout),
        Some(SiteKind::GrpcClientSent) => grpc::message(registers, process, layout, cookie.0, grpc::SENT),
        Some(SiteKind::GrpcClientReceived) => {
            grpc::message(registers, process, layout, cookie.0, grpc::RECEIVED);
        }
        Some(SiteKind::GrpcServerSent) => {
            grpc::message(registers, process, layout, cookie.0, grpc::SENT | grpc::SERVER);
        }
        Some(SiteKind::GrpcServerReceived) => {
            grpc::message(registers, process, layout, cookie.0, grpc::RECEIVED | grpc::SERVER);
        }
        _ => count(process.counters, Counter::UnknownSite),
    }
}

/// Runs what belongs to a site at which something is written.
#[cfg(feature = "propagate")]
#[inline(always)]
pub fn propagation(registers: Registers, cookie: Cookie) {
    let Some(Hit { tgid, process, layout }) = hit(registers, cookie) else { return };
    if process.flags & process_flags::PROPAGATE == 0 {
        return; // the probes are another process's of the same file
    }
    match cookie.kind() {
        Some(SiteKind::HttpClientHead) => propagate::head(registers, process, layout, cookie.0),
        Some(SiteKind::GrpcClientListed) => {
            propagate::grpc::listed(registers, tgid, process, layout, cookie.receiver());
        }
        Some(SiteKind::GrpcClientHead) => {
            propagate::grpc::encoded(registers, process, layout, cookie.receiver());
        }
        Some(SiteKind::Http2ClientHead) => {
            propagate::http2::encoded(registers, process, layout, cookie.0);
        }
        _ => count(process.counters, Counter::UnknownSite),
    }
}

/// Runs what belongs to a site that tells by which connection a call goes.
#[inline(always)]
pub fn join(registers: Registers, cookie: Cookie) {
    let Some(Hit { tgid, process, layout }) = hit(registers, cookie) else { return };
    match cookie.kind() {
        Some(SiteKind::HttpClientConnection) => {
            http_client::note_connection(registers, tgid, process, layout);
        }
        Some(SiteKind::Http2ClientConnection) => {
            http_client::note_http2_connection(registers, tgid, process, layout, cookie.0);
        }
        Some(SiteKind::GrpcClientConnection) => {
            grpc::note_connection(registers, tgid, process, layout);
        }
        _ => count(process.counters, Counter::UnknownSite),
    }
}

/// Runs what belongs to a site of HTTP.
#[inline(always)]
pub fn http(registers: Registers, cookie: Cookie) {
    let Some(Hit { tgid, process, layout }) = hit(registers, cookie) else { return };
    match cookie.kind() {
        Some(SiteKind::HttpServerStart | SiteKind::Http2ServerStart) => {
            http_server::start(registers, tgid, process, layout, cookie);
        }
        Some(SiteKind::HttpServerEnd) => http_server::end(registers, tgid, process, layout),
        Some(SiteKind::HttpServerEndByDepth) => {
            http_server::end_by_depth(registers, tgid, process, layout, cookie.stack_words());
        }
        Some(SiteKind::HttpConnectionEnd) => http_server::connection_end(registers, tgid, process, layout),
        Some(SiteKind::HttpServerRoute) => {
            http_server::route(registers, tgid, process, layout, cookie);
        }
        Some(SiteKind::HttpServerRouter) => {
            http_server::router_matched(registers, tgid, process, layout, cookie);
        }
        Some(kind @ (SiteKind::HttpClientStart | SiteKind::HttpClientStartInner)) => {
            let may_be_nested = kind == SiteKind::HttpClientStartInner;
            if !(may_be_nested && http_client::is_nested(registers, tgid, process, layout)) {
                http_client::start(registers, tgid, process, layout, cookie.stack_words());
            }
        }
        Some(SiteKind::HttpClientEnd) => {
            http_client::end(registers, tgid, process, layout, cookie.stack_words());
        }
        Some(SiteKind::Http2ServerEnd) => http_server::http2_end(registers, tgid, process, layout),
        _ => count(process.counters, Counter::UnknownSite),
    }
}

/// The cookie of the site that was hit, where the kernel does not hand it over.
#[inline(always)]
pub fn cookie_by_address(registers: Registers) -> Option<Cookie> {
    let site = Site { tgid: current_process(), reserved: 0, address: registers::instruction(registers) };
    // SAFETY: the agent replaces elements as a whole and never changes one in place.
    unsafe { SITES.get(&site) }.map(|cookie| Cookie(*cookie))
}

/// The id of the current process in the agent's PID namespace; 0 if it has none there.
#[inline(always)]
fn current_process() -> u32 {
    current_thread().tgid
}

/// The ids of the current thread (`pid`) and of its process (`tgid`), as above.
#[inline(always)]
pub fn current_thread() -> bpf_pidns_info {
    let namespace = pid_namespace();
    if namespace.inode == 0 {
        let both = bpf_get_current_pid_tgid();
        return bpf_pidns_info { pid: both as u32, tgid: (both >> 32) as u32 };
    }
    let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: `ids` is written as a whole, with zeros if the process is not in the namespace.
    unsafe {
        bpf_get_ns_current_pid_tgid(
            namespace.device,
            namespace.inode,
            &raw mut ids,
            size_of::<bpf_pidns_info>() as u32,
        );
    }
    ids
}
