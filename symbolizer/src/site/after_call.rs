//! The site behind a call, where its results are still in place.

use crate::decode::{Effects, Flow, Instruction, MemoryWrite, StackChange, Step};
use crate::go_abi::{Place, Registers};
use crate::site::body::Body;
use crate::site::depth::Depths;
use crate::site::{Reason, Site, SiteError};
use crate::{Architecture, VirtualAddress};

pub(super) fn plan(body: &Body<'_>, call: VirtualAddress, keep: &[Place]) -> Result<Site, SiteError> {
    let mut runs_twice = None;
    search(body, call, keep, &mut runs_twice).or_else(|why| runs_twice.ok_or(why))
}

/// Leaves the first site that may run twice in `runs_twice`, and takes another one.
fn search(
    body: &Body<'_>,
    call: VirtualAddress,
    keep: &[Place],
    runs_twice: &mut Option<Site>,
) -> Result<Site, SiteError> {
    let calls =
        |index: &usize| matches!(body.instructions.get(*index).map(|call| call.flow), Some(Flow::Call(_)));
    let called = body.index_of(call).filter(calls).ok_or(SiteError::NotACall { address: call })?;
    let mut index = body.falls_to(called).ok_or(SiteError::PathEnds { address: call })?;
    // An indirect jump may lead anywhere.
    let mut shared = body.indirect_jump.is_some();
    let mut came_from = None;
    // A path that is longer than the function goes round.
    for _ in 0..body.instructions.len() {
        let Some(instruction) = body.instructions.get(index) else { break };
        let into = body.branches_into(instruction.address..instruction.end());
        shared |= into.iter().any(|branch| Some(branch.from) != came_from);
        if instruction.step == Step::Emulated {
            let site = Site::new(instruction, Reason::AfterCall { shared }, Depths::of(body).before(index))?;
            if !site.may_run_twice {
                return Ok(site);
            }
            runs_twice.get_or_insert(site);
        }
        if let Step::Refused(refusal @ crate::decode::Refusal::Exclusive) = instruction.step {
            // An exception between an exclusive load and its store would make the store fail, perhaps forever.
            return Err(SiteError::Refused { address: instruction.address, refusal });
        }
        if let Some(place) = overwritten(body.architecture, instruction, keep) {
            return Err(SiteError::Overwritten { address: instruction.address, place });
        }
        let next = match instruction.flow {
            Flow::Next => body.falls_to(index),
            Flow::Jump(Some(target)) => body.index_of(target),
            Flow::Jump(None) | Flow::Branch(_) | Flow::Call(_) | Flow::Return | Flow::Stop => None,
        };
        came_from = matches!(instruction.flow, Flow::Jump(_)).then_some(instruction.address);
        index = next.ok_or(SiteError::PathEnds { address: instruction.address })?;
    }
    Err(SiteError::PathEnds { address: call })
}

/// The first of the results that the instruction may overwrite.
fn overwritten(architecture: Architecture, instruction: &Instruction<'_>, keep: &[Place]) -> Option<Place> {
    let effects = instruction.effects();
    let moves_stack = instruction.stack_change() != StackChange::By(0);
    let registers = Registers::of(architecture);
    keep.iter().copied().find(|place| match *place {
        Place::Stack(offset) => moves_stack || writes_result(architecture, effects, offset),
        place => effects.overwrites(place, registers),
    })
}

/// Whether memory `offset` bytes above the stack pointer at the callee's entry may be written.
fn writes_result(architecture: Architecture, effects: Effects, offset: u64) -> bool {
    // The callee's stack pointer lay below the caller's by the return address.
    let below = match architecture {
        Architecture::X86_64 => 8,
        Architecture::Aarch64 => 0,
    };
    let Some(start) = i64::try_from(offset).ok().and_then(|offset| offset.checked_sub(below)) else {
        return true;
    };
    match effects.memory {
        MemoryWrite::None => false,
        MemoryWrite::Stack { offset: store, size } => {
            let ends = i64::try_from(size).ok().and_then(|size| store.checked_add(size));
            let apart =
                ends.is_some_and(|end| end <= start) || start.checked_add(8).is_some_and(|end| end <= store);
            !apart
        }
        MemoryWrite::Elsewhere => true,
    }
}
