//! x86-64 instructions: decoded and printed by iced-x86, judged as the kernel's uprobes do.

mod effects;
mod opcodes;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Mnemonic};

use super::{DecodeError, Flow, Form, Instruction, Refusal, Step};
use crate::{Architecture, VirtualAddress};

pub(super) use effects::{effects, stack_change};

const MAX_LENGTH: usize = 15;

pub(super) fn decode(address: VirtualAddress, bytes: &[u8]) -> Result<Instruction<'_>, DecodeError> {
    let architecture = Architecture::X86_64;
    let window = bytes.get(..bytes.len().min(MAX_LENGTH)).unwrap_or_default();
    let mut decoder = Decoder::with_ip(64, window, address.0, DecoderOptions::NONE);
    let decoded = decoder.decode();
    if decoded.is_invalid() {
        return Err(match decoder.last_error() {
            iced_x86::DecoderError::NoMoreBytes if bytes.len() < MAX_LENGTH => {
                DecodeError::Truncated { architecture, address }
            }
            _ => DecodeError::Invalid { architecture, address },
        });
    }
    let bytes = bytes.get(..decoded.len()).ok_or(DecodeError::Truncated { architecture, address })?;
    Ok(Instruction {
        address,
        bytes,
        step: step(bytes, &decoded),
        flow: flow(&decoded),
        form: Form::X86_64(decoded),
    })
}

pub(super) fn text(instruction: &iced_x86::Instruction) -> String {
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}

fn flow(instruction: &iced_x86::Instruction) -> Flow {
    let target = VirtualAddress(instruction.near_branch_target());
    match instruction.flow_control() {
        FlowControl::UnconditionalBranch => Flow::Jump(instruction.is_jmp_short_or_near().then_some(target)),
        FlowControl::IndirectBranch => Flow::Jump(None),
        FlowControl::ConditionalBranch => Flow::Branch(target),
        FlowControl::Return => Flow::Return,
        FlowControl::Call if instruction.is_call_near() => Flow::Call(Some(target)),
        FlowControl::Call if instruction.is_call_far() => Flow::Call(None),
        FlowControl::IndirectCall => Flow::Call(None),
        FlowControl::Interrupt if instruction.mnemonic() == Mnemonic::Int => Flow::Next,
        FlowControl::Interrupt | FlowControl::Exception => Flow::Stop,
        FlowControl::XbeginXabortXend if instruction.mnemonic() == Mnemonic::Xbegin => Flow::Branch(target),
        // System calls come back to the next instruction.
        FlowControl::Next | FlowControl::Call | FlowControl::XbeginXabortXend => Flow::Next,
    }
}

/// Follows `arch_uprobe_analyze_insn` of arch/x86/kernel/uprobes.c as of Linux 5.10 to 6.18; where versions differ,
/// the strictest one.
fn step(bytes: &[u8], instruction: &iced_x86::Instruction) -> Step {
    match bytes {
        // `push_setup_xol_ops`: the only prefix allowed is a REX with nothing but B.
        [0x50..=0x57 | 0x90] | [0x41, 0x50..=0x57] => return Step::Emulated,
        [0xeb, 8] => return Step::Refused(Refusal::OptimisedProbeJump),
        // `branch_setup_xol_ops`.
        [0xe8 | 0xe9, _, _, _, _] | [0xeb | 0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => {
            return Step::Emulated;
        }
        _ => {}
    }
    match instruction.mnemonic() {
        Mnemonic::Nop => return Step::Refused(Refusal::MultiByteNop),
        Mnemonic::Int3 | Mnemonic::Int1 | Mnemonic::Int | Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => {
            return Step::Refused(Refusal::Exception);
        }
        Mnemonic::Syscall | Mnemonic::Sysenter => return Step::Refused(Refusal::Exception),
        // A transaction aborts at the single-step exception, and its abort address is relative to the copy.
        Mnemonic::Xbegin | Mnemonic::Xabort | Mnemonic::Xend => return Step::Refused(Refusal::Opcode),
        _ => {}
    }
    let opcode = opcodes::after_prefixes(bytes);
    if opcode.refused_prefix {
        return Step::Refused(Refusal::Prefix);
    }
    if instruction.is_string_instruction() && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
    {
        return Step::Refused(Refusal::Repeated);
    }
    match *opcode.bytes {
        [0x62 | 0xc4 | 0xc5, ..] => Step::Refused(Refusal::VectorEncoding),
        [0x8f, ..] if instruction.mnemonic() != Mnemonic::Pop => Step::Refused(Refusal::VectorEncoding),
        [0x90] if instruction.mnemonic() == Mnemonic::Xchg => Step::Refused(Refusal::DisguisedNop),
        [0xe8 | 0xe9 | 0xeb | 0x70..=0x7f, ..] | [0x0f, 0x80..=0x8f, ..] => {
            Step::Refused(Refusal::PrefixedBranch)
        }
        // `insn_masking_exception`: loading `ss` holds off the single-step exception.
        [0x8e, ..]
            if instruction.code() != Code::INVALID
                && instruction.op0_register() == iced_x86::Register::SS =>
        {
            Step::Refused(Refusal::Opcode)
        }
        [0x0f, second, ..] if opcodes::is_refused_two_byte(second) => Step::Refused(Refusal::Opcode),
        [0x0f, _, ..] => Step::Stepped,
        [first, ..] if !opcodes::is_refused_one_byte(first) => Step::Stepped,
        _ => Step::Refused(Refusal::Opcode),
    }
}
