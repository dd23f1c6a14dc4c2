//! BPF instructions, decoded as far as the checks need them.
//!
//! The encoding is that of Linux `Documentation/bpf/standardization/instruction-set.rst` (v6.18), little-endian.

/// The bytes of one instruction slot.
pub const SLOT: usize = 8;

/// The frame pointer's register number.
pub const FRAME_POINTER: u8 = 10;

/// How many registers there are, the frame pointer included.
pub const REGISTERS: usize = 11;

/// One slot. A load of a 64-bit constant takes two; the second has opcode 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and operand kind.
    pub opcode: u8,
    /// The destination register, 0 to 15 (the kernel refuses those above 10).
    pub dst: u8,
    /// The source register, or what kind of call this is.
    pub src: u8,
    /// Bytes for memory operands, slots for jumps.
    pub offset: i16,
    /// The constant operand.
    pub immediate: i32,
}

/// The lowest three bits of an opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Loads of constants, and the old packet loads.
    Ld,
    /// Loads from memory.
    Ldx,
    /// Stores of constants.
    St,
    /// Stores of registers, and atomic operations.
    Stx,
    /// 32-bit arithmetic.
    Alu,
    /// Jumps with 64-bit comparison, calls and exit.
    Jmp,
    /// Jumps with 32-bit comparison.
    Jmp32,
    /// 64-bit arithmetic.
    Alu64,
}

impl Instruction {
    /// Splits machine code into slots, or `None` if its length is no multiple of [`SLOT`].
    pub fn decode_all(code: &[u8]) -> Option<Vec<Self>> {
        let (slots, rest) = code.as_chunks::<SLOT>();
        rest.is_empty().then(|| slots.iter().copied().map(Self::decode).collect())
    }

    fn decode([opcode, registers, o0, o1, i0, i1, i2, i3]: [u8; SLOT]) -> Self {
        Self {
            opcode,
            dst: registers & 0x0f,
            src: registers >> 4,
            offset: i16::from_le_bytes([o0, o1]),
            immediate: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    /// The class of the operation.
    pub fn class(self) -> Class {
        match self.opcode & 0x07 {
            0 => Class::Ld,
            1 => Class::Ldx,
            2 => Class::St,
            3 => Class::Stx,
            4 => Class::Alu,
            5 => Class::Jmp,
            6 => Class::Jmp32,
            _ => Class::Alu64,
        }
    }

    /// The operation of an arithmetic or jump instruction: the upper four bits.
    pub fn operation(self) -> u8 {
        self.opcode & 0xf0
    }

    /// Whether the second operand of an arithmetic instruction is a register.
    pub fn takes_register(self) -> bool {
        self.opcode & 0x08 != 0
    }

    /// Whether a load or store moves eight bytes, as saving a pointer does.
    pub fn is_eight_bytes_wide(self) -> bool {
        self.opcode & 0x18 == 0x18
    }

    /// Whether this is an atomic operation on memory.
    pub fn is_atomic(self) -> bool {
        self.class() == Class::Stx && self.opcode & 0xe0 == 0xc0
    }

    /// Whether this is the first slot of a load of a 64-bit constant.
    pub fn is_wide(self) -> bool {
        self.opcode == 0x18
    }

    /// Whether this ends the function.
    pub fn is_exit(self) -> bool {
        self.opcode == 0x95
    }

    /// Whether this is a call of any kind.
    pub fn is_call(self) -> bool {
        self.opcode == 0x85 || self.is_indirect_call()
    }

    /// Whether this calls an address in a register, so that what it calls is unknown.
    pub fn is_indirect_call(self) -> bool {
        self.opcode == 0x8d
    }

    /// The number of the kernel helper that this calls, if it calls one.
    pub fn helper(self) -> Option<i32> {
        (self.opcode == 0x85 && self.src == 0).then_some(self.immediate)
    }

    /// How many slots away from the next one the function is that this calls, if it calls one of the object's.
    pub fn called(self) -> Option<i64> {
        // BPF_PSEUDO_CALL (include/uapi/linux/bpf.h).
        (self.opcode == 0x85 && self.src == 1).then_some(i64::from(self.immediate))
    }

    /// How many slots a jump skips counted from the next one, if it is a jump, and whether it may also fall through.
    pub fn jump(self) -> Option<(i64, bool)> {
        match (self.class(), self.operation()) {
            (Class::Jmp, 0x80 | 0x90) => None, // call, exit
            (Class::Jmp, 0x00) => Some((i64::from(self.offset), false)),
            (Class::Jmp32, 0x00) => Some((i64::from(self.immediate), false)),
            (Class::Jmp | Class::Jmp32, _) => Some((i64::from(self.offset), true)),
            _ => None,
        }
    }
}
