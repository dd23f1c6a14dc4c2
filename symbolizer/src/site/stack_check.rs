//! The check at the start of most Go functions that the stack is large enough.
//!
//! Sources: `stacksplit` in cmd/internal/obj/x86/obj6.go and cmd/internal/obj/arm64/obj7.go, Go 1.21 to 1.27. Both have
//! three forms, for small, large and huge frames, and end in a conditional branch forward to the code that grows the
//! stack and then jumps back to the function's entry.

use iced_x86::{Code, Register};

use crate::Architecture;
use crate::decode::{Effects, Flow, Instruction, MemoryWrite, StackChange};
use crate::site::body::Body;

/// A stack check that stands at the entry.
#[derive(Clone, Copy)]
pub(super) struct StackCheck {
    /// Index of the conditional branch that ends it.
    pub(super) branch: usize,
    /// Index of the first instruction of the code that grows the stack.
    pub(super) growth: usize,
}

/// No form has more instructions than this.
const LONGEST: usize = 12;

pub(super) fn find(body: &Body<'_>) -> Option<StackCheck> {
    let mut compared = false;
    for (index, instruction) in body.instructions.iter().enumerate().take(LONGEST) {
        let part = match body.architecture {
            Architecture::X86_64 => x86_64(instruction)?,
            Architecture::Aarch64 => aarch64(instruction, index)?,
        };
        let growth = || match instruction.flow {
            Flow::Branch(target) if target >= instruction.end() => body.index_of(target),
            _ => None,
        };
        match part {
            Part::Preparation => {}
            Part::Comparison => compared = true,
            Part::Underflow => _ = growth()?,
            Part::Branch if compared => return growth().map(|growth| StackCheck { branch: index, growth }),
            Part::Branch => return None,
        }
    }
    None
}

enum Part {
    /// Loads the limit or computes the stack pointer to compare, in registers that carry no argument.
    Preparation,
    /// Compares with the limit.
    Comparison,
    /// Branches to the growth because the frame is larger than the address.
    Underflow,
    /// Branches to the growth because the stack is too small.
    Branch,
}

fn x86_64(instruction: &Instruction<'_>) -> Option<Part> {
    let decoded = instruction.x86_64()?;
    let (first, second) = (decoded.op0_register(), decoded.op1_register());
    let memory = (decoded.memory_base(), decoded.memory_index());
    match decoded.code() {
        // Assembly functions (ABI0) load g from thread-local storage first, position-independent ones in two steps.
        Code::Mov_r64_rm64 if first == Register::R14 && second == Register::None => Some(Part::Preparation),
        Code::Mov_rm64_imm32 if first == Register::R14 => Some(Part::Preparation),
        Code::Lea_r64_m if first == Register::R12 && memory == (Register::RSP, Register::None) => {
            Some(Part::Preparation)
        }
        Code::Mov_r64_rm64 | Code::Mov_rm64_r64 if first == Register::R12 && second == Register::RSP => {
            Some(Part::Preparation)
        }
        Code::Sub_rm64_imm32 | Code::Sub_rm64_imm8 if first == Register::R12 => Some(Part::Preparation),
        // g.stackguard0 or, for code on the system stack, g.stackguard1.
        Code::Cmp_r64_rm64
            if matches!(first, Register::RSP | Register::R12)
                && memory == (Register::R14, Register::None)
                && matches!(decoded.memory_displacement64(), 0x10 | 0x18) =>
        {
            Some(Part::Comparison)
        }
        Code::Jb_rel8_64 | Code::Jb_rel32_64 => Some(Part::Underflow),
        Code::Jbe_rel8_64 | Code::Jbe_rel32_64 => Some(Part::Branch),
        _ => None,
    }
}

/// The limit goes to x16, the computed stack pointer to x17, constants to x27; x28 is g.
fn aarch64(instruction: &Instruction<'_>, index: usize) -> Option<Part> {
    const SCRATCH: u32 = 1 << 16 | 1 << 17 | 1 << 27;
    let word = instruction.aarch64()?;
    match (index, word) {
        // ldr x16, [x28, #16 or #24]: g.stackguard0 or g.stackguard1.
        (0, 0xf940_0b90 | 0xf940_0f90) => Some(Part::Preparation),
        (0, _) => None,
        // cmp sp, x16; cmp x17, x16.
        (_, 0xeb30_63ff | 0xeb10_023f) => Some(Part::Comparison),
        // b.lo; b.ls.
        (_, word) if word & 0xff00_001f == 0x5400_0003 => Some(Part::Underflow),
        (_, word) if word & 0xff00_001f == 0x5400_0009 => Some(Part::Branch),
        // Data processing with an immediate, or of registers.
        (_, word) if word >> 26 & 7 == 0b100 || word >> 25 & 7 == 0b101 => {
            let Effects { integers, vectors, memory } = instruction.effects();
            let harmless = integers & !SCRATCH == 0 && vectors == 0 && memory == MemoryWrite::None;
            (harmless && instruction.stack_change() == StackChange::By(0)).then_some(Part::Preparation)
        }
        _ => None,
    }
}
