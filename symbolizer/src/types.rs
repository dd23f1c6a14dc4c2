//! Struct layouts from the type descriptors that Go's runtime works with (internal/abi/type.go).
//!
//! The allocator, interfaces and maps need descriptors at run time, so they survive `-s -w -trimpath`, and they are
//! those of the very program, whatever its version, fork or replaced module. Layouts from DWARF and descriptors were
//! compared over all supported versions: equal without exception (`tests/tests/layouts.rs`).

use std::ops::ControlFlow;

use rustc_hash::{FxHashMap, FxHashSet};
use thiserror::Error;

use crate::address::VirtualAddress;
use crate::image::{Image, ImageError};
use crate::moduledata::ModuleData;
use crate::source::Source;

mod contexts;
mod descriptor;
mod maps;

pub use contexts::{ContextHolder, MAX_CONTEXT_HOLDERS};
pub use descriptor::{Descriptor, Kind};
pub use maps::{MapKind, MapLayout};

/// At most so many fields in a struct; generated code reaches a thousand.
pub const MAX_FIELDS: u64 = 4096;
/// At most so many descriptors in a program; kube-apiserver has 40,000, 15,000 of them structs.
pub const MAX_DESCRIPTORS: usize = 4 << 20;

/// Why a type cannot be told.
#[derive(Debug, Error)]
pub enum TypeError {
    /// The bytes at the address are no descriptor of that kind.
    #[error("no {expected} descriptor at {address}")]
    Mismatch {
        /// What was expected.
        expected: &'static str,
        /// Where.
        address: VirtualAddress,
    },
    /// More descriptors than any real program has.
    #[error("more than {MAX_DESCRIPTORS} type descriptors")]
    TooMany,
    /// The bytes could not be read.
    #[error("reading type descriptors")]
    Image(#[from] ImageError),
}

/// Where a layout comes from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayoutSource {
    /// The program's own type descriptor.
    Descriptor,
    /// The program's DWARF.
    Dwarf,
}

/// The layout of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// Import path and name, such as `net/http.response`; unnamed structs have Go's short form.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// The fields in the order of their offsets.
    pub fields: Vec<Field>,
    /// Where the layout comes from.
    pub source: LayoutSource,
    /// The descriptor, by whose address values of this type are told in interfaces.
    pub descriptor: Option<VirtualAddress>,
    /// The descriptor of the type of pointers to it, by which these are told. The compiler makes one with every named type.
    pub pointer_descriptor: Option<VirtualAddress>,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; an embedded field has its type's.
    pub name: String,
    /// Offset in bytes from the start of the struct.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// What kind of type it has. A field can change from a pointer to an embedded value between versions.
    pub kind: Kind,
    /// The type, in Go's short form for unnamed types, with its import path for named ones.
    pub type_name: String,
    /// Whether it is embedded.
    pub embedded: bool,
    /// The descriptor of its type.
    pub descriptor: Option<VirtualAddress>,
}

impl StructLayout {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// What one pass over the descriptors found.
#[derive(Debug, Default)]
pub struct Types {
    layouts: FxHashMap<String, StructLayout>,
    /// The named structs that hold a `context.Context`, their own or an embedded struct's, by descriptor.
    pub context_holders: Vec<ContextHolder>,
    /// How many struct descriptors the program has.
    pub struct_count: usize,
}

impl Types {
    /// Finds the layouts of `wanted` types and all holders of contexts.
    pub fn find<S: Source>(
        image: &Image<S>,
        module: &ModuleData,
        wanted: &[&str],
    ) -> Result<Self, TypeError> {
        let reader = Descriptors::new(image, module);
        let wanted: FxHashSet<&str> = wanted.iter().copied().collect();
        // The last part of a wanted name: enough to rule out most types without building their full names.
        let tails: FxHashSet<&str> =
            wanted.iter().map(|name| name.rsplit_once('.').map_or(*name, |(_, tail)| tail)).collect();
        let mut found = Self::default();
        let mut structs = Vec::new();
        let mut context = None;
        for candidate in candidates(image, module)? {
            let Ok(descriptor) = reader.descriptor(candidate) else { continue };
            if descriptor.kind == Kind::Struct {
                structs.push(candidate);
            }
            let Ok(short) = reader.short_name(&descriptor) else { continue };
            let tail = short.rsplit_once('.').map_or(short.as_str(), |(_, tail)| tail);
            let is_context = descriptor.kind == Kind::Interface && short == "context.Context";
            if !is_context && !tails.contains(tail) {
                continue;
            }
            let Ok(name) = reader.full_name(&descriptor) else { continue };
            if is_context && name == "context.Context" {
                context = Some(candidate);
            }
            if wanted.contains(name.as_str())
                && let Ok(layout) = reader.structure(candidate)
            {
                found.layouts.insert(name, layout);
            }
        }
        found.struct_count = structs.len();
        if let Some(context) = context {
            found.context_holders = contexts::find(&reader, context, &structs);
        }
        Ok(found)
    }

