//! Where the types that are contexts hold others, in one register: the kind in the upper half, the offset in the lower.

use aya_ebpf::bindings::BPF_ANY;
use lightfoot_probes_abi::{
    ContextKey, Counter, Holder, HolderKey, Process,
    context::{HolderKind, VALUE},
    layout::ITAB_TYPE,
};

use crate::{
    counters::count,
    maps::{HOLDERS, ITABS},
    memory::{read_present, read_user},
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

/// Where the ids stand of a span of the program's own SDK that is the value of a context; 0 if none is. The context holds another, and
/// that was asked before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn own_span(instance: u32, itab: u64, data: u64, slot_and_binary: u64, bias: u64) -> u64 {
    if known_holder(instance, itab) >> 32 != HolderKind::Value as u64 {
        return 0;
    }
    let mut value = [0_u64; 2];
    let (slot, binary) = ((slot_and_binary >> 32) as u32, slot_and_binary as u32);
    // SAFETY: the two words have 16 bytes.
    if unsafe { !read_present(slot, value.as_mut_ptr().cast(), 16, data.wrapping_add(VALUE)) } {
        count(slot, Counter::ReadFault);
        return 0;
    }
    let span = described(binary, value[0].wrapping_sub(bias));
    if span >> 32 != HolderKind::OwnSpan as u64 {
        return 0;
    }
    value[1].wrapping_add(span & u64::from(u32::MAX))
}
