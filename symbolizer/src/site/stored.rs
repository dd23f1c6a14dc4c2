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

/// An argument of 8 bytes that came in a register.
struct Argument {
    /// The register's number.
    register: u8,
    /// Where the ABI has room for it, from the stack pointer at the entry.
    home: i64,
}

/// What is known of an argument before an instruction, on all paths to it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    in_register: bool,
    is_stored: bool,
}

pub(super) fn keeps_argument(body: &Body<'_>, at: VirtualAddress, argument: Place, home: u64) -> bool {
    let register = Registers::of(body.architecture).at(argument).map(|register| register.number);
    let (Some(register), Ok(home)) = (register, i64::try_from(home)) else { return false };
    let argument = Argument { register, home };
    let depths = Depths::of(body);
    let mut known: Vec<Option<Known>> = vec![None; body.instructions.len()];
    let mut work = vec![(0, Known { in_register: true, is_stored: false })];
    // What is known of an instruction is lost at most twice.
    while let Some((index, now)) = work.pop() {
        let Some(before) = known.get_mut(index) else { continue };
        let joined = before.map_or(now, |before| Known {
            in_register: before.in_register && now.in_register,
            is_stored: before.is_stored && now.is_stored,
        });
        if before.replace(joined) == Some(joined) {
            continue;
        }
        let Some(instruction) = body.instructions.get(index) else { continue };
        let behind = after(&argument, instruction, joined, depths.before(index));
        let falls = match instruction.flow {
            Flow::Next | Flow::Branch(_) | Flow::Call(_) => body.falls_to(index),
            Flow::Jump(_) | Flow::Return | Flow::Stop => None,
        };
        let jumps = match instruction.flow {
            Flow::Jump(Some(target)) | Flow::Branch(target) => body.index_of(target),
            _ => None,
        };
        // When the stack has grown, all begins anew with the same arguments.
        work.extend(
            [falls, jumps].into_iter().flatten().filter(|next| *next != 0).map(|next| (next, behind)),
        );
    }
    // An indirect jump may lead anywhere.
    let found = body.index_of(at).and_then(|index| *known.get(index)?);
    body.indirect_jump.is_none() && found.is_some_and(|known| known.is_stored)
}

/// What is known behind an instruction, before which the stack pointer is so far from that at the entry.
fn after(argument: &Argument, instruction: &Instruction<'_>, mut known: Known, depth: Option<i64>) -> Known {
    let effects = instruction.effects();
    if let MemoryWrite::Stack { offset, size } = effects.memory {
        let at = |offset| depth.and_then(|depth| depth.checked_add(offset));
        let (start, end) =
            (at(offset), i64::try_from(size).ok().and_then(|size| at(offset.checked_add(size)?)));
        let apart = start.is_some_and(|start| start >= argument.home.saturating_add(8))
            || end.is_some_and(|end| end <= argument.home);
        if stored(instruction, argument.register).and_then(at) == Some(argument.home) {
            known.is_stored = known.in_register;
        } else if !apart {
            known.is_stored = false;
        }
    }
    known.in_register &=
        !effects.writes_integer(argument.register) && !matches!(instruction.flow, Flow::Call(_));
    known
}

/// How far above the stack pointer the instruction stores the register of this number, if that is what it does.
fn stored(instruction: &Instruction<'_>, register: u8) -> Option<i64> {
    let MemoryWrite::Stack { offset, size } = instruction.effects().memory else { return None };
    if let Some(word) = instruction.aarch64() {
        // str and stp of general registers of 64 bits.
        let (first, second) = (word & 31, word >> 10 & 31);
        let is_vector = word >> 26 & 1 == 1;
        return match (word >> 30, size) {
            (3, 8) | (2, 16) if !is_vector && first == register.into() => Some(offset),
            (2, 16) if !is_vector && second == register.into() => offset.checked_add(8),
            _ => None,
        };
    }
    let decoded = instruction.x86_64()?;
    let is_move = decoded.mnemonic() == Mnemonic::Mov && decoded.op1_kind() == OpKind::Register;
    let from = decoded.op1_register();
    (size == 8 && is_move && from.is_gpr64() && from.number() == usize::from(register)).then_some(offset)
}
