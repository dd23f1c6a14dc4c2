//! Served calls.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, GrpcText, InFlight, Layout, Process, RecordKind,
    grpc::grpc_flags,
    in_flight::state,
    layout::{ITAB_TYPE, NONE},
    limits::{GRPC_METADATA, SMALL_STRUCT},
    process::process_flags,
    record::GRPC_WITHOUT_STATUS,
};

use super::{messages, peer, record, status};
#[cfg(feature = "propagate")]
use crate::propagate;
use crate::{
    contexts,
    counters::count,
    headers, in_flight,
    memory::{read_user, read_word, string, word},
    parents,
    record::{append_grpc, append_tracestate, send},
    registers::{self, Registers},
    trace,
};

const KIND: u8 = RecordKind::GrpcServer as u8;

// The scratch memory while metadata is looked for, in words and bytes: behind what is read of other contexts a `context.valueCtx`.
const VALUE_CONTEXT: usize = 16;
const VALUE_CONTEXT_SIZE: usize = 48;

/// `(s *Server) handleStream(t transport.ServerTransport, stream *transport.ServerStream, …)`
///
/// A call that net/http has received has its span already, which learns that it is one of gRPC.
#[inline(never)]
pub fn start(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let [itab, transport, stream] = [1, 2, 3].map(|position| registers::argument(registers, position));
    let transport_type = read_word(process.counters, itab.wrapping_add(ITAB_TYPE));
    if transport_type.wrapping_sub(process.bias) != layout.grpc.transport.http2_server {
        // SAFETY: the kernel hands out elements that live at least until the program ends.
        if let Some(request) = unsafe { http_request(registers, tgid, process, layout).as_mut() } {
            request.record.grpc_status = GRPC_WITHOUT_STATUS;
        }
        return;
    }
    let (g, stack_pointer) = (registers::g(registers), registers::stack_pointer(registers));
    let entry = in_flight::open(g, stack_pointer, tgid, process, layout);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    entry.record.header.kind = KIND;
    entry.response = stream;
    entry.request = transport;
    begin(entry, process, layout);
}

#[inline(always)]
fn begin(entry: &mut InFlight, process: &Process, layout: &Layout) {
    parents::note_young_goids(entry, process, layout);
    if entry.level != 0 || !read_stream(entry, layout) {
        count(process.counters, Counter::NoRequest);
        return in_flight::forget(entry);
    }
    let metadata = metadata(entry, process, layout);
    headers::find(entry, &layout.header, metadata);
    count(process.counters, Counter::Started);
    trace::adopt_or_root(entry);
    trace::sample(entry, &process.sampler);
    contexts::own(entry, process, layout);
    #[cfg(feature = "propagate")]
    propagate::states::keep_state(entry.record.header.tgid, entry.record.header.goid);
    if entry.state & state::UNSAMPLED != 0 {
        return;
    }
    copy(entry, process, layout);
}

#[inline(never)]
fn copy(entry: &mut InFlight, process: &Process, layout: &Layout) {
    if process.flags & process_flags::SERVER_MESSAGES != 0 {
        messages::begin(entry);
    }
    let method = entry.request_line;
    append_grpc(entry, GrpcText::Method, method);
    append_tracestate(entry);
    let address = entry.request.wrapping_add(layout.grpc.transport.peer);
    if layout.grpc.transport.peer != NONE {
        peer::read(entry, process, layout, address);
    }
}

/// Reads the stream, and notes its method and its context.
#[inline(never)]
fn read_stream(entry: &mut InFlight, layout: &Layout) -> bool {
    let fields = &layout.grpc.stream;
    let size = fields.size as usize;
    let stream = entry.scratch.as_mut_ptr();
    let mut from = entry.response;
    if fields.by_pointer != 0 {
        from = read_word(entry.counters, from);
    }
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    unsafe {
        if size > SMALL_STRUCT || !read_user(entry.counters, stream.cast(), size, from) {
            return false;
        }
        let context = string(stream, SMALL_STRUCT, fields.ctx);
        entry.context = [context.pointer, context.length];
        entry.request_line = string(stream, SMALL_STRUCT, fields.method);
        let id = word(stream, SMALL_STRUCT, fields.id).unwrap_or_default();
        record(entry).error_type_or_stream = id & 0xffff_ffff;
    }
    true
}

/// The address of the map of the metadata that the stream's context holds; 0 if there is none.
#[inline(never)]
fn metadata(entry: &mut InFlight, process: &Process, layout: &Layout) -> u64 {
    let [itab, data] = entry.context;
    contexts::look_at(entry, itab, data);
    let mut followed = 0;
    while followed < GRPC_METADATA {
        let metadata = metadata_at(entry, process, layout);
        if metadata != 0 || !contexts::follow(entry, process, layout) {
            return metadata;
        }
        followed += 1;
    }
    count(entry.counters, Counter::ContextBound);
    0
}

