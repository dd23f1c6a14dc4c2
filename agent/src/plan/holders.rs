//! How to get from a context to the one that it stems from.

use lightfoot_symbolizer::VirtualAddress;
use lightfoot_symbolizer::types::MAX_CONTEXT_HOLDERS;

use crate::catalog::own_instrumentation::{
    SPAN_CONTEXT, SPAN_CONTEXT_FIELDS, SPANS, VALUE_CONTEXT, VALUE_CONTEXT_FIELDS,
};
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

/// How contexts show the spans of the program's own SDK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnSpans {
    /// The descriptors of contexts that may have one for their value.
    pub contexts: Vec<VirtualAddress>,
    /// The descriptors of such values, each with the offset of its ids.
    pub spans: Vec<(VirtualAddress, u64)>,
}

/// Those of the program; none where anything of them is not where the programs read it.
pub fn own_spans(program: &Program) -> OwnSpans {
    let types = &program.types;
    let are_at = |name: &str, fields: &[(&str, u64)]| {
        let at = |(field, offset): &(&str, u64)| {
            types
                .layout(name)
                .and_then(|layout| layout.field(field))
                .is_some_and(|field| field.offset == *offset)
        };
        fields.iter().all(at)
    };
    if !are_at(SPAN_CONTEXT, &SPAN_CONTEXT_FIELDS) || !are_at(VALUE_CONTEXT, &VALUE_CONTEXT_FIELDS) {
        return OwnSpans::default();
    }
    let contexts = types.layout(VALUE_CONTEXT).and_then(|layout| layout.pointer_descriptor);
    let spans = SPANS.iter().filter_map(|(name, field)| {
        let layout = types.layout(name)?;
        let offset = layout.field(field)?.offset;
        Some([layout.descriptor, layout.pointer_descriptor].map(|shown| Some((shown?, offset))))
    });
    OwnSpans { contexts: contexts.into_iter().collect(), spans: spans.flatten().flatten().collect() }
}
