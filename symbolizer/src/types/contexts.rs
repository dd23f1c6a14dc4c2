//! Every struct that holds a `context.Context`: the nodes of context chains.
//!
//! A chain of contexts is walked from the call's context to one that a span owns. Its nodes are the standard
//! library's (`valueCtx`, `cancelCtx`, …), frameworks' (gin.Context) and anyone's own; descriptors name them all.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Descriptors;
use super::descriptor::{Descriptor, Kind};
use crate::address::VirtualAddress;
use crate::source::Source;

/// At most so many holders are kept, contexts before others; kube-apiserver has 700.
pub const MAX_CONTEXT_HOLDERS: usize = 4096;
/// Structs nested by value deeper than this are not looked into.
pub(super) const MAX_DEPTH: usize = 8;

/// A named struct that holds a `context.Context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextHolder {
    /// The struct's name.
    pub name: String,
    /// Its descriptor.
    pub descriptor: VirtualAddress,
    /// Offset in bytes of its `context.Context` (an interface, 16 bytes): the embedded one, else the first.
    pub offset: u64,
    /// Where in the struct an embedded pointer lies to the struct that holds the context at `offset`; `None` if this one does.
    pub through: Option<u64>,
    /// Whether that field is embedded, all the way down: the struct is then a context itself.
    pub embedded: bool,
    /// The descriptors that an itab of `context.Context` can name for it: its own, that of pointers to it, or both,
    /// depending on which of the types has the methods of a context. None of them has where nothing tells which of several
    /// contexts is the one that it stems from.
    pub shown_as: Vec<VirtualAddress>,
}

/// The methods of `context.Context`.
const METHODS: [&str; 4] = ["Deadline", "Done", "Err", "Value"];
/// So many methods of a type are looked at; a gin.Context has 150.
const MAX_METHODS: u16 = 4096;
/// The sizes of `abi.UncommonType` and `abi.Method`, and where the former has the number of exported methods and the
/// distance to the first.
const METHOD: u64 = 16;
const EXPORTED_COUNT: u64 = 6;
const FIRST_METHOD: u64 = 8;

pub(super) fn find<S: Source>(
    reader: &Descriptors<'_, S>,
    context: VirtualAddress,
    structs: &[VirtualAddress],
) -> Vec<ContextHolder> {
    let mut search = Search { reader, context, known: FxHashMap::default() };
    let (mut contexts, mut others) = (Vec::new(), Vec::new());
    for &descriptor in structs {
        // Unnamed structs, such as those of closures, have no methods, so they are no contexts.
        if let Ok(head) = reader.descriptor(descriptor)
            && head.is_named()
            && let Some(held) = search.held_or_pointed_to_by(descriptor)
            && let Ok(name) = reader.full_name(&head)
        {
            let Held { offset, through, embedded, is_the_only_one } = held;
            let pointer = reader.pointer_to(&head).and_then(|address| reader.descriptor(address).ok());
            let types = [Some(head), pointer].into_iter().flatten();
            let shown_as = if embedded || is_the_only_one {
                types.filter(|of| reader.is_context(of)).map(|of| of.address).collect()
            } else {
                Vec::new()
            };
            let holders = if shown_as.is_empty() { &mut others } else { &mut contexts };
            if holders.len() < MAX_CONTEXT_HOLDERS {
                holders.push(ContextHolder { name, descriptor, offset, through, embedded, shown_as });
            }
        }
    }
    contexts.append(&mut others);
    contexts.truncate(MAX_CONTEXT_HOLDERS);
    contexts
}

