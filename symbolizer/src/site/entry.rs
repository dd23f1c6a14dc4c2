//! The site that counts calls of a function.

use crate::Architecture;
use crate::decode::{Flow, Instruction, StackChange, Step};
use crate::go_abi::{Place, Registers};
use crate::site::body::Body;
use crate::site::{Condition, Reason, Site, SiteError, stack_check};

pub(super) fn plan(body: &Body<'_>, needs: &[Place]) -> Result<Site, SiteError> {
    let Some(check) = stack_check::find(body) else { return without_check(body, 0, needs) };
    let Some(branch) = body.instructions.get(check.branch) else { return without_check(body, 0, needs) };
    let start = body.instructions.first().map_or(branch.end(), Instruction::end);
    // Growing the stack jumps back to the entry, which the range leaves out.
    let no_branch_before = |behind: &Instruction<'_>| match body.branches_into(start..behind.end()) {
        [] => Ok(()),
        [branch, ..] => Err(SiteError::BranchInto { target: branch.target, from: branch.from }),
    };
    match body.architecture {
        Architecture::Aarch64 => {
            no_branch_before(branch)?;
            let site = Site::new(branch, Reason::StackCheckBranch, Some(0))?;
            Ok(Site { condition: Some(Condition::UnsignedHigher), ..site })
        }
        Architecture::X86_64 => {
            let behind =
                body.falls_to(check.branch).and_then(|index| Some((index, body.instructions.get(index)?)));
            match behind {
                Some((_, push)) if is_frame_push(push) => {
                    no_branch_before(push)?;
                    Site::new(push, Reason::PushAfterStackCheck, Some(0))
                }
                // A function with a check but no frame.
                Some((index, _)) => {
                    no_branch_before(branch)?;
                    without_check(body, index, needs)
                }
                None => Err(SiteError::PathEnds { address: branch.address }),
            }
        }
    }
}

/// Without a stack check before `start`: the first emulated instruction on the straight path that keeps what is needed,
/// else the first instruction.
fn without_check(body: &Body<'_>, start: usize, needs: &[Place]) -> Result<Site, SiteError> {
    let Some(first) = body.instructions.get(start) else {
        return Err(SiteError::PathEnds {
            address: body.instructions.last().map_or_else(Default::default, Instruction::end),
        });
    };
    // A loop may begin at the entry itself.
    if let [branch, ..] = body.branches_into(first.address..first.end()) {
        return Err(SiteError::BranchInto { target: branch.target, from: branch.from });
    }
    if is_frame_push(first) {
        return Site::new(first, Reason::PushAtEntry, Some(0));
    }
    // With no prologue in between, a jump table's block may begin anywhere.
    if let Some(from) = body.indirect_jump {
        return if first.flow == Flow::Jump(None) && start == 0 {
            Site::new(first, Reason::FirstInstruction, Some(0))
        } else {
            Err(SiteError::IndirectJump { from })
        };
    }
    emulated(body, start, needs).unwrap_or_else(|| Site::new(first, Reason::FirstInstruction, Some(0)))
}

fn emulated(body: &Body<'_>, start: usize, needs: &[Place]) -> Option<Result<Site, SiteError>> {
    let mut index = start;
    let mut depth = Some(0_i64);
    loop {
        let instruction = body.instructions.get(index)?;
        if !body.branches_into(instruction.address..instruction.end()).is_empty() {
            return None;
        }
        if instruction.step == Step::Emulated && !instruction.may_run_twice() {
            return Some(Site::new(instruction, Reason::FirstEmulated, depth));
        }
        if instruction.flow != Flow::Next || overwrites(body.architecture, instruction, needs) {
            return None;
        }
        depth = match instruction.stack_change() {
            StackChange::By(bytes) => depth.and_then(|depth| depth.checked_add(bytes)),
            StackChange::Unknown => None,
        };
        index = body.falls_to(index)?;
    }
}

/// Whether the instruction may write a place that the caller filled. The link register counts always: it names the
/// caller.
fn overwrites(architecture: Architecture, instruction: &Instruction<'_>, needs: &[Place]) -> bool {
    let effects = instruction.effects();
    let registers = Registers::of(architecture);
    let link = registers.link.is_some_and(|link| effects.writes_integer(link.number));
    link || needs.iter().any(|place| effects.overwrites(*place, registers))
}

/// `push %rbp`, which only opens frames in Go's code.
fn is_frame_push(instruction: &Instruction<'_>) -> bool {
    instruction.x86_64().is_some() && instruction.bytes == [0x55]
}