/// The same of the context at hand alone.
#[inline(never)]
fn metadata_at(entry: &mut InFlight, process: &Process, layout: &Layout) -> u64 {
    let (fields, context) = (&layout.grpc.metadata, contexts::at_hand(entry));
    // SAFETY: the scratch memory has room for it.
    unsafe {
        let to = entry.scratch.as_mut_ptr().add(VALUE_CONTEXT);
        // Another kind of context may be smaller.
        if !read_user(entry.counters, to.cast(), VALUE_CONTEXT_SIZE, context) {
            return 0;
        }
        let key_type = word(to, VALUE_CONTEXT_SIZE, fields.key).unwrap_or_default();
        if fields.key_type == NONE || key_type.wrapping_sub(process.bias) != fields.key_type {
            return 0;
        }
        word(to, VALUE_CONTEXT_SIZE, fields.val.saturating_add(8)).unwrap_or_default()
    }
}

/// `(t *http2Server) writeStatus(s *ServerStream, st *status.Status)`
///
/// A stream whose `SendMsg` or `RecvMsg` fails writes its status there, before its handler returns and writes another one in
/// vain. That is deeper in the stack.
#[inline(never)]
pub fn end(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let (slot, g) = (process.counters, registers::g(registers));
    let goid = in_flight::goid(slot, layout, g);
    let [stream, sent] = [1, 2].map(|position| registers::argument(registers, position));
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let entry = unsafe { in_flight::find(tgid, goid, 0).as_mut() };
    // A handler can write to other streams than its own.
    let Some(entry) = entry.filter(|entry| entry.record.header.kind == KIND && entry.response == stream)
    else {
        return count(slot, Counter::EndWithoutStart);
    };
    if entry.state & (state::STATUS_SENT | state::UNSAMPLED) == 0 {
        status::read(entry, layout, sent);
    }
    let depth = in_flight::depth(slot, layout, g, registers::stack_pointer(registers));
    if depth.wrapping_sub(entry.depth) > layout.grpc.stream.status_depth {
        entry.state |= state::STATUS_SENT;
        return;
    }
    finish(entry);
}

/// `status.FromError(err)`, in `processUnaryRPC`: the answer could not be sent, or the handler has returned an error, whose
/// status is written next.
#[inline(never)]
pub fn gone(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let itab = registers::argument(registers, 0);
    let error = read_word(process.counters, itab.wrapping_add(ITAB_TYPE)).wrapping_sub(process.bias);
    if error != layout.grpc.status.connection_error {
        return;
    }
    let goid = in_flight::goid(process.counters, layout, registers::g(registers));
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let entry = unsafe { in_flight::find(tgid, goid, 0).as_mut() };
    let Some(entry) = entry.filter(|entry| entry.record.header.kind == KIND) else { return };
    record(entry).flags |= grpc_flags::CLIENT_GONE;
    finish(entry);
}

#[inline(never)]
fn finish(entry: &mut InFlight) {
    // SAFETY: without arguments.
    entry.record.header.end = unsafe { bpf_ktime_get_boot_ns() };
    contexts::check_own(entry);
    #[cfg(feature = "propagate")]
    propagate::states::check_kept(entry);
    if entry.state & state::UNSAMPLED != 0 {
        count(entry.counters, Counter::Unsampled);
    } else {
        messages::append(entry);
        send(entry);
    }
    in_flight::forget(entry);
}

/// `(ht *serverHandlerTransport) writeStatus(s *ServerStream, st *status.Status)`
#[inline(never)]
pub fn handler_status(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let status = registers::argument(registers, 2);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(request) = unsafe { http_request(registers, tgid, process, layout).as_mut() } {
        status::read_for_http(request, layout, status);
    }
}

/// The span of the HTTP request that the goroutine's call came by, or null: the goroutine that serves the request has created
/// this one (`serverHandlerTransport.HandleStreams`). In HTTP/2 that one serves no other. Workers of a server
/// (`grpc.NumStreamWorkers`) are created by none that serves a request.
#[inline(never)]
fn http_request(registers: Registers, tgid: u32, process: &Process, layout: &Layout) -> *mut InFlight {
    let (slot, g) = (process.counters, registers::g(registers));
    if layout.g.parent_goid == NONE {
        return core::ptr::null_mut();
    }
    let found = in_flight::find(tgid, read_word(slot, g.wrapping_add(layout.g.parent_goid)), 0);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let is_its = unsafe { found.as_ref() }.is_some_and(|entry| {
        entry.record.header.kind == RecordKind::HttpServer as u8 && entry.record.protocol_major == 2
    });
    if is_its { found } else { core::ptr::null_mut() }
}
