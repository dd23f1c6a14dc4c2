//! Where the types that are contexts hold others, in one register: the kind in the upper half, the offset in the lower.

use aya_ebpf::bindings::BPF_ANY;
use lightfoot_probes_abi::{
    ContextKey, Counter, Holder, HolderKey, Process, context::HolderKind, layout::ITAB_TYPE,
};

use crate::{
    counters::count,
    maps::{HOLDERS, ITABS},
    memory::read_user,
};

/// A context that holds no other, in place of a [`Holder`].
pub const NO_HOLDER: u64 = packed(Holder { offset: 0, kind: HolderKind::None as u32 });

/// It was not asked before.
const UNKNOWN_HOLDER: u64 = u64::MAX;

const fn packed(holder: Holder) -> u64 {
    (holder.kind as u64) << 32 | holder.offset as u64
}

/// Where the contexts with this itab hold another.
#[inline(always)]
pub fn holder(process: &Process, itab: u64) -> u64 {
    let known = known_holder(process.instance, itab);
    if known == UNKNOWN_HOLDER {
        describe(process.counters, process.instance, itab, process.binary, process.bias)
    } else {
        known
    }
}

/// The same, if it was asked before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn known_holder(instance: u32, itab: u64) -> u64 {
    let key = ContextKey { instance, reserved: 0, address: itab };
    // SAFETY: elements never change after they were inserted.
    unsafe { ITABS.get(&key) }.copied().map_or(UNKNOWN_HOLDER, packed)
}

/// Finds out about an itab and notes it. They are never freed.
#[inline(never)]
fn describe(slot: u32, instance: u32, itab: u64, binary: u32, bias: u64) -> u64 {
    let mut descriptor = 0_u64;
    // SAFETY: the word has eight bytes. (Not `read_word`: the kernel allows eight calls within each other.)
    if unsafe { !read_user(slot, (&raw mut descriptor).cast(), 8, itab.wrapping_add(ITAB_TYPE)) } {
        count(slot, Counter::ReadFault);
        return NO_HOLDER;
    }
    let holder = described(binary, descriptor.wrapping_sub(bias));
    note_holder(instance, itab, holder);
    holder
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn described(binary: u32, descriptor: u64) -> u64 {
    let key = HolderKey { binary, reserved: 0, descriptor };
    // SAFETY: elements never change after they were inserted.
    unsafe { HOLDERS.get(&key) }.copied().map_or(NO_HOLDER, packed)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_holder(instance: u32, itab: u64, holder: u64) -> u32 {
    let key = ContextKey { instance, reserved: 0, address: itab };
    let holder = Holder { offset: holder as u32, kind: (holder >> 32) as u32 };
    // Where it fails it will be asked again.
    ITABS.insert(&key, &holder, u64::from(BPF_ANY)).is_ok().into()
}
