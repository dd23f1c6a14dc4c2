//! How many messages streams carry: optional sites, behind what sends and receives one.

use aya_ebpf::bindings::BPF_ANY;
use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    mem::offset_of,
};
use lightfoot_probes_abi::{
    ContextKey, Cookie, GrpcText, InFlight, Layout, Process, grpc::Messages, in_flight::state, layout::NONE,
    limits::STRINGS,
};

use crate::{
    maps::MESSAGES,
    memory::{read_word, write_unaligned},
    registers::{self, Registers},
};

/// Begins to count those of the span's stream, which is [`InFlight::response`].
#[inline(never)]
pub fn begin(entry: &mut InFlight) {
    let key = ContextKey { instance: entry.instance, reserved: 0, address: entry.response };
    if MESSAGES.insert(&key, &Messages { sent: 0, received: 0 }, u64::from(BPF_ANY)).is_ok() {
        entry.state |= state::MESSAGES;
    }
}

/// A message was sent or received, unless there is an error in the registers.
#[inline(never)]
pub fn count(registers: Registers, process: &Process, layout: &Layout, cookie: u64, at: u64) {
    if registers::argument(registers, 0) != 0 {
        return;
    }
    let cookie = Cookie(cookie);
    let place = registers::stack_pointer(registers).wrapping_add(cookie.receiver() * 8);
    let mut stream = read_word(process.counters, place);
    if at & SERVER != 0 {
        if layout.grpc.stream.of_server == NONE {
            return;
        }
        stream = read_word(process.counters, stream.wrapping_add(layout.grpc.stream.of_server));
    }
    add(process.instance, stream, at & !SERVER);
}

#[inline(never)]
fn add(instance: u32, stream: u64, at: u64) {
    let key = ContextKey { instance, reserved: 0, address: stream };
    let Some(messages) = MESSAGES.get_ptr_mut(&key) else { return };
    // SAFETY: the kernel hands out elements that live at least until the program ends. The streams' two directions run at once.
    unsafe {
        let field = if at == SENT { &raw mut (*messages).sent } else { &raw mut (*messages).received };
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(field, 1);
    }
}

/// Appends the counts to the record. Without any, or if others have taken their place, there is nothing to say.
#[inline(never)]
pub fn append(entry: &mut InFlight) {
    if entry.state & state::MESSAGES == 0 {
        return;
    }
    let key = ContextKey { instance: entry.instance, reserved: 0, address: entry.response };
    let Some(messages) = MESSAGES.get_ptr(&key) else { return };
    let end = entry.strings_length as usize;
    if end > STRINGS - size_of::<Messages>() {
        return; // it can't be
    }
    // SAFETY: the kernel hands out elements that live at least until the program ends; the place lies within the strings, by the
    // comparison.
    unsafe {
        let to = entry.strings.as_mut_ptr().cast::<u8>().add(end);
        write_unaligned(to, (*messages).sent);
        write_unaligned(to.add(offset_of!(Messages, received)), (*messages).received);
    }
    entry.strings_length = (end + size_of::<Messages>()) as u64;
    entry.record.lengths[GrpcText::Messages as usize] = size_of::<Messages>() as u16;
    let _ = MESSAGES.remove(&key);
}

/// What [`count`] is told: the direction, and the side.
pub const SENT: u64 = 0;
/// As above.
pub const RECEIVED: u64 = 1;
/// As above.
pub const SERVER: u64 = 2;
