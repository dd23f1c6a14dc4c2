//! arm64 instructions: the few classes that matter for probing, told apart by masks.
//!
//! Encodings: Arm Architecture Reference Manual for A-profile, chapter C4. What the kernel does with them:
//! arch/arm64/kernel/probes/decode-insn.c and arch/arm64/include/asm/insn.h, Linux 5.10 to 6.18.

mod effects;

use super::{DecodeError, Flow, Form, Instruction, Refusal, Step};
use crate::{Architecture, VirtualAddress};

pub(super) use effects::{effects, stack_change};

const LENGTH: usize = 4;

pub(super) fn decode(address: VirtualAddress, bytes: &[u8]) -> Result<Instruction<'_>, DecodeError> {
    let architecture = Architecture::Aarch64;
    if !address.0.is_multiple_of(LENGTH as u64) {
        return Err(DecodeError::Address { architecture, address });
    }
    let Some(bytes) = bytes.first_chunk::<LENGTH>() else {
        return Err(DecodeError::Truncated { architecture, address });
    };
    let word = u32::from_le_bytes(*bytes);
    let class = classify(word);
    Ok(Instruction {
        address,
        bytes,
        step: step(class),
        flow: flow(class, word, address),
        form: Form::Aarch64(word),
    })
}

/// Classes of instructions that flow or stepping tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    B,
    Bl,
    BCond,
    Cb,
    Tb,
    Br,
    Blr,
    Ret,
    AuthenticatedBr,
    AuthenticatedBlr,
    AuthenticatedRet,
    ExceptionReturn,
    Adr,
    Literal,
    Exclusive,
    MemoryCopy,
    Nop,
    SteppableHint,
    System,
    KernelCall,
    Trap,
    Unallocated,
    Other,
}

/// Mask, value, class; the first match decides.
const CLASSES: &[(u32, u32, Class)] = &[
    (0xfc00_0000, 0x1400_0000, Class::B),
    (0xfc00_0000, 0x9400_0000, Class::Bl),
    (0xff00_0010, 0x5400_0000, Class::BCond),
    (0x7e00_0000, 0x3400_0000, Class::Cb),
    (0x7e00_0000, 0x3600_0000, Class::Tb),
    (0xffff_fc1f, 0xd61f_0000, Class::Br),
    (0xffff_fc1f, 0xd63f_0000, Class::Blr),
    (0xffff_fc1f, 0xd65f_0000, Class::Ret),
    (0xffff_ffff, 0xd69f_03e0, Class::ExceptionReturn),
    (0xfeff_f800, 0xd61f_0800, Class::AuthenticatedBr),
    (0xfeff_f800, 0xd63f_0800, Class::AuthenticatedBlr),
    (0xffff_fbff, 0xd65f_0bff, Class::AuthenticatedRet),
    // Anything else among the unconditional branches to a register.
    (0xfe00_0000, 0xd600_0000, Class::ExceptionReturn),
    (0x1f00_0000, 0x1000_0000, Class::Adr),
    (0x3b00_0000, 0x1800_0000, Class::Literal),
    (0x3f80_0000, 0x0800_0000, Class::Exclusive),
    (0x3b20_0c00, 0x1900_0400, Class::MemoryCopy),
    (0xffff_ffff, 0xd503_201f, Class::Nop),
    // xpaclri, pacia1716, pacib1716, paciaz, paciasp, pacibz, pacibsp, then bti in its four forms.
    (0xffff_ffff, 0xd503_20ff, Class::SteppableHint),
    (0xffff_ffff, 0xd503_211f, Class::SteppableHint),
    (0xffff_ffff, 0xd503_215f, Class::SteppableHint),
    (0xffff_ff9f, 0xd503_231f, Class::SteppableHint),
    (0xffff_ffbf, 0xd503_233f, Class::SteppableHint),
    (0xffff_ffff, 0xd503_237f, Class::SteppableHint),
    (0xffff_ff3f, 0xd503_241f, Class::SteppableHint),
    (0xffff_f01f, 0xd503_201f, Class::System),
    // msr (immediate), msr (register), mrs; the kernel lets most mrs be stepped, but not all.
    (0xfff8_f01f, 0xd500_401f, Class::System),
    (0xffd0_0000, 0xd510_0000, Class::System),
    // svc, hvc, smc come back; brk, hlt, dcps do not.
    (0xffe0_001c, 0xd400_0000, Class::KernelCall),
    (0xff00_0000, 0xd400_0000, Class::Trap),
    (0xffff_0000, 0x0000_0000, Class::Trap),
    // The remainder of the branch group, bc.cond among it, which the kernel knows nothing of.
    (0xff00_0010, 0x5400_0010, Class::System),
    // op0 = 0001, 0011.
    (0x1a00_0000, 0x0200_0000, Class::Unallocated),
];

fn classify(word: u32) -> Class {
    CLASSES.iter().find(|(mask, value, _)| word & mask == *value).map_or(Class::Other, |(.., class)| *class)
}

