//! Streams of clients, once they are open.
//!
//! Each has a goroutine that waits for the end of its context, which comes with its own end at the latest, and finishes it
//! then (`newClientStreamWithParams`, stream.go): nothing else is passed by streams alone, and by all. Who has finished it
//! before that, if anybody, has left its status.

use aya_ebpf::{bindings::BPF_ANY, helpers::generated::bpf_ktime_get_boot_ns};
use lightfoot_probes_abi::{
    ContextKey, Counter, InFlight, InFlightKey, Layout, Process,
    grpc::grpc_flags,
    in_flight::state,
    layout::{ITAB_TYPE, NONE},
    limits::GRPC_WRAPPERS,
    process::process_flags,
};

use super::{client, connection, messages, peer, status};
#[cfg(feature = "propagate")]
use crate::propagate;
use crate::{
    calls,
    counters::count,
    in_flight,
    maps::{IN_FLIGHT, STREAM_ENDS},
    memory::{read_user, read_word},
    record::send,
    registers::{self, Registers},
};

/// `NewStream`, or a call around it, has returned a stream or an error.
#[inline(never)]
pub fn opened(registers: Registers, tgid: u32, process: &Process, layout: &Layout, stack_words: u64) {
    let entry = calls::returned(registers, tgid, process, layout, stack_words);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    if !client::is_call(entry, grpc_flags::STREAM) {
        return;
    }
    let [of_stream, stream] = [0, 1].map(|position| registers::argument(registers, position));
    let [of_error, error] = [2, 3].map(|position| registers::argument(registers, position));
    if of_error == 0 {
        entry.scratch[0] = of_stream;
        entry.scratch[1] = stream;
        keep(entry, process, layout);
    } else {
        // SAFETY: without arguments.
        entry.record.header.end = unsafe { bpf_ktime_get_boot_ns() };
        client::finish(entry, process, layout, of_error, error);
    }
    in_flight::forget(entry);
}

/// Lets the span go on as that of the stream whose interface's two words begin the scratch memory.
#[inline(always)]
fn keep(entry: &mut InFlight, process: &Process, layout: &Layout) {
    let stream = own_stream(entry, process, layout);
    if stream == 0 {
        // It cannot be told when it ends.
        count(entry.counters, Counter::HiddenStream);
        return count(entry.counters, Counter::Abandoned);
    }
    entry.response = stream;
    if process.flags & process_flags::CLIENT_MESSAGES != 0 && entry.state & state::UNSAMPLED == 0 {
        messages::begin(entry);
    }
    let tgid = entry.record.header.tgid;
    if !in_flight::find_stream(tgid, stream).is_null() {
        // Another one had this address, and its end was missed.
        count(entry.counters, Counter::Abandoned);
    }
    if !insert(entry, tgid, stream) {
        // There is no room for it beside the call that began it.
        return count(entry.counters, Counter::Abandoned);
    }
    #[cfg(feature = "propagate")]
    propagate::grpc::opened(entry, stream);
    let ended = take_end(process.instance, stream);
    if ended < entry.record.header.start {
        return;
    }
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    if let Some(entry) = unsafe { in_flight::find_stream(tgid, stream).as_mut() } {
        // It was over before it was returned.
        entry.record.header.end = ended;
        finish(entry, process, layout, 0, 0);
        in_flight::forget_stream(tgid, stream);
    }
}

/// The address of grpc-go's own stream, or 0, of an interface whose two words begin the scratch memory. An interceptor's own type usually embeds the one that it got, as its first field.
#[inline(never)]
pub fn own_stream(entry: &mut InFlight, process: &Process, layout: &Layout) -> u64 {
    let mut wrappers = 0;
    while wrappers < GRPC_WRAPPERS {
        let (itab, stream) = (entry.scratch[0], entry.scratch[1]);
        if itab == 0 || stream == 0 {
            return 0;
        }
        let to = entry.scratch.as_mut_ptr();
        // SAFETY: the scratch memory has more than 24 bytes.
        unsafe {
            if !read_user(entry.counters, to.add(2).cast(), 8, itab.wrapping_add(ITAB_TYPE)) {
                return 0;
            }
            if entry.scratch[2].wrapping_sub(process.bias) == layout.grpc.client.stream {
                return stream;
            }
            if !read_user(entry.counters, to.cast(), 16, stream) {
                return 0;
            }
        }
        wrappers += 1;
    }
    0
}

