//! The registers that Go's ABI gives a meaning ("Architecture specifics" in abi-internal.md).

use super::Place;
use crate::Architecture;

/// A processor register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// The assembler's name, without `%`.
    pub name: &'static str,
    /// The number in instruction encodings: on x86-64 `rax` is 0, `rcx` 1, `rdx` 2, `rbx` 3, `rsp` 4.
    pub number: u8,
}

/// The registers of Go's ABI on one architecture.
#[derive(Debug)]
pub struct Registers {
    /// For integers and pointers, in the order of assignment.
    pub integers: &'static [Register],
    /// For floating-point values, in the order of assignment.
    pub floats: &'static [Register],
    /// Points to the closure object at the entry of a closure.
    pub closure_context: Register,
    /// Points to the running goroutine's `runtime.g`.
    pub goroutine: Register,
    /// Holds the return address at the entry; `None` where it lies on the stack.
    pub link: Option<Register>,
}

impl Registers {
    /// Those of `architecture`.
    pub fn of(architecture: Architecture) -> &'static Self {
        match architecture {
            Architecture::X86_64 => &X86_64,
            Architecture::Aarch64 => &AARCH64,
        }
    }

    /// The register that a place names; `None` for the stack and for an index past the sequence.
    pub fn at(&self, place: Place) -> Option<Register> {
        match place {
            Place::IntegerRegister(index) => self.integers.get(usize::from(index)).copied(),
            Place::FloatRegister(index) => self.floats.get(usize::from(index)).copied(),
            Place::ClosureContext => Some(self.closure_context),
            Place::Stack(_) => None,
        }
    }
}

const fn register(name: &'static str, number: u8) -> Register {
    Register { name, number }
}

static X86_64: Registers = Registers {
    integers: &[
        register("rax", 0),
        register("rbx", 3),
        register("rcx", 1),
        register("rdi", 7),
        register("rsi", 6),
        register("r8", 8),
        register("r9", 9),
        register("r10", 10),
        register("r11", 11),
    ],
    floats: &[
        register("xmm0", 0),
        register("xmm1", 1),
        register("xmm2", 2),
        register("xmm3", 3),
        register("xmm4", 4),
        register("xmm5", 5),
        register("xmm6", 6),
        register("xmm7", 7),
        register("xmm8", 8),
        register("xmm9", 9),
        register("xmm10", 10),
        register("xmm11", 11),
        register("xmm12", 12),
        register("xmm13", 13),
        register("xmm14", 14),
    ],
    closure_context: register("rdx", 2),
    goroutine: register("r14", 14),
    link: None,
};

static AARCH64: Registers = Registers {
    integers: &[
        register("x0", 0),
        register("x1", 1),
        register("x2", 2),
        register("x3", 3),
        register("x4", 4),
        register("x5", 5),
        register("x6", 6),
        register("x7", 7),
        register("x8", 8),
        register("x9", 9),
        register("x10", 10),
        register("x11", 11),
        register("x12", 12),
        register("x13", 13),
        register("x14", 14),
        register("x15", 15),
    ],
    floats: &[
        register("d0", 0),
        register("d1", 1),
        register("d2", 2),
        register("d3", 3),
        register("d4", 4),
        register("d5", 5),
        register("d6", 6),
        register("d7", 7),
        register("d8", 8),
        register("d9", 9),
        register("d10", 10),
        register("d11", 11),
        register("d12", 12),
        register("d13", 13),
        register("d14", 14),
        register("d15", 15),
    ],
    closure_context: register("x26", 26),
    goroutine: register("x28", 28),
    link: Some(register("x30", 30)),
};
