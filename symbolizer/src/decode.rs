//! The instructions of a function, and how the kernel steps over a uprobe on each.
//!
//! A uprobe replaces the first bytes of an instruction with a breakpoint. The kernel then either *emulates* the
//! instruction inside that one exception, or executes a copy elsewhere (XOL, "execute out of line") and takes a second
//! exception, which costs some thirty times as much in a virtual machine. Some instructions it refuses, and some it
//! accepts although stepping them goes wrong: both are [`Step::Refused`] here.

mod aarch64;
mod effects;
mod x86_64;

use thiserror::Error;

use crate::{Architecture, VirtualAddress};

pub(crate) use effects::{Effects, MemoryWrite, StackChange};

/// Decodes `bytes`, which lie at `address`, one instruction after the other.
///
/// The iterator ends after the last instruction or after the first error: on x86-64 nothing behind undecodable bytes
/// is known to be an instruction boundary. Only whole instructions are returned.
pub fn instructions(architecture: Architecture, address: VirtualAddress, bytes: &[u8]) -> Instructions<'_> {
    Instructions { architecture, address, bytes }
}

/// Iterator of [`instructions`].
#[derive(Clone, Debug)]
pub struct Instructions<'a> {
    architecture: Architecture,
    address: VirtualAddress,
    bytes: &'a [u8],
}

/// One decoded instruction.
#[derive(Clone, Copy, Debug)]
pub struct Instruction<'a> {
    /// Where its first byte lies.
    pub address: VirtualAddress,
    /// Its bytes: 1 to 15 on x86-64, 4 on arm64.
    pub bytes: &'a [u8],
    /// How the kernel steps over a uprobe on it.
    pub step: Step,
    /// Which instruction can run next.
    pub flow: Flow,
    form: Form,
}

/// How the kernel steps over a uprobe on an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// In the breakpoint's own exception, on every kernel from 5.10 on.
    Emulated,
    /// By executing a copy elsewhere and taking a second exception.
    Stepped,
    /// Not at all, or not safely: never place a uprobe here.
    Refused(Refusal),
}

/// Why no uprobe may be placed on an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// x86-64: Linux 6.18 replaces 5-byte nops by a call that overwrites the red zone; newer kernels use 10-byte ones.
    #[error("a multi-byte nop, which newer kernels overwrite with a call")]
    MultiByteNop,
    /// x86-64: `jmp` over 8 bytes is how a proposed kernel change marks a removed 10-byte optimised probe.
    #[error("a jump over 8 bytes, which a kernel can take for a removed optimised probe")]
    OptimisedProbeJump,
    /// x86-64: `xchg` of `rax` with `r8` has the opcode 0x90, which older kernels emulate as a nop.
    #[error("an xchg that older kernels take for a nop")]
    DisguisedNop,
    /// x86-64: `is_prefix_bad` in arch/x86/kernel/uprobes.c.
    #[error("a lock or segment prefix, which the kernel refuses")]
    Prefix,
    /// x86-64: the kernel refuses an operand-size prefix here; other prefixes are not worth the doubt.
    #[error("a branch with a prefix")]
    PrefixedBranch,
    /// x86-64: the kernel looks a VEX, EVEX or XOP opcode up in the table of one-byte opcodes, and would even
    /// emulate `vpshufd` (0x70) as a conditional jump.
    #[error("a vector-extended encoding, which the kernel confuses with another opcode")]
    VectorEncoding,
    /// x86-64: every iteration of a repeated string instruction would hit the uprobe again.
    #[error("a repeated string instruction")]
    Repeated,
    /// x86-64: `good_insns_64` and `good_2byte_insns` in arch/x86/kernel/uprobes.c, and what holds off exceptions.
    #[error("an opcode that the kernel refuses")]
    Opcode,
    /// The instruction traps by itself or enters the kernel.
    #[error("an instruction that raises an exception")]
    Exception,
    /// arm64: simulated only before Linux 6.12, and wrongly: with the kernel's access rights.
    #[error("a load from a PC-relative address")]
    Literal,
    /// arm64: an exception between an exclusive load and its store makes the store fail.
    #[error("an exclusive access")]
    Exclusive,
    /// arm64: the three parts of a memory copy must lie side by side.
    #[error("a memory copy or set instruction")]
    MemoryCopy,
    /// arm64: system registers, and hints that the kernel does not list as safe.
    #[error("a system instruction or unknown hint")]
    System,
    /// arm64: branches with pointer authentication are not simulated.
    #[error("a branch with pointer authentication")]
    AuthenticatedBranch,
    /// arm64: no instruction has this encoding.
    #[error("an unallocated encoding")]
    Unallocated,
}