#[inline(never)]
fn insert(entry: &InFlight, tgid: u32, stream: u64) -> bool {
    let key = InFlightKey { tgid, level: InFlightKey::STREAM, goid: stream };
    IN_FLIGHT.insert(&key, entry, u64::from(BPF_ANY)).is_ok()
}

/// Takes the time at which the stream ended before it was known, if it did; else 0.
#[inline(never)]
fn take_end(instance: u32, stream: u64) -> u64 {
    let key = ContextKey { instance, reserved: 0, address: stream };
    // SAFETY: elements never change after they were inserted.
    let ended = unsafe { STREAM_ENDS.get(&key) }.copied().unwrap_or_default();
    // Whoever removes it finishes the span.
    if ended != 0 && STREAM_ENDS.remove(&key).is_ok() { ended } else { 0 }
}

#[inline(never)]
fn note_end(instance: u32, stream: u64) {
    let key = ContextKey { instance, reserved: 0, address: stream };
    // SAFETY: without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // Where it fails the stream stays open, as one whose end was missed.
    let _ = STREAM_ENDS.insert(&key, &now, u64::from(BPF_ANY));
}

/// `cs.finish(err)`, on the stream's own goroutine.
#[inline(never)]
pub fn end(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    let [stream, itab, data] = [0, 1, 2].map(|position| registers::argument(registers, position));
    let mut found = in_flight::find_stream(tgid, stream);
    if found.is_null() {
        note_end(process.instance, stream);
        found = in_flight::find_stream(tgid, stream);
        if found.is_null() || take_end(process.instance, stream) == 0 {
            return count(process.counters, Counter::EndWithoutStart);
        }
    }
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { found.as_mut() }) else { return };
    // SAFETY: without arguments.
    entry.record.header.end = unsafe { bpf_ktime_get_boot_ns() };
    finish(entry, process, layout, itab, data);
    in_flight::forget_stream(tgid, stream);
}

/// Completes the record and sends it. The error counts if nobody has finished the stream before.
#[inline(never)]
fn finish(entry: &mut InFlight, process: &Process, layout: &Layout, itab: u64, data: u64) {
    if entry.state & state::UNSAMPLED != 0 {
        return count(entry.counters, Counter::Unsampled);
    }
    let (fields, stream) = (&layout.grpc.client, entry.response);
    let attempt = read_word(entry.counters, stream.wrapping_add(fields.attempt));
    read_peer(entry, process, layout, attempt);
    if process.flags & process_flags::JOIN != 0 {
        connection::read(entry, process, layout, attempt);
        connection::check(entry, itab);
    }
    let is_finished = read_word(entry.counters, stream.wrapping_add(fields.finished)) & 0xff != 0;
    if is_finished || itab == 0 {
        let transport_stream = read_word(entry.counters, attempt.wrapping_add(fields.transport_stream));
        if transport_stream == 0 {
            status::note_missing(entry);
        } else {
            let status = read_word(entry.counters, transport_stream.wrapping_add(fields.status));
            status::read(entry, layout, status);
        }
    } else {
        status::read_error(entry, process, layout, itab, data);
    }
    messages::append(entry);
    send(entry);
}

/// Reads who is at the other end of an attempt.
#[inline(never)]
pub fn read_peer(entry: &mut InFlight, process: &Process, layout: &Layout, attempt: u64) {
    let (fields, transports) = (&layout.grpc.client, &layout.grpc.transport);
    if attempt == 0 || fields.transport == NONE || transports.server == NONE {
        return;
    }
    // The second word of an interface, whose only type in a program is this one.
    let transport = read_word(entry.counters, attempt.wrapping_add(fields.transport).wrapping_add(8));
    if transport != 0 {
        peer::read(entry, process, layout, transport.wrapping_add(transports.server));
    }
}
