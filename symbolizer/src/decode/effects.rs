//! What an instruction writes, in the terms that both architectures share.

use crate::go_abi::{Place, Registers};

/// The registers and memory that an instruction writes. Every uncertainty counts as a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effects {
    /// General registers by their hardware number (`rax` 0, `rcx` 1, …, `r15` 15; `x0` 0 to `x30` 30), bit by bit.
    pub(crate) integers: u32,
    /// Vector registers by number.
    pub(crate) vectors: u32,
    /// Memory.
    pub(crate) memory: MemoryWrite,
}

/// Where an instruction writes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryWrite {
    /// Nowhere.
    None,
    /// From `offset` bytes above the stack pointer (as it is before the instruction), `size` bytes.
    Stack {
        /// In bytes.
        offset: i64,
        /// In bytes.
        size: u64,
    },
    /// Somewhere else, or somewhere unknown.
    Elsewhere,
}

/// How an instruction changes the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StackChange {
    /// By this many bytes; negative where the stack grows.
    By(i64),
    /// In a way that its bytes alone do not tell.
    Unknown,
}

impl Effects {
    /// Everything may have been written.
    pub(crate) const ALL: Self = Self { integers: !0, vectors: !0, memory: MemoryWrite::Elsewhere };
    /// Nothing is written.
    pub(crate) const NONE: Self = Self { integers: 0, vectors: 0, memory: MemoryWrite::None };

    /// Whether it may write the register of this number.
    pub(crate) fn writes_integer(&self, number: u8) -> bool {
        self.integers & 1_u32.checked_shl(number.into()).unwrap_or(!0) != 0
    }

    /// Whether it may write the place. For the stack any write to memory counts.
    pub(crate) fn overwrites(&self, place: Place, registers: &Registers) -> bool {
        let register = registers.at(place);
        match (place, register) {
            (Place::Stack(_), _) => self.memory != MemoryWrite::None,
            // A place that does not exist is never intact.
            (_, None) => true,
            (Place::FloatRegister(_), Some(register)) => {
                self.vectors & 1_u32.checked_shl(register.number.into()).unwrap_or(!0) != 0
            }
            (_, Some(register)) => self.writes_integer(register.number),
        }
    }
}
