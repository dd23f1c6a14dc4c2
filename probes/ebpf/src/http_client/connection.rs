//! The connection that a request goes over, by which the server's span of the same request is found.
//!
//! It is known when the transport has got one, new or idle, and has its place in the record from the span's start on.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lightfoot_probes_abi::{
    Counter, InFlight, Layout, Process, Text,
    in_flight::state,
    layout::{ITAB_TYPE, NONE},
    record::Connection,
};

use super::around;
use crate::{
    counters::count,
    memory::{read_string, read_user, read_word, string, word},
    registers::{self, Registers},
};

/// Words of a [`Connection`]: when, two addresses of two words, and ports and lengths.
const WORDS: usize = size_of::<Connection>() / 8;
/// Bytes of a `net.TCPAddr` without its zone.
const TCP_ADDR: usize = 32;

/// Makes room for it. It is the first of the strings.
#[inline(always)]
pub fn reserve(entry: &mut InFlight) {
    clear(entry);
    entry.strings_length = size_of::<Connection>() as u64;
    entry.record.lengths[Text::Peer as usize] = size_of::<Connection>() as u16;
}

/// `(pc *persistConn) roundTrip(req *transportRequest) (*Response, error)`
///
/// A transport that tries again comes here again: the last connection counts.
#[inline(never)]
pub fn note(registers: Registers, tgid: u32, process: &Process, layout: &Layout) {
    count(process.counters, Counter::JoinSite);
    // SAFETY: the kernel hands out elements that live at least until the program ends.
    let Some(entry) = (unsafe { around(registers, tgid, process, layout).as_mut() }) else { return };
    let has_room = entry.record.lengths[Text::Peer as usize] as usize == size_of::<Connection>();
    if entry.state & state::UNSAMPLED != 0 || !has_room {
        return;
    }
    let descriptor = descriptor(entry, process, layout, registers::argument(registers, 0));
    if descriptor == 0 || !read_addresses(entry, process, layout, descriptor) {
        clear(entry);
        return count(process.counters, Counter::JoinUnproven);
    }
    // SAFETY: without arguments.
    entry.strings[0] = unsafe { bpf_ktime_get_boot_ns() };
}

#[inline(always)]
fn clear(entry: &mut InFlight) {
    let mut place = 0;
    while place < WORDS {
        // SAFETY: within the strings. Volatile, or LLVM makes it a call of a function that sets byte by byte.
        unsafe { entry.strings.as_mut_ptr().add(place).write_volatile(0) };
        place += 1;
    }
}

/// The address of the `net.netFD` of a `persistConn`, or 0 if it is none of TCP, encrypted or not.
#[inline(never)]
fn descriptor(entry: &mut InFlight, process: &Process, layout: &Layout, connection: u64) -> u64 {
    let fields = &layout.client_connection;
    let mut held = held(entry, process, connection.wrapping_add(fields.connection));
    if held == fields.tls_type && fields.tls_connection != NONE {
        let inner = entry.scratch[1].wrapping_add(fields.tls_connection);
        held = self::held(entry, process, inner);
    }
    if held != fields.tcp_type || fields.tcp_type == NONE {
        return 0;
    }
    read_word(entry.counters, entry.scratch[1].wrapping_add(fields.descriptor))
}

/// The descriptor of what the interface at `from` holds, as the file has it; one that no type has if that is nothing. Its address is the second
/// word of the scratch memory then.
#[inline(never)]
fn held(entry: &mut InFlight, process: &Process, from: u64) -> u64 {
    if !read_string(entry, from) || entry.scratch[0] == 0 || entry.scratch[1] == 0 {
        return NONE;
    }
    let itab = entry.scratch[0];
    read_word(entry.counters, itab.wrapping_add(ITAB_TYPE)).wrapping_sub(process.bias)
}

/// Reads both addresses of a connection to their places.
#[inline(never)]
fn read_addresses(entry: &mut InFlight, process: &Process, layout: &Layout, descriptor: u64) -> bool {
    let fields = &layout.client_connection;
    let from = descriptor.wrapping_add(fields.addresses);
    // SAFETY: the scratch memory has more bytes.
    if unsafe { !read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), 32, from) } {
        return false;
    }
    let (itab, local, remote) = (entry.scratch[0], entry.scratch[1], entry.scratch[3]);
    // Both interfaces are of one kind, and so have one itab.
    if itab == 0 || entry.scratch[2] != itab {
        return false;
    }
    let held = read_word(entry.counters, itab.wrapping_add(ITAB_TYPE)).wrapping_sub(process.bias);
    entry.strings[WORDS - 1] = 0;
    held == fields.address_type
        && read_address(entry, layout, local, 0)
        && read_address(entry, layout, remote, 1)
}

/// Reads the `net.TCPAddr` at `address`: that of this end, or of the other.
#[inline(never)]
fn read_address(entry: &mut InFlight, layout: &Layout, address: u64, end: u64) -> bool {
    let fields = &layout.client_connection;
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has more bytes.
    let (ip, port) = unsafe {
        if !read_user(entry.counters, scratch.cast(), TCP_ADDR, address) {
            return false;
        }
        (string(scratch, TCP_ADDR, fields.ip), word(scratch, TCP_ADDR, fields.port).unwrap_or_default())
    };
    let length = match ip.length {
        4 => 4,
        16 => 16,
        _ => return false,
    };
    let is_other = end != 0;
    let place = if is_other { 3 } else { 1 };
    // SAFETY: an address has two words, and all lie within the strings.
    let to = unsafe { entry.strings.as_mut_ptr().add(place) };
    let shift = if is_other { 16 } else { 0 };
    entry.strings[WORDS - 1] |= (port & 0xffff) << shift | (length as u64) << (shift + 32);
    // SAFETY: as above.
    unsafe { read_user(entry.counters, to.cast(), length, ip.pointer) }
}
