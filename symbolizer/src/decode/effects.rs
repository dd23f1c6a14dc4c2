//! What an instruction writes, in the terms that both architectures share.

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
}
