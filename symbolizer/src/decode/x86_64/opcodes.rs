//! The kernel's tables of opcodes that a uprobe may sit on (arch/x86/kernel/uprobes.c, unchanged since 4.x).

/// What follows the legacy and REX prefixes.
pub(super) struct Opcode<'a> {
    /// From the first opcode byte to the end of the instruction.
    pub(super) bytes: &'a [u8],
    /// Whether a `lock` or one of the segment prefixes `es`, `cs`, `ss`, `ds` stands before it (`is_prefix_bad`).
    pub(super) refused_prefix: bool,
}

pub(super) fn after_prefixes(mut bytes: &[u8]) -> Opcode<'_> {
    let mut refused_prefix = false;
    while let [prefix, rest @ ..] = bytes {
        match prefix {
            0xf0 | 0x26 | 0x2e | 0x36 | 0x3e => refused_prefix = true,
            0x66 | 0x67 | 0xf2 | 0xf3 | 0x64 | 0x65 | 0x40..=0x4f => {}
            _ => break,
        }
        bytes = rest;
    }
    Opcode { bytes, refused_prefix }
}

/// The zeros of `good_insns_64`.
pub(super) fn is_refused_one_byte(opcode: u8) -> bool {
    matches!(
        opcode,
        0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f | 0x27 | 0x2f | 0x37 | 0x3f
            | 0x60..=0x62
            | 0x6c..=0x6f
            | 0x82
            | 0x9a
            | 0xcc..=0xcf
            | 0xd4..=0xd6
            | 0xe4..=0xe7
            | 0xea
            | 0xec..=0xef
            | 0xf1
            | 0xf4
            | 0xfa
            | 0xfb
    )
}

/// The zeros of `good_2byte_insns`. The kernel looks here only if the first table refuses 0x0f, which it does not;
/// what the second table names (system calls, privileged instructions) is no place for a uprobe all the same.
pub(super) fn is_refused_two_byte(second: u8) -> bool {
    matches!(second, 0x00 | 0x01 | 0x05..=0x09 | 0x0b | 0x30 | 0x34 | 0x35 | 0x37 | 0x78 | 0x79 | 0xae)
}
