//! Every struct that holds a `context.Context`: the nodes of context chains.
//!
//! A chain of contexts is walked from the call's context to one that a span owns. Its nodes are the standard
//! library's (`valueCtx`, `cancelCtx`, …), frameworks' (gin.Context) and anyone's own; descriptors name them all.

use rustc_hash::FxHashMap;

use super::Descriptors;
use super::descriptor::Kind;
use crate::address::VirtualAddress;
use crate::source::Source;

/// At most so many holders are kept; kube-apiserver has 700.
pub const MAX_CONTEXT_HOLDERS: usize = 4096;
/// Structs nested by value deeper than this are not looked into.
const MAX_DEPTH: usize = 8;

/// A named struct that holds a `context.Context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextHolder {
    /// The struct's name.
    pub name: String,
    /// Its descriptor.
    pub descriptor: VirtualAddress,
    /// Offset in bytes of its `context.Context` (an interface, 16 bytes): the embedded one, else the first.
    pub offset: u64,
    /// Whether that field is embedded, all the way down: the struct is then a context itself.
    pub embedded: bool,
}

pub(super) fn find<S: Source>(
    reader: &Descriptors<'_, S>,
    context: VirtualAddress,
    structs: &[VirtualAddress],
) -> Vec<ContextHolder> {
    let mut search = Search { reader, context, known: FxHashMap::default() };
    let mut holders = Vec::new();
    for &descriptor in structs {
        // Unnamed structs, such as those of closures, have no methods, so they are no contexts.
        if let Ok(head) = reader.descriptor(descriptor)
            && head.is_named()
            && let Some((offset, embedded)) = search.offset_in(descriptor, 0)
            && let Ok(name) = reader.full_name(&head)
        {
            if holders.len() == MAX_CONTEXT_HOLDERS {
                break;
            }
            holders.push(ContextHolder { name, descriptor, offset, embedded });
        }
    }
    holders
}

struct Search<'a, S> {
    reader: &'a Descriptors<'a, S>,
    context: VirtualAddress,
    known: FxHashMap<VirtualAddress, Option<(u64, bool)>>,
}

impl<S: Source> Search<'_, S> {
    /// Where the first context lies in the struct, and whether it is embedded.
    fn offset_in(&mut self, address: VirtualAddress, depth: usize) -> Option<(u64, bool)> {
        if let Some(known) = self.known.get(&address) {
            return *known;
        }
        let found = (|| {
            let descriptor = self.reader.descriptor(address).ok()?;
            let fields = self.reader.raw_fields(&descriptor).ok()?;
            let mut first = None;
            for field in fields {
                let inner = if field.descriptor == self.context {
                    Some((0, true))
                } else if depth < MAX_DEPTH
                    && self.reader.descriptor(field.descriptor).ok()?.kind == Kind::Struct
                {
                    self.offset_in(field.descriptor, depth + 1)
                } else {
                    None
                };
                let Some((offset, embedded)) = inner else { continue };
                let (_, is_embedded) = self.reader.name(field.name).ok()?;
                let offset = field.offset.checked_add(offset).filter(|end| *end < descriptor.size)?;
                // Methods are promoted from what is embedded: that one is the parent of the context that this is.
                if embedded && is_embedded {
                    return Some((offset, true));
                }
                first = first.or(Some((offset, false)));
            }
            first
        })();
        self.known.insert(address, found);
        found
    }
}
