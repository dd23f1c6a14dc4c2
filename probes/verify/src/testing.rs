//! Makes BPF instructions by hand, for tests.

use crate::instruction::Instruction;

const fn make(opcode: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { opcode, dst, src, offset, immediate }
}

pub(crate) fn mov(dst: u8, src: u8) -> Instruction {
    make(0xbf, dst, src, 0, 0)
}

pub(crate) fn mov_constant(dst: u8, immediate: i32) -> Instruction {
    make(0xb7, dst, 0, 0, immediate)
}

pub(crate) fn add(dst: u8, immediate: i32) -> Instruction {
    make(0x07, dst, 0, 0, immediate)
}

pub(crate) fn add_register(dst: u8, src: u8) -> Instruction {
    make(0x0f, dst, src, 0, 0)
}

pub(crate) fn sub(dst: u8, immediate: i32) -> Instruction {
    make(0x17, dst, 0, 0, immediate)
}

pub(crate) fn sub_register(dst: u8, src: u8) -> Instruction {
    make(0x1f, dst, src, 0, 0)
}

/// `*(u64 *)(dst + offset) = src`
pub(crate) fn store(dst: u8, offset: i16, src: u8) -> Instruction {
    make(0x7b, dst, src, offset, 0)
}

/// `*(u64 *)(dst + offset) = 0`
pub(crate) fn store_constant(dst: u8, offset: i16) -> Instruction {
    make(0x7a, dst, 0, offset, 0)
}

/// `dst = *(u64 *)(src + offset)`
pub(crate) fn load(dst: u8, src: u8, offset: i16) -> Instruction {
    make(0x79, dst, src, offset, 0)
}

/// `dst = 0 ll`
pub(crate) fn load_constant(dst: u8) -> [Instruction; 2] {
    [make(0x18, dst, 0, 0, 0), make(0, 0, 0, 0, 0)]
}

/// `lock *(u64 *)(r1 + 0) += r2`, or with another operation
pub(crate) fn atomic(operation: i32) -> Instruction {
    make(0xdb, 1, 2, 0, operation)
}

pub(crate) fn call(helper: i32) -> Instruction {
    make(0x85, 0, 0, 0, helper)
}

pub(crate) fn call_register(register: u8) -> Instruction {
    make(0x8d, register, 0, 0, 0)
}

pub(crate) fn jump(slots: i16) -> Instruction {
    make(0x05, 0, 0, slots, 0)
}

pub(crate) fn jump_if_zero(register: u8, slots: i16) -> Instruction {
    make(0x15, register, 0, slots, 0)
}

pub(crate) fn exit() -> Instruction {
    make(0x95, 0, 0, 0, 0)
}

/// The machine code of `code`.
pub(crate) fn encode(code: &[Instruction]) -> Vec<u8> {
    code.iter()
        .flat_map(|i| {
            let [o0, o1] = i.offset.to_le_bytes();
            let [i0, i1, i2, i3] = i.immediate.to_le_bytes();
            [i.opcode, i.src << 4 | i.dst, o0, o1, i0, i1, i2, i3]
        })
        .collect()
}
