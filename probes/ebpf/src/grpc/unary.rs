//! What a unary call leaves on the stack: its stream, which leads to the connection.
//!
//! Nothing else is left of it when it has returned. The frame of `grpc.invoke` lies untouched below the stack pointer then, for Go
//! handles signals on other stacks; unless it preempts the goroutine there (`asyncPreempt`, runtime/preempt_amd64.s, preempt_arm64.s),
//! which writes below the stack pointer: over the address of the return first, or on arm64 over all of it. That it is the frame of
//! this call shows where it has returned to: with interceptors that is elsewhere. That this call has set the stream in it shows its
//! success, or another value in the same place than before.

use lightfoot_probes_abi::{InFlight, Layout, Process, layout::NONE, limits::SMALL_STRUCT};

use super::stream;
use crate::memory::{read_user, read_word, string, word};

/// Notes what stands where the stream will be, and where that is.
#[inline(always)]
pub fn note_before(entry: &mut InFlight, layout: &Layout, stack_pointer: u64) {
    let frame = &layout.grpc.client.invoke;
    if frame.below != NONE {
        entry.target.pointer = stack_pointer;
        let stream = stack_pointer.wrapping_sub(frame.below).wrapping_add(frame.stream);
        entry.response = read_word(entry.counters, stream.wrapping_add(8));
    }
}

/// Reads who is at the other end of the call that has returned, and at whose entry the stack pointer was this one. `error` is 0
/// if it was a success.
#[inline(never)]
pub fn read_peer(entry: &mut InFlight, process: &Process, layout: &Layout, stack_pointer: u64, error: u64) {
    let client = &layout.grpc.client;
    let (frame, size) = (&client.invoke, client.invoke.size as usize);
    let scratch = entry.scratch.as_mut_ptr();
    // SAFETY: the scratch memory has `SMALL_STRUCT` bytes.
    let returned = unsafe {
        if size > SMALL_STRUCT
            || !read_user(entry.counters, scratch.cast(), size, stack_pointer.wrapping_sub(frame.below))
        {
            return;
        }
        // In this order: the second overwrites what was read.
        let returned = word(scratch, SMALL_STRUCT, frame.returned).unwrap_or_default();
        let stream = string(scratch, SMALL_STRUCT, frame.stream);
        (entry.scratch[0], entry.scratch[1]) = (stream.pointer, stream.length);
        returned
    };
    // Where the stack has moved meanwhile, its new place may have held anything.
    let is_set = error == 0 || stack_pointer == entry.target.pointer && entry.scratch[1] != entry.response;
    if returned.wrapping_sub(process.bias) != frame.return_address || !is_set {
        return;
    }
    let stream = stream::own_stream(entry, process, layout);
    if stream != 0 {
        let attempt = read_word(entry.counters, stream.wrapping_add(client.attempt));
        stream::read_peer(entry, process, layout, attempt);
    }
}