    /// The layout of a wanted type, where the program has its descriptor.
    pub fn layout(&self, name: &str) -> Option<&StructLayout> {
        self.layouts.get(name)
    }

    /// Adds layouts from another source for types that had no descriptor.
    pub fn add(&mut self, layout: StructLayout) {
        self.layouts.entry(layout.name.clone()).or_insert(layout);
    }
}

/// Reads descriptors of one program.
pub struct Descriptors<'a, S> {
    pub(crate) image: &'a Image<S>,
    /// The start of the types, from which offsets of names count.
    pub(crate) types: VirtualAddress,
    /// The first address behind the types.
    end: VirtualAddress,
}

impl<'a, S: Source> Descriptors<'a, S> {
    /// A reader for the program's descriptors.
    pub fn new(image: &'a Image<S>, module: &ModuleData) -> Self {
        let types = module.types;
        Self { image, types: types.address, end: types.address.past(types.length) }
    }

    /// The name of the type whose descriptor lies at `address`, as `reflect.Type.String` gives it: `*net.OpError`. The
    /// address may come from a running process, such as an itab's `Type`, and lead anywhere.
    pub fn type_name(&self, address: VirtualAddress) -> Result<String, TypeError> {
        let is_among_types = (self.types..self.end).contains(&address) && address.0.is_multiple_of(8);
        let descriptor = if is_among_types { self.descriptor(address).ok() } else { None };
        let name = descriptor.and_then(|descriptor| self.short_name(&descriptor).ok());
        name.filter(|name| !name.is_empty()).ok_or(TypeError::Mismatch { expected: "type", address })
    }

    /// Hands the layout of every struct to `visit`.
    pub fn for_each_struct(
        &self,
        module: &ModuleData,
        mut visit: impl FnMut(StructLayout),
    ) -> Result<(), TypeError> {
        for candidate in candidates(self.image, module)? {
            if let Ok(layout) = self.structure(candidate) {
                visit(layout);
            }
        }
        Ok(())
    }

    /// The layout of the struct whose descriptor lies at `address`.
    pub fn structure(&self, address: VirtualAddress) -> Result<StructLayout, TypeError> {
        let mismatch = || TypeError::Mismatch { expected: "struct", address };
        let descriptor = self.descriptor(address)?;
        let raw_fields = self.raw_fields(&descriptor)?;
        let mut fields = Vec::with_capacity(raw_fields.len());
        for raw in raw_fields {
            let of_field = self.descriptor(raw.descriptor)?;
            let (name, embedded) = self.name(raw.name)?;
            if raw.offset.checked_add(of_field.size).is_none_or(|end| end > descriptor.size) {
                return Err(mismatch());
            }
            fields.push(Field {
                name,
                offset: raw.offset,
                size: of_field.size,
                kind: of_field.kind,
                type_name: self.full_name(&of_field)?,
                embedded,
                descriptor: Some(raw.descriptor),
            });
        }
        if !fields.is_sorted_by_key(|field| field.offset) {
            return Err(mismatch());
        }
        Ok(StructLayout {
            name: self.full_name(&descriptor)?,
            size: descriptor.size,
            fields,
            source: LayoutSource::Descriptor,
            descriptor: Some(address),
            pointer_descriptor: self.pointer_to(&descriptor),
        })
    }
}

/// The addresses that may hold a descriptor of a struct or an interface, told by alignment and kind alone.
fn candidates<S: Source>(image: &Image<S>, module: &ModuleData) -> Result<Vec<VirtualAddress>, TypeError> {
    const STEP: usize = 8;
    let mut found = Vec::new();
    let (start, length) = (module.types.address, module.types.length);
    let full = image.scan(start, length, descriptor::HEADER - STEP, |at, bytes| {
        let skew = usize::try_from(at.0.wrapping_neg() % STEP as u64).unwrap_or(0);
        let aligned = bytes.get(skew..).unwrap_or_default();
        for (index, window) in aligned.windows(descriptor::HEADER).step_by(STEP).enumerate() {
            let Some(&[align, field_align, kind]) = window.get(21..24) else { continue };
            if Kind::is_wanted(kind) && align == field_align && align.is_power_of_two() && align <= 16 {
                found.push(at.past((skew + index * STEP) as u64));
            }
        }
        if found.len() > MAX_DESCRIPTORS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if full.is_some() {
        return Err(TypeError::TooMany);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests;
