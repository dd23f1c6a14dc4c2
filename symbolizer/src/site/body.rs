//! A decoded function: its instructions and the branches between them.

use std::collections::BTreeMap;

use crate::decode::{Flow, Instruction, instructions};
use crate::site::depth::Depths;
use crate::site::{Code, Reason, Site, SiteError};
use crate::{Architecture, VirtualAddress};

pub(super) struct Body<'a> {
    pub(super) architecture: Architecture,
    /// In the order of their addresses, at least one. Literals between arm64 instructions are left out.
    pub(super) instructions: Vec<Instruction<'a>>,
    /// The first jump to an address that is in a register or in memory.
    pub(super) indirect_jump: Option<VirtualAddress>,
    /// Direct branches and calls that lead into the function, by target.
    branches: Vec<Branch>,
    end: VirtualAddress,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Branch {
    pub(super) target: VirtualAddress,
    pub(super) from: VirtualAddress,
}

impl<'a> Body<'a> {
    pub(super) fn decode(code: Code<'a>) -> Result<Self, SiteError> {
        let Code { architecture, entry, bytes } = code;
        let mut all = instructions(architecture, entry, bytes).collect::<Result<Vec<_>, _>>()?;
        leave_out_literals(&mut all);
        let end = all.last().ok_or(SiteError::Empty { entry })?.end();
        let mut branches: Vec<_> = all
            .iter()
            .filter_map(|instruction| {
                Some(Branch { target: target(instruction)?, from: instruction.address })
            })
            .filter(|branch| (entry..end).contains(&branch.target))
            .collect();
        branches.sort_unstable();
        let indirect_jump = all.iter().find(|instruction| instruction.flow == Flow::Jump(None));
        let indirect_jump = indirect_jump.map(|jump| jump.address);
        Ok(Self { architecture, instructions: all, indirect_jump, branches, end })
    }

    /// The index of the instruction that begins at `address`.
    pub(super) fn index_of(&self, address: VirtualAddress) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, |instruction| instruction.address).ok()
    }

    /// The instruction that `index` falls through to.
    pub(super) fn falls_to(&self, index: usize) -> Option<usize> {
        let behind = index.checked_add(1)?;
        let (this, next) = (self.instructions.get(index)?, self.instructions.get(behind)?);
        (this.end() == next.address).then_some(behind)
    }

    /// The direct branches and calls that lead to one of the addresses.
    pub(super) fn branches_into(&self, addresses: std::ops::Range<VirtualAddress>) -> &[Branch] {
        let first = self.branches.partition_point(|branch| branch.target < addresses.start);
        let behind = self.branches.partition_point(|branch| branch.target < addresses.end);
        self.branches.get(first..behind).unwrap_or_default()
    }

    /// The first jump that leaves the function, or may do so: an indirect one without a frame on the stack is no jump
    /// table of a function that has a frame.
    pub(super) fn leaving_jump(&self) -> Option<VirtualAddress> {
        let entry = self.instructions.first()?.address;
        let depths = Depths::of(self);
        let leaves = |index: usize, flow: Flow| match flow {
            Flow::Jump(Some(target)) | Flow::Branch(target) => !(entry..self.end).contains(&target),
            Flow::Jump(None) => depths.before(index).is_none_or(|depth| depth == 0),
            Flow::Next | Flow::Call(_) | Flow::Return | Flow::Stop => false,
        };
        let mut all = self.instructions.iter().enumerate();
        all.find(|(index, jump)| leaves(*index, jump.flow)).map(|(_, jump)| jump.address)
    }

    /// A site on every instruction that is `wanted`.
    pub(super) fn sites(
        &self,
        reason: Reason,
        wanted: impl Fn(&Instruction<'_>) -> bool,
    ) -> impl Iterator<Item = Result<Site, SiteError>> {
        let depths = Depths::of(self);
        let all = self.instructions.iter().enumerate();
        all.filter(move |(_, instruction)| wanted(instruction))
            .map(move |(index, instruction)| Site::new(instruction, reason, depths.before(index)))
    }
}

/// Where a direct branch, jump or call leads.
pub(super) fn target(instruction: &Instruction<'_>) -> Option<VirtualAddress> {
    match instruction.flow {
        Flow::Jump(target) | Flow::Call(target) => target,
        Flow::Branch(target) => Some(target),
        Flow::Next | Flow::Return | Flow::Stop => None,
    }
}

/// The Go assembler for arm64 puts constants between the code that loads them; a uprobe there would change data. They
/// lie behind their loads, so a constant that looks like a load is known for what it is when its turn comes.
fn leave_out_literals(all: &mut Vec<Instruction<'_>>) {
    let mut literals = BTreeMap::new();
    all.retain(|instruction| {
        let before = literals.range(..=instruction.address).next_back();
        let inside = before.is_some_and(|(start, size)| {
            instruction.address.checked_offset_from(*start).is_some_and(|offset| offset < *size)
        });
        if !inside && let Some((start, size)) = instruction.literal() {
            literals.insert(start, size);
        }
        !inside
    });
}
