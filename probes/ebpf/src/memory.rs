//! Reading the process's memory, and fields of what was read.

use core::arch::asm;

use aya_ebpf::{
    cty::c_void,
    helpers::generated::{bpf_copy_from_user, bpf_probe_read_user},
};
use lightfoot_probes_abi::{Counter, InFlight, in_flight::Slice, limits};

use crate::{
    counters::count,
    maps::{counts_reads, may_sleep},
};

/// Reads `length` bytes at the process's address `from`. False if that is not possible; then the bytes at `to` are zero.
///
/// A page may be out for a moment (swapped, migrated, made part of a huge page): where the kernel permits, the program
/// waits for it.
///
/// # Safety
/// `to` must be valid for writes of `length` bytes. The verifier proves it again.
#[inline(always)]
pub unsafe fn read_user(slot: u32, to: *mut u8, length: usize, from: u64) -> bool {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        read_present(slot, to, length, from) || may_sleep() && wait_and_read(slot, to, length as u32, from)
    }
}

/// The same without waiting.
///
/// # Safety
/// As above.
#[inline(always)]
pub unsafe fn read_present(slot: u32, to: *mut u8, length: usize, from: u64) -> bool {
    if counts_reads() {
        count(slot, Counter::UserReads);
    }
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    unsafe { bpf_probe_read_user(to.cast::<c_void>(), length as u32, from as *const c_void) == 0 }
}

/// The word at the process's address `from`; 0 if it cannot be read, which is counted.
#[inline(never)]
pub fn read_word(slot: u32, from: u64) -> u64 {
    let mut word = 0_u64;
    // SAFETY: the word has eight bytes.
    if unsafe { !read_user(slot, (&raw mut word).cast(), 8, from) } {
        count(slot, Counter::ReadFault);
        return 0;
    }
    word
}

/// Where larger structs are read to: `LARGE_STRUCT` bytes of the strings' place, behind the peer's address.
#[inline(always)]
pub fn large_struct(entry: &mut InFlight) -> *mut u64 {
    // SAFETY: within the strings, which are larger.
    unsafe { entry.strings.as_mut_ptr().add(limits::PEER / 8) }
}

/// Reads the pointer and the length of the string at the process's address `from` to the scratch memory.
#[inline(always)]
pub fn read_string(entry: &mut InFlight, from: u64) -> bool {
    // SAFETY: the scratch memory has more than 16 bytes.
    let read = unsafe { read_user(entry.counters, entry.scratch.as_mut_ptr().cast(), 16, from) };
    if !read {
        count(entry.counters, Counter::ReadFault);
    }
    read
}

/// The same as [`read_user`] where the first attempt failed.
///
/// # Safety
/// `to` must be valid for writes of `length` bytes.
#[inline(never)]
unsafe fn wait_and_read(slot: u32, to: *mut u8, length: u32, from: u64) -> bool {
    count(slot, Counter::PageWaits);
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    unsafe { bpf_copy_from_user(to.cast::<c_void>(), length, from as *const c_void) == 0 }
}

/// The eight bytes at `offset` of a buffer of `size` bytes, or `None` if they don't lie in it.
///
/// # Safety
/// `buffer` must be valid for reads of `size` bytes.
#[inline(always)]
pub unsafe fn word(buffer: *const u64, size: usize, offset: u64) -> Option<u64> {
    let offset = offset as usize;
    if offset > size - 8 {
        return None;
    }
    // SAFETY: within the buffer, by the comparison. Offsets of words in Go structs are multiples of 8.
    Some(unsafe { *buffer.cast::<u8>().add(offset).cast::<u64>() })
}

/// The byte at `offset` of a buffer of `size` bytes, or `None` if it does not lie in it.
///
/// # Safety
/// `buffer` must be valid for reads of `size` bytes.
#[inline(always)]
pub unsafe fn byte(buffer: *const u64, size: usize, offset: u64) -> Option<u8> {
    let offset = offset as usize;
    if offset > size - 1 {
        return None;
    }
    // SAFETY: within the buffer, by the comparison.
    Some(unsafe { *buffer.cast::<u8>().add(offset) })
}

/// The string, or another pair of words, at `offset` of a buffer of `size` bytes; what does not lie in it is 0.
///
/// # Safety
/// `buffer` must be valid for reads of `size` bytes.
#[inline(always)]
pub unsafe fn string(buffer: *const u64, size: usize, offset: u64) -> Slice {
    // SAFETY: the caller vouches for `buffer`.
    unsafe {
        let pointer = word(buffer, size, offset).unwrap_or_default();
        let length = word(buffer, size, offset.saturating_add(8)).unwrap_or_default();
        Slice { pointer, length }
    }
}

/// The bits of an index that are in the mask. LLVM leaves out masks that change nothing as far as it knows; the kernel's verifier
/// needs them, for it knows nothing of what a function returns that is verified once.
#[inline(always)]
pub fn masked<const MASK: u64>(mut index: u64) -> usize {
    // SAFETY: one instruction on one register.
    unsafe { asm!("{0} &= {1}", inout(reg) index, const MASK, options(pure, nomem, nostack)) };
    index as usize
}

/// Writes a word anywhere. LLVM would do so byte by byte, of which the verifier follows each; the processors that programs run on need no
/// alignment, and there the verifier asks for none.
///
/// # Safety
/// `to` must be valid for writes of eight bytes. The verifier proves it again.
#[inline(always)]
pub unsafe fn write_unaligned(to: *mut u8, word: u64) {
    // SAFETY: one instruction that writes where the caller says.
    unsafe { asm!("*(u64 *)({0} + 0) = {1}", in(reg) to, in(reg) word, options(nostack)) };
}
