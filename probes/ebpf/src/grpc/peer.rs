//! Who is at the other end.

use lightfoot_probes_abi::{
    Counter, GrpcText, InFlight, Layout, Process,
    grpc::grpc_flags,
    in_flight::Slice,
    layout::{ITAB_TYPE, NONE},
};

use super::record;
use crate::{
    counters::count,
    memory::{read_string, read_user, read_word, string, word},
    record::append_grpc,
};

/// Bytes of a `net.TCPAddr` without its zone.
const TCP_ADDR: usize = 32;

/// Reads the `net.Addr` at `address`, if it is that of a TCP connection or of a unix socket.
#[inline(never)]
pub fn read(entry: &mut InFlight, process: &Process, layout: &Layout, address: u64) {
    let types = &layout.grpc.transport;
    if !read_string(entry, address) {
        return;
    }
    let (itab, data) = (entry.scratch[0], entry.scratch[1]);
    if itab == 0 || data == 0 {
        return;
    }
    let descriptor = read_word(entry.counters, itab.wrapping_add(ITAB_TYPE)).wrapping_sub(process.bias);
    if descriptor == types.tcp_addr && types.tcp_addr != NONE {
        read_tcp(entry, layout, data);
    } else if descriptor == types.unix_addr
        && types.unix_addr != NONE
        && read_string(entry, data.wrapping_add(types.name))
    {
        let name = Slice { pointer: entry.scratch[0], length: entry.scratch[1] };
        append_grpc(entry, GrpcText::Peer, name);
    }
}

#[inline(always)]
fn read_tcp(entry: &mut InFlight, layout: &Layout, address: u64) {
    let types = &layout.grpc.transport;
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has more bytes.
    let (ip, port) = unsafe {
        if !read_user(entry.counters, scratch.cast(), TCP_ADDR, address) {
            return count(entry.counters, Counter::ReadFault);
        }
        (string(scratch, TCP_ADDR, types.ip), word(scratch, TCP_ADDR, types.port).unwrap_or_default())
    };
    read_ip(entry, ip.pointer, ip.length, port);
}

#[inline(never)]
fn read_ip(entry: &mut InFlight, pointer: u64, length: u64, port: u64) {
    let counters = entry.counters;
    let record = record(entry);
    let (length, flag) = match length {
        4 => (4, grpc_flags::PEER_V4),
        16 => (16, grpc_flags::PEER_V6),
        _ => return,
    };
    // SAFETY: the address has 16 bytes.
    if unsafe { read_user(counters, record.peer.as_mut_ptr(), length, pointer) } {
        record.peer_port = port as u16;
        record.flags |= flag;
    } else {
        count(counters, Counter::ReadFault);
    }
}
