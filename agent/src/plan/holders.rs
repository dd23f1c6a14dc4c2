//! How to get from a context to the one that it stems from.

use lightfoot_symbolizer::VirtualAddress;
use lightfoot_symbolizer::types::MAX_CONTEXT_HOLDERS;

use crate::catalog::{contexts, net_http};
use crate::inspect::Program;

/// At most so many of a program.
pub const MAX_HOLDERS: usize = MAX_CONTEXT_HOLDERS;

/// What an interface `context.Context` can hold, and where the next context of the chain lies. The interface's second word
/// is the address of the struct, whether it holds the struct or a pointer to it: no struct with a context in it fits
/// into a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The descriptor that the interface's itab names.
    pub descriptor: VirtualAddress,
    /// Where in the struct a pointer lies to another that holds the next context, an embedded one or an `http.Request`;
    /// `None` if the struct itself does.
    pub through: Option<u64>,
    /// Offset in bytes of the next context, two words, in whichever holds it.
    pub context: u64,
}

/// The program's holders of contexts, at most [`MAX_HOLDERS`]: those that the catalogue knows, then structs
/// that have the methods of a context.
pub fn holders(program: &Program) -> Vec<Holder> {
    let known = contexts::THROUGH_REQUEST.iter().filter_map(|layout| {
        let found = program.types.layout(layout.name)?;
        let through = found.field(layout.required.first()?)?.offset;
        let context = program.types.layout(net_http::REQUEST.name)?.field("ctx")?.offset;
        Some(Holder { descriptor: found.pointer_descriptor?, through: Some(through), context })
    });
    let structs = program.types.context_holders.iter().flat_map(|holder| {
        let (through, context) = (holder.through, holder.offset);
        holder.shown_as.iter().map(move |&descriptor| Holder { descriptor, through, context })
    });
    known.chain(structs).take(MAX_HOLDERS).collect()
}
