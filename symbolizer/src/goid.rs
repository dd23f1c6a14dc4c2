//! Where the runtime counts the ids of goroutines.
//!
//! `runtime.newproc1` takes ids from its processor's cache, and fills that again with the next 16 of `sched.goidgen`, by
//! one atomic addition (runtime/proc.go, Go 1.21 to 1.27). `runtime.schedt` has no type descriptor, so the counter's address
//! is read off the code: 16 is added to a fixed address, and soon after `goidcache` of a processor is set.

use crate::address::VirtualAddress;
use crate::architecture::Architecture;
use crate::decode::{Flow, Instruction, instructions};
use crate::go_abi::{Place, Registers};
use crate::site::Code;

/// `_GoidCacheBatch` in runtime/proc.go.
const BATCH: u64 = 16;
/// The cache is set so many instructions behind the addition at most: 3 on x86-64, 12 on arm64, where the way of older
/// processors to add stands between.
const DISTANCE: usize = 16;

/// The address of `runtime.sched.goidgen`, from the code of `runtime.newproc1` and the offset of `goidcache` in
/// `runtime.p`. `None` if it cannot be told without doubt.
pub fn goidgen(code: Code<'_>, goidcache: u64) -> Option<VirtualAddress> {
    let registers = Registers::of(code.architecture);
    let mut constants = Constants([None; 32]);
    let mut added = None;
    let mut found = None;
    for (index, instruction) in instructions(code.architecture, code.entry, code.bytes).enumerate() {
        let instruction = instruction.ok()?;
        let action = match code.architecture {
            Architecture::X86_64 => x86_64(&instruction),
            Architecture::Aarch64 => aarch64(&instruction, &constants),
        };
        let (counter, amount) = match (action, instruction.flow) {
            (Some(Action::Add { address, amount }), _) => (address, constants.get(amount)),
            (Some(Action::AddAt { address, amount }), _) => (constants.get(address), constants.get(amount)),
            // Without optimisation the addition is a function: internal/runtime/atomic.(*Uint64).Add.
            (_, Flow::Call(_)) => {
                let argument = |index| constants.get(registers.at(Place::IntegerRegister(index))?.number);
                (argument(0), argument(1))
            }
            _ => (None, None),
        };
        if let Some(counter) = counter
            && amount == Some(BATCH)
        {
            added = Some((VirtualAddress(counter), index));
        }
        if action == Some(Action::Store(goidcache))
            && let Some((counter, at)) = added.take()
            && index.saturating_sub(at) <= DISTANCE
        {
            if found.is_some_and(|found| found != counter) {
                return None;
            }
            found = Some(counter);
        }
        constants.after(&instruction, action);
    }
    found
}

/// What an instruction does, as far as it matters here. Registers are hardware numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// A register gets a value that the code alone tells.
    Set(u8, u64),
    /// 64 bits in memory are increased atomically by a register …
    Add { address: Option<u64>, amount: u8 },
    /// … at the address in another one.
    AddAt { address: u8, amount: u8 },
    /// 64 bits are stored so far from an address in a register.
    Store(u64),
}

/// What registers are known to hold, on the straight way here. A branch in between does no harm: what is looked for uses its
/// registers right after they are set.
struct Constants([Option<u64>; 32]);

impl Constants {
    fn get(&self, register: u8) -> Option<u64> {
        self.0.get(usize::from(register)).copied().flatten()
    }

    fn after(&mut self, instruction: &Instruction<'_>, action: Option<Action>) {
        let effects = instruction.effects();
        let calls = matches!(instruction.flow, Flow::Call(_));
        for (number, value) in (0..).zip(&mut self.0) {
            match action {
                Some(Action::Set(register, known)) if register == number => *value = Some(known),
                _ if calls || effects.writes_integer(number) => *value = None,
                _ => {}
            }
        }
    }
}

fn x86_64(instruction: &Instruction<'_>) -> Option<Action> {
    use iced_x86::{Mnemonic, OpKind, Register};

    let decoded = instruction.x86_64()?;
    let number = |register: Register| {
        let full = register.full_register();
        if full.is_gpr() { u8::try_from(full.number()).ok() } else { None }
    };
    let base = decoded.memory_base();
    let is_indexed = decoded.memory_index() != Register::None;
    let displacement = decoded.memory_displacement64();
    match (decoded.mnemonic(), decoded.op0_kind(), decoded.op1_kind()) {
        (Mnemonic::Lea, ..) if base == Register::RIP => {
            Some(Action::Set(number(decoded.op0_register())?, displacement))
        }
        // 32 bits extend with zeros.
        (Mnemonic::Mov, OpKind::Register, OpKind::Immediate32 | OpKind::Immediate32to64)
            if decoded.op0_register().size() >= 4 =>
        {
            Some(Action::Set(number(decoded.op0_register())?, decoded.immediate(1)))
        }
        (Mnemonic::Xadd, OpKind::Memory, OpKind::Register)
            if decoded.has_lock_prefix() && decoded.op1_register().is_gpr64() && !is_indexed =>
        {
            let amount = number(decoded.op1_register())?;
            match base {
                Register::RIP => Some(Action::Add { address: Some(displacement), amount }),
                _ if displacement == 0 => Some(Action::AddAt { address: number(base)?, amount }),
                _ => None,
            }
        }
        (Mnemonic::Mov, OpKind::Memory, OpKind::Register)
            if decoded.op1_register().is_gpr64() && base.is_gpr64() && !is_indexed =>
        {
            Some(Action::Store(displacement))
        }
        _ => None,
    }
}

/// Encodings: Arm Architecture Reference Manual for A-profile, chapter C6.2.
fn aarch64(instruction: &Instruction<'_>, constants: &Constants) -> Option<Action> {
    let word = instruction.aarch64()?;
    let register = |low: u32| u8::try_from(word >> low & 31).ok();
    let (destination, base) = (register(0)?, register(5)?);
    // adrp
    if word & 0x9f00_0000 == 0x9000_0000 {
        let pages = (word << 8).cast_signed() >> 13 << 2 | (word >> 29 & 3).cast_signed();
        let page = instruction.address.0 & !0xfff;
        return Some(Action::Set(destination, page.wrapping_add_signed(i64::from(pages) << 12)));
    }
    // add (immediate)
    if word & 0xffc0_0000 == 0x9100_0000 {
        let sum = constants.get(base)?.wrapping_add(u64::from(word >> 10 & 0xfff));
        return Some(Action::Set(destination, sum));
    }
    // The ways to put 16 into a register: orr (bitmask immediate) of 64 or 32 bits, movz.
    if matches!(word & !31, 0xb27c_03e0 | 0x321c_03e0 | 0xd280_0200 | 0x5280_0200) {
        return Some(Action::Set(destination, BATCH));
    }
    // ldadd, ldadda, ldaddl, ldaddal. Processors before Armv8.1 have another way, which stands beside this one.
    if word & 0xff20_fc00 == 0xf820_0000 {
        return Some(Action::AddAt { address: base, amount: register(16)? });
    }
    // str (immediate, unsigned offset), stp (signed offset): the first of its registers
    if word & 0xffc0_0000 == 0xf900_0000 {
        return Some(Action::Store(u64::from(word >> 10 & 0xfff) * 8));
    }
    if word & 0xffc0_0000 == 0xa900_0000 {
        let offset = (word << 10).cast_signed() >> 25;
        return u64::try_from(offset).ok().map(|offset| Action::Store(offset * 8));
    }
    None
}

#[cfg(test)]
mod tests;
