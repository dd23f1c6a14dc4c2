//! Calls that clients make.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, GrpcText, InFlight, Layout, Process, RecordKind, SiteKind,
    grpc::grpc_flags,
    in_flight::{Slice, state},
    layout::NONE,
    process::process_flags,
};

use super::{connection, record, status, unary};
use crate::{
    calls, contexts,
    counters::count,
    in_flight,
    memory::read_string,
    parents,
    record::{append_grpc, send},
    registers::{self, Registers},
    trace,
};

pub const KIND: u8 = RecordKind::GrpcClient as u8;

/// One of
/// - `(cc *ClientConn) Invoke(ctx context.Context, method string, …) error`;
/// - `(cc *ClientConn) NewStream(ctx context.Context, desc *StreamDesc, method string, …) (ClientStream, error)`, where
///   `is_stream` is 1.
#[inline(never)]
pub fn start(registers: Registers, tgid: u32, process: &Process, layout: &Layout, is_stream: u64) {
    let (g, stack_pointer) = (registers::g(registers), registers::stack_pointer(registers));
    let entry = in_flight::open(g, stack_pointer, tgid, process, layout);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    entry.record.header.kind = KIND;
    note_arguments(entry, registers, is_stream);
    count(process.counters, Counter::Started);
    parents::adopt_or_root(registers, entry, process, layout);
    trace::sample(entry, &process.sampler);
    if entry.state & state::UNSAMPLED == 0 {
        copy(entry, layout);
        if process.flags & process_flags::JOIN != 0 {
            connection::reserve(entry);
        }
        if is_stream == 0 {
            unary::note_before(entry, layout, stack_pointer);
        }
    }
}

/// Notes connection and method, and looks at the context.
#[inline(never)]
fn note_arguments(entry: &mut InFlight, registers: Registers, is_stream: u64) {
    // All are read, lest LLVM read from where a branch says: the context takes constant offsets alone.
    let [connection, itab, data] = [0, 1, 2].map(|position| registers::argument(registers, position));
    let [first, second, third] = [3, 4, 5].map(|position| registers::argument(registers, position));
    entry.request = connection;
    contexts::look_at(entry, itab, data);
    if is_stream == 0 {
        entry.request_line = Slice { pointer: first, length: second };
        calls::note_caller(entry, registers, 0, SiteKind::GrpcClientEnd);
    } else {
        entry.request_line = Slice { pointer: second, length: third };
        record(entry).flags |= grpc_flags::STREAM;
        calls::note_caller(entry, registers, 0, SiteKind::GrpcStreamOpened);
    }
}

#[inline(never)]
fn copy(entry: &mut InFlight, layout: &Layout) {
    let method = entry.request_line;
    append_grpc(entry, GrpcText::Method, method);
    let target = entry.request.wrapping_add(layout.grpc.client.target);
    if layout.grpc.client.target != NONE && read_string(entry, target) {
        let target = Slice { pointer: entry.scratch[0], length: entry.scratch[1] };
        append_grpc(entry, GrpcText::Target, target);
    }
}

/// A unary call, or a call around it, has returned: its error is in the registers.
#[inline(never)]
pub fn end(registers: Registers, tgid: u32, process: &Process, layout: &Layout, stack_words: u64) {
    let entry = calls::returned(registers, tgid, process, layout, stack_words);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    if is_call(entry, 0) {
        // SAFETY: without arguments.
        entry.record.header.end = unsafe { bpf_ktime_get_boot_ns() };
        let [itab, data] = [0, 1].map(|position| registers::argument(registers, position));
        if entry.state & (state::UNSAMPLED | state::ENDED_BY_OUTER) == 0 {
            let stack_pointer = registers::stack_pointer(registers).wrapping_sub(stack_words * 8);
            unary::read_peer(entry, process, layout, stack_pointer, itab);
        }
        if process.flags & process_flags::JOIN != 0 {
            connection::check(entry, itab);
        }
        finish(entry, process, layout, itab, data);
        in_flight::forget(entry);
    }
}

/// Whether the span is that of a client's call, a stream or not.
#[inline(always)]
pub fn is_call(entry: &mut InFlight, stream: u16) -> bool {
    if entry.record.header.kind != KIND || record(entry).flags & grpc_flags::STREAM != stream {
        return false;
    }
    if calls::ends_by_outer(entry) {
        record(entry).flags |= grpc_flags::ENDED_BY_OUTER;
    }
    true
}

/// Completes the record, which has its end, with an error, or none, and sends it.
#[inline(never)]
pub fn finish(entry: &mut InFlight, process: &Process, layout: &Layout, itab: u64, data: u64) {
    if entry.state & state::UNSAMPLED != 0 {
        return count(entry.counters, Counter::Unsampled);
    }
    status::read_error(entry, process, layout, itab, data);
    send(entry);
}
