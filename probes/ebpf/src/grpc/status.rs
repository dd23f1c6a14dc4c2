//! What became of a call.

use lightfoot_probes_abi::{
    Counter, GrpcText, InFlight, Layout, Process, RecordKind, Text,
    grpc::grpc_flags,
    in_flight::Slice,
    layout::{ITAB_TYPE, NONE},
    limits::GRPC_ERRORS,
    record::{MISSING_FIELDS, UNKNOWN_ERROR},
};

use super::record;
use crate::{
    counters::count,
    memory::{read_string, read_user, read_word, string},
    record::{append, append_grpc},
};

/// Bytes from the code of a `google/rpc.Status` on: its code, and its message behind that.
const CODE_AND_MESSAGE: usize = 24;

/// Notes a code.
#[inline(always)]
pub fn note(entry: &mut InFlight, code: u32) {
    let record = record(entry);
    record.status = code;
    record.flags |= grpc_flags::HAS_STATUS;
}

/// Notes that none could be read.
#[inline(always)]
pub fn note_missing(entry: &mut InFlight) {
    entry.record.header.missing |= MISSING_FIELDS;
    count(entry.counters, Counter::ReadFault);
}

/// Notes the `*status.Status` at `status`; nil is OK.
#[inline(never)]
pub fn read(entry: &mut InFlight, layout: &Layout, status: u64) {
    if status == 0 {
        return note(entry, 0);
    }
    let Some((code, message)) = code_and_message(entry, layout, status) else { return note_missing(entry) };
    note(entry, code);
    if entry.record.header.kind == RecordKind::GrpcClient as u8 {
        record(entry).error_type_or_stream = 0;
    }
    if code != 0 {
        append_grpc(entry, GrpcText::Error, message);
    }
}

/// The same for the span of an HTTP request.
#[inline(never)]
pub fn read_for_http(entry: &mut InFlight, layout: &Layout, status: u64) {
    let Some((code, message)) = code_and_message(entry, layout, status) else { return note_missing(entry) };
    entry.record.grpc_status = code as u16 + 1;
    if code != 0 {
        append(entry, Text::Error, message);
    }
}

#[inline(always)]
fn code_and_message(entry: &mut InFlight, layout: &Layout, status: u64) -> Option<(u32, Slice)> {
    let fields = &layout.grpc.status;
    let proto = read_word(entry.counters, status.wrapping_add(fields.proto));
    let from = proto.wrapping_add(fields.code);
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has more bytes.
    unsafe {
        (proto != 0 && read_user(entry.counters, scratch.cast(), CODE_AND_MESSAGE, from))
            .then(|| (*scratch as u32, string(scratch, CODE_AND_MESSAGE, fields.message)))
    }
}

/// Notes the error that a call returned, as its interface's two words. `status.Code` unwraps it, too (`errors.As`, since
/// grpc-go 1.55).
#[inline(never)]
pub fn read_error(entry: &mut InFlight, process: &Process, layout: &Layout, mut itab: u64, mut data: u64) {
    let fields = &layout.grpc.status;
    let mut errors = 0;
    while errors < GRPC_ERRORS && itab != 0 {
        let descriptor = descriptor(entry, process, itab);
        if descriptor == fields.error {
            let status = read_word(entry.counters, data.wrapping_add(fields.of_error));
            return read(entry, layout, status);
        }
        if errors == 0 {
            note_type(entry, layout, descriptor, data);
        }
        if descriptor != fields.wrap_error || !read_string(entry, data.wrapping_add(fields.wrapped)) {
            return;
        }
        (itab, data) = (entry.scratch[0], entry.scratch[1]);
        errors += 1;
    }
    if errors == 0 {
        note(entry, 0);
    }
}

/// The descriptor of an interface's type, or [`UNKNOWN_ERROR`].
#[inline(never)]
fn descriptor(entry: &mut InFlight, process: &Process, itab: u64) -> u64 {
    let descriptor = read_word(entry.counters, itab.wrapping_add(ITAB_TYPE));
    if descriptor == 0 {
        entry.record.header.missing |= MISSING_FIELDS;
        return UNKNOWN_ERROR;
    }
    descriptor.wrapping_sub(process.bias)
}

/// Notes the type of the outermost error, which counts if none has a status.
#[inline(never)]
fn note_type(entry: &mut InFlight, layout: &Layout, descriptor: u64, data: u64) {
    record(entry).error_type_or_stream = descriptor;
    // It points to a struct that is one string.
    if descriptor == layout.types.error_string
        && layout.types.error_string != NONE
        && read_string(entry, data)
    {
        let text = Slice { pointer: entry.scratch[0], length: entry.scratch[1] };
        append_grpc(entry, GrpcText::Error, text);
    }
}
