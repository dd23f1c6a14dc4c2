//! Calls through interfaces and closures, and what the instructions right before them tell.

use iced_x86::{Mnemonic, OpKind};

use crate::decode::{Flow, Instruction};
use crate::go_abi::Registers;
use crate::site::IndirectCall;
use crate::site::body::Body;

/// So many instructions before a call are looked at.
const PRELUDE: usize = 32;

pub(super) fn all(body: &Body<'_>) -> Vec<IndirectCall> {
    let calls = body.instructions.iter().enumerate().filter(|(_, call)| call.flow == Flow::Call(None));
    calls.map(|(index, call)| describe(body, index, call)).collect()
}

fn describe(body: &Body<'_>, index: usize, call: &Instruction<'_>) -> IndirectCall {
    let (mut callee, mut itab_offset) = match callee(call) {
        Some(Callee::Register(register)) => (Some(register), None),
        Some(Callee::Memory(offset)) => (None, Some(offset)),
        None => (None, None),
    };
    let target = callee;
    let mut arguments = 0;
    let mut at = index;
    for _ in 0..PRELUDE {
        // On the one way that leads to the call: nothing jumps in between, and what comes before falls through.
        let Some(this) = body.instructions.get(at) else { break };
        if !body.branches_into(this.address..this.end()).is_empty() {
            break;
        }
        let Some(before) = at.checked_sub(1) else { break };
        let Some(instruction) = body.instructions.get(before) else { break };
        if instruction.flow != Flow::Next || body.falls_to(before) != Some(at) {
            break;
        }
        let effects = instruction.effects();
        if let Some(register) = callee
            && effects.writes_integer(register)
        {
            callee = moved(instruction, register);
            if callee.is_none() {
                itab_offset = loaded(instruction, register);
            }
        }
        for (bit, register) in Registers::of(body.architecture).integers.iter().enumerate() {
            if target != Some(register.number) && effects.writes_integer(register.number) {
                arguments |= 1 << bit;
            }
        }
        at = before;
    }
    IndirectCall {
        address: call.address,
        return_address: call.end(),
        text: call.text(),
        itab_offset,
        arguments,
    }
}

enum Callee {
    /// The callee's address is in the register of this hardware number.
    Register(u8),
    /// It is in memory, so far from an address in a register.
    Memory(u64),
}

fn callee(call: &Instruction<'_>) -> Option<Callee> {
    if let Some(word) = call.aarch64() {
        return u8::try_from(word >> 5 & 31).ok().map(Callee::Register);
    }
    let decoded = call.x86_64()?;
    match decoded.op0_kind() {
        OpKind::Register => {
            u8::try_from(decoded.op0_register().full_register().number()).ok().map(Callee::Register)
        }
        OpKind::Memory if is_plain(decoded) => Some(Callee::Memory(decoded.memory_displacement64())),
        _ => None,
    }
}

/// How far from an address in a register lies what the instruction loads to `register`.
fn loaded(instruction: &Instruction<'_>, register: u8) -> Option<u64> {
    if let Some(word) = instruction.aarch64() {
        // ldr (immediate, unsigned offset) of 64 bits.
        let loads = word & 0xffc0_0000 == 0xf940_0000 && word & 31 == u32::from(register);
        return loads.then(|| u64::from(word >> 10 & 0xfff) * 8);
    }
    let decoded = instruction.x86_64()?;
    let destination = decoded.op0_register();
    let loads = decoded.mnemonic() == Mnemonic::Mov
        && decoded.op1_kind() == OpKind::Memory
        && destination.is_gpr64()
        && destination.number() == usize::from(register)
        && is_plain(decoded);
    loads.then(|| decoded.memory_displacement64())
}

/// The register that the instruction copies to `register`.
fn moved(instruction: &Instruction<'_>, register: u8) -> Option<u8> {
    if let Some(word) = instruction.aarch64() {
        // orr (shifted register, by nothing) of 64 bits with the zero register.
        let moves = word & 0xffe0_ffe0 == 0xaa00_03e0 && word & 31 == u32::from(register);
        return if moves { u8::try_from(word >> 16 & 31).ok() } else { None };
    }
    let decoded = instruction.x86_64()?;
    let (to, from) = (decoded.op0_register(), decoded.op1_register());
    let moves = decoded.mnemonic() == Mnemonic::Mov
        && decoded.op1_kind() == OpKind::Register
        && to.is_gpr64()
        && from.is_gpr64()
        && to.number() == usize::from(register);
    if moves { u8::try_from(from.number()).ok() } else { None }
}

/// Whether the address is a register's plus a fixed distance.
fn is_plain(decoded: &iced_x86::Instruction) -> bool {
    decoded.memory_base().is_gpr64() && decoded.memory_index() == iced_x86::Register::None
}

#[cfg(test)]
mod tests;
