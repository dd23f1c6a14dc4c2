//! How to get from a context to the one that it stems from.

use lightfoot_probes_abi::Holder;
use lightfoot_probes_abi::context::HolderKind;
use lightfoot_symbolizer::VirtualAddress;
use lightfoot_symbolizer::types::MAX_CONTEXT_HOLDERS;

use crate::catalog::contexts;
use crate::inspect::Program;

/// At most so many of a program.
pub const MAX_HOLDERS: usize = MAX_CONTEXT_HOLDERS;

/// What an interface `context.Context` can hold, by the descriptor that its itab names, and where the next context of the
/// chain lies in it. Those that the catalogue knows come first, then structs that have the methods of a context and
/// hold one; at most [`MAX_HOLDERS`].
///
/// The second word of such an interface is the address of the struct, whether it holds the struct or a pointer to it: no
/// struct with a context in it fits into a word.
pub fn holders(program: &Program) -> Vec<(VirtualAddress, Holder)> {
    let holder = |offset: u64, kind: HolderKind| {
        u32::try_from(offset).ok().map(|offset| Holder { offset, kind: kind as u32 })
    };
    let known = contexts::THROUGH_REQUEST.iter().filter_map(|layout| {
        let found = program.types.layout(layout.name)?;
        let request = found.field(layout.required.first()?)?.offset;
        Some((found.pointer_descriptor?, holder(request, HolderKind::Request)?))
    });
    // Those that embed a pointer to another context are not followed by the programs: the chain ends there.
    let structs = program.types.context_holders.iter().filter(|found| found.through.is_none());
    let structs = structs.flat_map(|found| {
        let holder = holder(found.offset, HolderKind::Field);
        found.shown_as.iter().filter_map(move |descriptor| Some((*descriptor, holder?)))
    });
    known.chain(structs).take(MAX_HOLDERS).collect()
}