fn step(class: Class) -> Step {
    match class {
        Class::B
        | Class::Bl
        | Class::BCond
        | Class::Cb
        | Class::Tb
        | Class::Br
        | Class::Blr
        | Class::Ret
        | Class::Adr => Step::Emulated,
        // Linux 6.13 began to simulate `nop`.
        Class::Nop | Class::SteppableHint | Class::Other => Step::Stepped,
        Class::AuthenticatedBr | Class::AuthenticatedBlr | Class::AuthenticatedRet => {
            Step::Refused(Refusal::AuthenticatedBranch)
        }
        Class::Literal => Step::Refused(Refusal::Literal),
        Class::Exclusive => Step::Refused(Refusal::Exclusive),
        Class::MemoryCopy => Step::Refused(Refusal::MemoryCopy),
        Class::System | Class::ExceptionReturn => Step::Refused(Refusal::System),
        Class::KernelCall | Class::Trap => Step::Refused(Refusal::Exception),
        Class::Unallocated => Step::Refused(Refusal::Unallocated),
    }
}

fn flow(class: Class, word: u32, address: VirtualAddress) -> Flow {
    let target = |low: u32, bits: u32| relative(address, signed_field(word, low, bits).wrapping_mul(4));
    match class {
        Class::B => Flow::Jump(Some(target(0, 26))),
        Class::Bl => Flow::Call(Some(target(0, 26))),
        Class::BCond | Class::Cb => Flow::Branch(target(5, 19)),
        Class::Tb => Flow::Branch(target(5, 14)),
        Class::Br | Class::AuthenticatedBr | Class::ExceptionReturn => Flow::Jump(None),
        Class::Blr | Class::AuthenticatedBlr => Flow::Call(None),
        Class::Ret | Class::AuthenticatedRet => Flow::Return,
        Class::Trap | Class::Unallocated => Flow::Stop,
        // bc.cond is a branch too.
        Class::System if word & 0xff00_0010 == 0x5400_0010 => Flow::Branch(target(5, 19)),
        _ => Flow::Next,
    }
}

/// The bytes that a literal load reads: address and size.
pub(super) fn literal(word: u32, address: VirtualAddress) -> Option<(VirtualAddress, u64)> {
    if classify(word) != Class::Literal {
        return None;
    }
    let size = match (word >> 30, word >> 26 & 1) {
        (0, _) | (2, 0) => 4,
        (2, _) => 16,
        _ => 8,
    };
    Some((relative(address, signed_field(word, 5, 19).wrapping_mul(4)), size))
}

pub(super) fn text(word: u32, address: VirtualAddress) -> String {
    const CONDITIONS: [&str; 16] =
        ["eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"];
    let class = classify(word);
    let (register, base) = (word & 31, word >> 5 & 31);
    let target = match flow(class, word, address) {
        Flow::Jump(Some(target)) | Flow::Branch(target) | Flow::Call(Some(target)) => target,
        _ => VirtualAddress(0),
    };
    let wide = |wide: bool| if wide { 'x' } else { 'w' };
    match class {
        Class::B => format!("b {target}"),
        Class::Bl => format!("bl {target}"),
        Class::BCond => {
            let condition = CONDITIONS.get((word & 15) as usize).copied().unwrap_or_default();
            format!("b.{condition} {target}")
        }
        Class::Cb => {
            let name = if word >> 24 & 1 == 0 { "cbz" } else { "cbnz" };
            format!("{name} {}{}, {target}", wide(word >> 31 == 1), number(register))
        }
        Class::Tb => {
            let name = if word >> 24 & 1 == 0 { "tbz" } else { "tbnz" };
            let bit = (word >> 31) << 5 | (word >> 19 & 31);
            format!("{name} {}{}, #{bit}, {target}", wide(word >> 31 == 1), number(register))
        }
        Class::Br => format!("br x{}", number(base)),
        Class::Blr => format!("blr x{}", number(base)),
        Class::Ret if base == 30 => "ret".to_owned(),
        Class::Ret => format!("ret x{}", number(base)),
        Class::Nop => "nop".to_owned(),
        Class::Adr => {
            let offset = signed_field(word, 5, 19).wrapping_mul(4) | i64::from(word >> 29 & 3);
            if word >> 31 == 0 {
                format!("adr x{}, {}", number(register), relative(address, offset))
            } else {
                let page = VirtualAddress(address.0 & !0xfff);
                format!("adrp x{}, {}", number(register), relative(page, offset.wrapping_mul(0x1000)))
            }
        }
        Class::Literal => {
            let (literal, _) = literal(word, address).unwrap_or_default();
            match (word >> 30, word >> 26 & 1) {
                (3, 0) => format!("prfm #{register}, {literal}"),
                (2, 0) => format!("ldrsw x{}, {literal}", number(register)),
                (size, 0) => format!("ldr {}{}, {literal}", wide(size == 1), number(register)),
                (size, _) => {
                    let width = ['s', 'd', 'q'].get(size as usize).copied().unwrap_or('?');
                    format!("ldr {width}{register}, {literal}")
                }
            }
        }
        _ => format!(".word {word:#010x}"),
    }
}

/// Register 31 is the zero register in all the printed classes.
fn number(register: u32) -> String {
    if register == 31 { "zr".to_owned() } else { register.to_string() }
}

fn signed_field(word: u32, low: u32, bits: u32) -> i64 {
    let unused = 32_u32.saturating_sub(bits);
    let raised = word.wrapping_shl(unused.saturating_sub(low)).cast_signed();
    i64::from(raised.wrapping_shr(unused))
}

/// Branch targets wrap around the address space, as the processor's do.
fn relative(address: VirtualAddress, offset: i64) -> VirtualAddress {
    VirtualAddress(address.0.wrapping_add_signed(offset))
}
