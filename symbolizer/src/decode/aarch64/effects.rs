//! What an arm64 instruction writes. Data processing and the ordinary loads and stores are told apart; every other
//! instruction counts as writing everything.

use super::{Class, classify};
use crate::decode::{Effects, MemoryWrite, StackChange};

/// Number 31 is the stack pointer or the zero register; the sets hold `x0` to `x30` only.
const REGISTERS: u32 = 0x7fff_ffff;
const STACK_POINTER: u32 = 31;

pub(in crate::decode) fn effects(word: u32) -> Effects {
    match classify(word) {
        Class::B | Class::BCond | Class::Cb | Class::Tb | Class::Br | Class::Ret | Class::Nop => {
            Effects::NONE
        }
        Class::Bl | Class::Blr => Effects { integers: 1 << 30, ..Effects::NONE },
        Class::Adr => integer(word),
        Class::Literal if word >> 26 & 1 == 0 => integer(word),
        Class::Literal => vector(word),
        // The operation group, bits 28 to 25.
        Class::Other => match word >> 25 & 15 {
            // Conditional compare has flags where others have a destination.
            0b0101 | 0b1101 if word & 0x1fe0_0000 == 0x1a40_0000 => Effects::NONE,
            0b1000 | 0b1001 | 0b0101 | 0b1101 => integer(word),
            // Moves from a vector to a general register are among these.
            0b0111 | 0b1111 => Effects { vectors: vector(word).vectors, ..integer(word) },
            0b0100 | 0b0110 | 0b1100 | 0b1110 => load_store(word),
            // Barriers; system instructions with a result (sysl) are rare.
            0b1010 | 0b1011 if word & 0xffff_f01f == 0xd503_301f => Effects::NONE,
            _ => Effects::ALL,
        },
        _ => Effects::ALL,
    }
}

/// Only what the Go compiler and assembler use to open and close frames.
pub(in crate::decode) fn stack_change(word: u32) -> StackChange {
    let (destination, base) = (word & 31, word >> 5 & 31);
    // add/sub (immediate), 64-bit, no flags.
    if word & 0xbf80_0000 == 0x9100_0000 && destination == STACK_POINTER {
        let shift = if word >> 22 & 1 == 1 { 12 } else { 0 };
        let amount = i64::from(word >> 10 & 0xfff) << shift;
        return match (base == STACK_POINTER, word >> 30 & 1) {
            (true, 0) => StackChange::By(amount),
            (true, _) => StackChange::By(amount.wrapping_neg()),
            // `mov sp, x20` after `sub x20, sp, #frame` is for the caller to see.
            (false, _) => StackChange::Unknown,
        };
    }
    // Other data processing with an immediate, or add/sub (extended register), writing the stack pointer.
    let sets_flags = word >> 29 & 1 == 1;
    let immediate = matches!(word & 0x1f80_0000, 0x1100_0000 | 0x1180_0000) && !sets_flags;
    let logical = word & 0x1f80_0000 == 0x1200_0000 && word >> 29 & 3 != 3;
    let extended = word & 0x1fe0_0000 == 0x0b20_0000 && !sets_flags;
    if (immediate || logical || extended) && destination == STACK_POINTER {
        return StackChange::Unknown;
    }
    match (load_store_base_update(word), word >> 25 & 0b0101) {
        (Some(amount), _) if base == STACK_POINTER => StackChange::By(amount),
        // Structure loads and stores, SVE and the like may write the base back.
        (None, 0b0100) if base == STACK_POINTER && effects(word) == Effects::ALL => StackChange::Unknown,
        // Scalable vector instructions can add to it.
        (None, _) if word & 0x1a00_0000 == 0 => StackChange::Unknown,
        _ => StackChange::By(0),
    }
}

/// How much an ordinary load or store adds to its base register.
fn load_store_base_update(word: u32) -> Option<i64> {
    let field = |low: u32, bits: u32| super::signed_field(word, low, bits);
    if is_pair(word) {
        let scale = match (word >> 26 & 1, word >> 30) {
            (0, 0 | 1) => 4,
            (0, _) => 8,
            (_, size) => 4_i64.wrapping_shl(size),
        };
        return Some(if word >> 23 & 1 == 1 { field(15, 7).wrapping_mul(scale) } else { 0 });
    }
    is_single(word).then(|| if is_indexed(word) { field(12, 9) } else { 0 })
}

