//! Both ends of a TCP connection, as a [`Connection`] has them: by these the spans of its two sides find each other.
//!
//! All is read to a place of [`ROOM`] words: what leads to the addresses to the first [`SCRATCH`], the connection behind them.

use core::mem::offset_of;

use lightfoot_probes_abi::{
    Counter, Layout, Process,
    connected::SCRATCH,
    layout::{ITAB_TYPE, NONE},
    limits::SMALL_STRUCT,
    record::{CONNECTION_WORDS, Connection},
};

use crate::{
    counters::count,
    memory::{read_user, read_word, string, word},
};

/// Words that reading takes.
const ROOM: usize = SCRATCH + CONNECTION_WORDS;
/// Where the ports and lengths of the connection stand, in words, and its stream.
const PORTS: usize = SCRATCH + offset_of!(Connection, ports) / 8;
/// As above.
const STREAM: usize = SCRATCH + offset_of!(Connection, stream) / 8;
/// Bytes of a `net.TCPAddr` without its zone.
const TCP_ADDR: usize = 32;

// The scratch memory of a span is such a place, too.
const _: () = assert!(TCP_ADDR <= SCRATCH * 8 && ROOM <= SMALL_STRUCT / 8);

/// This end of a connection; the other one is 1.
pub const LOCAL: u64 = 0;
/// As above.
pub const REMOTE: u64 = 1;

/// Begins with no connection.
///
/// # Safety
/// `room` must be valid for [`ROOM`] words. The verifier proves it again.
#[inline(always)]
pub unsafe fn clear(room: *mut u64) {
    // SAFETY: the caller vouches for it.
    unsafe { zero(room.add(SCRATCH)) };
}

/// The stream that the connection goes by.
///
/// # Safety
/// As above.
#[inline(always)]
pub unsafe fn set_stream(room: *mut u64, stream: u64) {
    // SAFETY: as above.
    unsafe { *room.add(STREAM) = stream & 0xffff_ffff };
}

/// Makes a connection zero that stands at `to`.
///
/// # Safety
/// `to` must be valid for [`CONNECTION_WORDS`].
#[inline(always)]
pub unsafe fn zero(to: *mut u64) {
    let mut place = 0;
    while place < CONNECTION_WORDS {
        // SAFETY: the caller vouches for it. Volatile, or LLVM makes it a call of a function that sets byte by byte.
        unsafe { to.add(place).write_volatile(0) };
        place += 1;
    }
}

/// Copies the connection to `to`.
///
/// # Safety
/// As for both.
#[inline(always)]
pub unsafe fn copy(room: *const u64, to: *mut u64) {
    let mut place = 0;
    while place < CONNECTION_WORDS {
        // SAFETY: the caller vouches for them. Volatile, as above.
        unsafe { to.add(place).write_volatile(*room.add(SCRATCH + place)) };
        place += 1;
    }
}

/// Reads both ends of the `net.Conn` at `from`, an interface. False if it is none of TCP, encrypted or not.
///
/// # Safety
/// `room` must be valid for [`ROOM`] words.
#[inline(never)]
pub unsafe fn of_conn(process: &Process, layout: &Layout, room: *mut u64, from: u64) -> bool {
    let fields = &layout.client_connection;
    // SAFETY: the caller vouches for it.
    unsafe {
        let addresses = descriptor(process, layout, room, from).wrapping_add(fields.addresses);
        if addresses == fields.addresses || !read_user(process.counters, room.cast(), 32, addresses) {
            return false;
        }
        // Both interfaces are of one kind, and so have one itab.
        let (itab, local, remote) = (*room, *room.add(1), *room.add(3));
        let kind = read_word(process.counters, itab.wrapping_add(ITAB_TYPE)).wrapping_sub(process.bias);
        if itab == 0 || *room.add(2) != itab || kind != fields.address_type {
            return false;
        }
        read_address(process.counters, room, local, offsets(fields.ip, fields.port, LOCAL))
            && read_address(process.counters, room, remote, offsets(fields.ip, fields.port, REMOTE))
    }
}

/// Reads one end from the `net.Addr` at `from`, an interface.
///
/// # Safety
/// As above.
#[inline(never)]
pub unsafe fn of_addr(process: &Process, layout: &Layout, room: *mut u64, from: u64, end: u64) -> bool {
    let types = &layout.grpc.transport;
    // SAFETY: the caller vouches for it.
    unsafe {
        types.tcp_addr != NONE
            && held(process, room, from) == types.tcp_addr
            && read_address(process.counters, room, *room.add(1), offsets(types.ip, types.port, end))
    }
}

/// The address of the `net.netFD` of the `net.Conn` at `from`, or 0.
#[inline(never)]
unsafe fn descriptor(process: &Process, layout: &Layout, room: *mut u64, from: u64) -> u64 {
    let fields = &layout.client_connection;
    // SAFETY: as the caller of the caller vouches.
    unsafe {
        let mut kind = held(process, room, from);
        if kind == fields.tls_type && fields.tls_connection != NONE {
            kind = held(process, room, (*room.add(1)).wrapping_add(fields.tls_connection));
        }
        if kind != fields.tcp_type || fields.tcp_type == NONE {
            return 0;
        }
        read_word(process.counters, (*room.add(1)).wrapping_add(fields.descriptor))
    }
}

/// The descriptor of what the interface at `from` holds, as the file has it; one that no type has if that is nothing. Its address is
/// the second word of the room then.
#[inline(never)]
unsafe fn held(process: &Process, room: *mut u64, from: u64) -> u64 {
    // SAFETY: as above.
    unsafe {
        if !read_user(process.counters, room.cast(), 16, from) {
            count(process.counters, Counter::ReadFault);
            return NONE;
        }
        let itab = *room;
        // Not by a function of its own: calls must not be deeper than the kernel allows.
        if itab == 0
            || *room.add(1) == 0
            || !read_user(process.counters, room.add(2).cast(), 8, itab.wrapping_add(ITAB_TYPE))
        {
            return NONE;
        }
        (*room.add(2)).wrapping_sub(process.bias)
    }
}

/// Where a `net.TCPAddr` has its fields, for an end, in one word. What is not known lies nowhere.
#[inline(always)]
fn offsets(ip: u64, port: u64, end: u64) -> u64 {
    ip & 0xffff | (port & 0xffff) << 16 | end << 32
}

/// Reads the `net.TCPAddr` at `address`.
#[inline(never)]
unsafe fn read_address(slot: u32, room: *mut u64, address: u64, offsets: u64) -> bool {
    let is_remote = offsets >> 32 != LOCAL;
    // SAFETY: as above.
    unsafe {
        if !read_user(slot, room.cast(), TCP_ADDR, address) {
            return false;
        }
        let ip = string(room, TCP_ADDR, offsets & 0xffff);
        let port = word(room, TCP_ADDR, offsets >> 16 & 0xffff).unwrap_or_default();
        let length = match ip.length {
            4 => 4,
            16 => 16,
            _ => return false,
        };
        let shift = if is_remote { 16 } else { 0 };
        *room.add(PORTS) |= (port & 0xffff) << shift | (length as u64) << (shift + 32);
        let to = room.add(if is_remote { SCRATCH + 3 } else { SCRATCH + 1 });
        read_user(slot, to.cast(), length, ip.pointer)
    }
}
