//! What became of a request.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process, Text,
    in_flight::{Slice, state},
    layout::{ITAB_TYPE, NONE},
    limits::SMALL_STRUCT,
    process::process_flags,
    record::{MISSING_FIELDS, UNKNOWN_ERROR},
};

use super::connection;
use crate::{
    counters::count,
    memory::{read_string, read_user, read_word, word},
    record,
    registers::{self, Registers},
};

/// Completes the record with the results `(*Response, error)` and sends it.
#[inline(never)]
pub fn finish(registers: Registers, entry: &mut InFlight, process: &Process, layout: &Layout) {
    // SAFETY: without arguments.
    entry.record.header.end = unsafe { bpf_ktime_get_boot_ns() };
    if entry.state & state::UNSAMPLED != 0 {
        return count(entry.counters, Counter::Unsampled);
    }
    let itab = registers::argument(registers, 1);
    // A transport that returns both is wrong, and its response ignored (`net/http.send`).
    if itab == 0 {
        read_response(entry, layout, registers::argument(registers, 0));
    } else {
        read_error(entry, process, layout, itab, registers::argument(registers, 2));
    }
    if process.flags & process_flags::JOIN != 0 {
        connection::take(entry);
    }
    record::send(entry);
}

#[inline(never)]
fn read_response(entry: &mut InFlight, layout: &Layout, address: u64) {
    let (fields, response) = (&layout.client_response, entry.scratch.as_mut_ptr());
    let size = fields.size as usize;
    if address == 0 {
        // A wrong transport around the one that was called.
        entry.record.header.missing |= MISSING_FIELDS;
        return count(entry.counters, Counter::Unexpected);
    }
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let status = unsafe {
        if size <= SMALL_STRUCT && read_user(entry.counters, response.cast(), size, address) {
            word(response, SMALL_STRUCT, fields.status_code)
        } else {
            None
        }
    };
    let Some(status) = status else {
        entry.record.header.missing |= MISSING_FIELDS;
        return count(entry.counters, Counter::ReadFault);
    };
    entry.record.status = status as u16;
    // SAFETY: as above.
    unsafe {
        entry.record.protocol_major =
            word(response, SMALL_STRUCT, fields.proto_major).unwrap_or_default() as u8;
        entry.record.protocol_minor =
            word(response, SMALL_STRUCT, fields.proto_minor).unwrap_or_default() as u8;
        let size = word(response, SMALL_STRUCT, fields.content_length);
        entry.record.size = size.unwrap_or(u64::MAX).cast_signed();
    }
}

#[inline(never)]
fn read_error(entry: &mut InFlight, process: &Process, layout: &Layout, itab: u64, data: u64) {
    let descriptor = read_word(entry.counters, itab.wrapping_add(ITAB_TYPE));
    if descriptor == 0 {
        entry.record.error_type_or_stream = UNKNOWN_ERROR;
        entry.record.header.missing |= MISSING_FIELDS;
        return;
    }
    entry.record.error_type_or_stream = descriptor.wrapping_sub(process.bias);
    // It points to a struct that is one string.
    if entry.record.error_type_or_stream == layout.types.error_string
        && layout.types.error_string != NONE
        && read_string(entry, data)
    {
        record::append(entry, Text::Error, Slice { pointer: entry.scratch[0], length: entry.scratch[1] });
    }
}
