//! Where a function puts results of a call.

use iced_x86::{Mnemonic, OpKind};

use crate::VirtualAddress;
use crate::decode::{Flow, Instruction, MemoryWrite};
use crate::go_abi::{Place, Registers};
use crate::site::body::Body;
use crate::site::depth::Depths;

/// So many instructions behind a call are looked at.
const BEHIND: usize = 32;

pub(super) fn find(body: &Body<'_>, call: VirtualAddress, results: &[Place]) -> Option<i64> {
    let depths = Depths::of(body);
    let mut found = vec![None; results.len()];
    let mut index = body.falls_to(body.index_of(call)?)?;
    for _ in 0..BEHIND {
        let instruction = body.instructions.get(index)?;
        let effects = instruction.effects();
        for (place, result) in found.iter_mut().zip(results) {
            let register = Registers::of(body.architecture).at(*result)?.number;
            if place.is_some() {
                continue;
            }
            if let Some(offset) = stored(instruction, register) {
                *place = Some(depths.before(index)?.checked_add(offset)?);
            } else if effects.writes_integer(register) {
                return None;
            }
        }
        if let Some(places) = found.iter().copied().collect::<Option<Vec<i64>>>() {
            let side_by_side =
                |pair: &[i64]| matches!(pair, [one, next] if one.checked_add(8) == Some(*next));
            return places.first().copied().filter(|_| places.windows(2).all(side_by_side));
        }
        index = match instruction.flow {
            Flow::Next | Flow::Branch(_) => body.falls_to(index)?,
            Flow::Jump(_) | Flow::Call(_) | Flow::Return | Flow::Stop => return None,
        };
    }
    None
}

/// How far above the stack pointer the instruction stores the register of this number, if that is what it does.
fn stored(instruction: &Instruction<'_>, register: u8) -> Option<i64> {
    let decoded = instruction.x86_64()?;
    let is_move = decoded.mnemonic() == Mnemonic::Mov && decoded.op1_kind() == OpKind::Register;
    let from = decoded.op1_register();
    match instruction.effects().memory {
        MemoryWrite::Stack { offset, size: 8 }
            if is_move && from.is_gpr64() && from.number() == usize::from(register) =>
        {
            Some(offset)
        }
        _ => None,
    }
}