fn load_store(word: u32) -> Effects {
    let (base, first, second) = (word >> 5 & 31, word & 31, word >> 10 & 31);
    let vector = word >> 26 & 1 == 1;
    let (loads, size, registers, updates) = if is_pair(word) {
        let size = match (vector, word >> 30) {
            (false, 0 | 1) => 8,
            (false, _) => 16,
            (true, size) => 8_u64.wrapping_shl(size),
        };
        (word >> 22 & 1 == 1, size, bit(first) | bit(second), word >> 23 & 1 == 1)
    } else if is_single(word) {
        let opcode = word >> 22 & 3;
        let (loads, size) = match (vector, word >> 30, opcode) {
            // opc 2 and 3 with size 0 are the 128-bit vector forms.
            (true, 0, 2 | 3) => (opcode == 3, 16),
            (_, size, _) => (opcode != 0, 1_u64.wrapping_shl(size)),
        };
        (loads, size, bit(first), is_indexed(word))
    } else {
        return Effects::ALL;
    };
    let written = if loads { registers } else { 0 };
    let base_written = if updates { bit(base) & REGISTERS } else { 0 };
    Effects {
        integers: base_written | if vector { 0 } else { written & REGISTERS },
        vectors: if vector { written } else { 0 },
        memory: match (loads, stack_offset(word)) {
            (true, _) => MemoryWrite::None,
            (false, Some(offset)) => MemoryWrite::Stack { offset, size },
            (false, None) => MemoryWrite::Elsewhere,
        },
    }
}

/// Load/store pair, without the tag-storing and sign-extending oddities.
fn is_pair(word: u32) -> bool {
    word & 0x3a00_0000 == 0x2800_0000 && word >> 30 != 3 && (word >> 26 & 1 == 1 || word >> 30 != 1)
}

/// Load/store of one register with an immediate or a register offset; not the atomics among them.
fn is_single(word: u32) -> bool {
    let unsigned_offset = word & 0x3b00_0000 == 0x3900_0000;
    let signed_offset = word & 0x3b20_0000 == 0x3800_0000;
    let register_offset = word & 0x3b20_0c00 == 0x3820_0800;
    unsigned_offset || signed_offset || register_offset
}

/// Whether a load/store of one register writes its base back.
fn is_indexed(word: u32) -> bool {
    word & 0x3b20_0400 == 0x3800_0400
}

/// Where an ordinary store lies above the stack pointer, if that is its base.
fn stack_offset(word: u32) -> Option<i64> {
    if word >> 5 & 31 != STACK_POINTER {
        return None;
    }
    let field = |low: u32, bits: u32| super::signed_field(word, low, bits);
    if is_pair(word) {
        let scale = match (word >> 26 & 1, word >> 30) {
            (0, _) => {
                if word >> 31 == 1 {
                    8
                } else {
                    4
                }
            }
            (_, size) => 4_i64.wrapping_shl(size),
        };
        // Post-indexed: at the base itself.
        return Some(if word >> 23 & 3 == 1 { 0 } else { field(15, 7).wrapping_mul(scale) });
    }
    match word & 0x3b20_0c00 {
        _ if word & 0x3b00_0000 == 0x3900_0000 => {
            let quad = word >> 26 & 1 == 1 && word >> 30 == 0 && word >> 23 & 1 == 1;
            let shift = if quad { 4 } else { word >> 30 };
            Some(i64::from(word >> 10 & 0xfff).wrapping_shl(shift))
        }
        0x3800_0400 => Some(0),
        0x3800_0000 | 0x3800_0800 | 0x3800_0c00 => Some(field(12, 9)),
        _ => None,
    }
}

fn integer(word: u32) -> Effects {
    Effects { integers: bit(word & 31) & REGISTERS, ..Effects::NONE }
}

fn vector(word: u32) -> Effects {
    Effects { vectors: bit(word & 31), ..Effects::NONE }
}

fn bit(register: u32) -> u32 {
    1_u32.wrapping_shl(register)
}