impl<S: Source> Descriptors<'_, S> {
    /// Whether the type has the methods of a context, going by their names. The linker drops code that is never called, but
    /// keeps the names.
    fn is_context(&self, descriptor: &Descriptor) -> bool {
        self.exported_methods(descriptor)
            .is_some_and(|names| METHODS.iter().all(|name| names.contains(*name)))
    }

    /// Those of [`METHODS`] that the type has.
    fn exported_methods(&self, descriptor: &Descriptor) -> Option<FxHashSet<String>> {
        let uncommon = descriptor.uncommon()?;
        let count = u16::from_le_bytes(self.image.array(uncommon.past(EXPORTED_COUNT)).ok()?);
        let first = uncommon.past(u64::from(self.image.word32(uncommon.past(FIRST_METHOD)).ok()?));
        let mut found = FxHashSet::default();
        for index in 0..count.min(MAX_METHODS) {
            let name = self.image.word32(first.past(u64::from(index) * METHOD)).ok()?;
            let (name, _) = self.name(self.types.past(u64::from(name))).ok()?;
            if METHODS.contains(&name.as_str()) {
                found.insert(name);
            }
        }
        Some(found)
    }
}

/// The context in a struct.
#[derive(Clone, Copy)]
struct Held {
    offset: u64,
    through: Option<u64>,
    embedded: bool,
    is_the_only_one: bool,
}

struct Search<'a, S> {
    reader: &'a Descriptors<'a, S>,
    context: VirtualAddress,
    /// What was found in a struct, and at which depth: 0 if nothing in it was too deep.
    known: FxHashMap<VirtualAddress, (Option<Held>, usize)>,
}

impl<S: Source> Search<'_, S> {
    /// The context that the struct embeds, by value or through a pointer, else the first in it.
    fn held_or_pointed_to_by(&mut self, address: VirtualAddress) -> Option<Held> {
        let (held, _) = self.held_by(address, 0);
        if held.is_some_and(|held| held.embedded) {
            return held;
        }
        let descriptor = self.reader.descriptor(address).ok()?;
        for field in self.reader.raw_fields(&descriptor).ok()? {
            let Ok(pointer) = self.reader.descriptor(field.descriptor) else { continue };
            if pointer.kind == Kind::Pointer
                && self.reader.name(field.name).is_ok_and(|(_, is_embedded)| is_embedded)
                && let Ok(element) = self.reader.element(&pointer)
                && let (Some(inner), _) = self.held_by(element.address, 1)
                && inner.embedded
                && field.offset < descriptor.size
            {
                return Some(Held { through: Some(field.offset), ..inner });
            }
        }
        held
    }

    /// The context embedded in the struct by value, else the first; and from which depth on that is all that is found.
    fn held_by(&mut self, address: VirtualAddress, depth: usize) -> (Option<Held>, usize) {
        if let Some(known) = self.known.get(&address).filter(|(_, least)| *least <= depth) {
            return *known;
        }
        let mut is_cut = false;
        let found = (|| {
            let descriptor = self.reader.descriptor(address).ok()?;
            let fields = self.reader.raw_fields(&descriptor).ok()?;
            let mut first: Option<Held> = None;
            for field in fields {
                let inner = if field.descriptor == self.context {
                    Some(Held { offset: 0, through: None, embedded: true, is_the_only_one: true })
                } else if self.reader.descriptor(field.descriptor).ok()?.kind == Kind::Struct {
                    let (inner, least) =
                        if depth < MAX_DEPTH { self.held_by(field.descriptor, depth + 1) } else { (None, 1) };
                    is_cut |= least > 0;
                    inner
                } else {
                    None
                };
                let Some(inner) = inner else { continue };
                let (_, is_embedded) = self.reader.name(field.name).ok()?;
                let offset = field.offset.checked_add(inner.offset).filter(|end| *end < descriptor.size)?;
                // Methods are promoted from what is embedded: that one is the parent of the context that this is.
                if inner.embedded && is_embedded {
                    return Some(Held { offset, ..inner });
                }
                match &mut first {
                    Some(first) => first.is_the_only_one = false,
                    None => first = Some(Held { offset, embedded: false, ..inner }),
                }
            }
            first
        })();
        let known = (found, if is_cut { depth } else { 0 });
        self.known.insert(address, known);
        known
    }
}