/// Which instruction can run after one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The one behind it.
    Next,
    /// The target only; `None` if it is in a register or in memory.
    Jump(Option<VirtualAddress>),
    /// The one behind it or the target.
    Branch(VirtualAddress),
    /// The target (`None` as for a jump), and the one behind it on return.
    Call(Option<VirtualAddress>),
    /// The caller's.
    Return,
    /// None: it traps.
    Stop,
}

/// Why bytes are not instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are no instruction.
    #[error("decoding {architecture} code: the bytes at {address} are no instruction")]
    Invalid {
        /// Architecture decoded for.
        architecture: Architecture,
        /// First byte of the non-instruction.
        address: VirtualAddress,
    },
    /// The bytes end inside an instruction.
    #[error("decoding {architecture} code: the bytes end inside the instruction at {address}")]
    Truncated {
        /// Architecture decoded for.
        architecture: Architecture,
        /// First byte of the instruction.
        address: VirtualAddress,
    },
    /// arm64 instructions lie at multiples of 4, and no code lies at the end of the address space.
    #[error("decoding {architecture} code: no instruction can lie at {address}")]
    Address {
        /// Architecture decoded for.
        architecture: Architecture,
        /// The impossible address.
        address: VirtualAddress,
    },
}

/// What the decoder of the architecture made of the bytes.
#[derive(Clone, Copy, Debug)]
enum Form {
    X86_64(iced_x86::Instruction),
    Aarch64(u32),
}

impl Instruction<'_> {
    /// The address behind the instruction.
    pub fn end(&self) -> VirtualAddress {
        // The iterator returns no instruction whose end would overflow.
        VirtualAddress(self.address.0.wrapping_add(self.bytes.len() as u64))
    }

    /// The instruction as text: GNU assembler syntax on x86-64; on arm64 branches, `nop`, `adr`, `adrp` and literal
    /// loads in Arm syntax and everything else as `.word`.
    pub fn text(&self) -> String {
        match &self.form {
            Form::X86_64(instruction) => x86_64::text(instruction),
            Form::Aarch64(word) => aarch64::text(*word, self.address),
        }
    }

    /// The registers and memory it writes, never fewer than it does.
    pub(crate) fn effects(&self) -> Effects {
        match &self.form {
            Form::X86_64(instruction) => x86_64::effects(instruction),
            Form::Aarch64(word) => aarch64::effects(*word),
        }
    }

    /// How it changes the stack pointer; a call counts as balanced by its return.
    pub(crate) fn stack_change(&self) -> StackChange {
        match &self.form {
            Form::X86_64(instruction) => x86_64::stack_change(instruction),
            Form::Aarch64(word) => aarch64::stack_change(*word),
        }
    }

    /// Whether Go may run it twice: where a goroutine is preempted within instructions that share the assembler's own register, which
    /// preemption does not keep, it goes on at the first of them (cmd/internal/obj/arm64/asm7.go: `isRestartable`). Of those that the
    /// kernel emulates `adr` and `adrp` begin so.
    pub(crate) fn may_run_twice(&self) -> bool {
        const ASSEMBLERS_OWN: u32 = 27;
        self.aarch64().is_some_and(|word| word & 0x1f00_0000 == 0x1000_0000 && word & 31 == ASSEMBLERS_OWN)
    }

    /// The x86-64 instruction with its operands.
    pub(crate) fn x86_64(&self) -> Option<&iced_x86::Instruction> {
        match &self.form {
            Form::X86_64(instruction) => Some(instruction),
            Form::Aarch64(_) => None,
        }
    }

    /// The arm64 instruction word.
    pub(crate) fn aarch64(&self) -> Option<u32> {
        match self.form {
            Form::X86_64(_) => None,
            Form::Aarch64(word) => Some(word),
        }
    }

    /// arm64: the bytes in the code that a literal load reads, as data.
    pub(crate) fn literal(&self) -> Option<(VirtualAddress, u64)> {
        aarch64::literal(self.aarch64()?, self.address)
    }
}

impl<'a> Iterator for Instructions<'a> {
    type Item = Result<Instruction<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let decoded = match self.architecture {
            Architecture::X86_64 => x86_64::decode(self.address, self.bytes),
            Architecture::Aarch64 => aarch64::decode(self.address, self.bytes),
        };
        let next = decoded.and_then(|instruction| {
            let (architecture, address) = (self.architecture, self.address);
            let end = address.checked_add(instruction.bytes.len() as u64);
            end.map(|end| (instruction, end)).ok_or(DecodeError::Address { architecture, address })
        });
        match next {
            Ok((instruction, end)) => {
                self.bytes = self.bytes.get(instruction.bytes.len()..).unwrap_or_default();
                self.address = end;
                Some(Ok(instruction))
            }
            Err(error) => {
                self.bytes = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
