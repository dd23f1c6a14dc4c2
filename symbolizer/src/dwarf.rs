//! Struct layouts from DWARF: the fallback for types without a descriptor, and the oracle of the tests.
//!
//! A few types have no descriptor because the program never allocates them by type or converts them to an
//! interface, such as `runtime.schedt`. Where the program was not stripped, DWARF has them.

use std::borrow::Cow;
use std::cell::Cell;

use gimli::{AttributeValue, EndianSlice, LittleEndian, Section as _, constants as dw};
use object::read::{ReadCache, ReadCacheOps};
use object::{Object, ObjectSection};
use rustc_hash::FxHashSet;
use thiserror::Error;

use crate::source::Source;
use crate::types::{Field, Kind, LayoutSource, MAX_FIELDS, StructLayout};

/// At most so many bytes of debug information are loaded; kube-apiserver, unstripped, has 60 MB.
pub const MAX_DEBUG_INFO: u64 = 256 << 20;
/// At most so many units are passed in search of those that fields' types are in; Kubernetes' API server, unstripped, has some thousand
/// units and needs some hundred such searches.
const MAX_PASSED_UNITS: u64 = 16 << 20;
/// Typedefs that refer to each other more often than this are taken for a cycle.
const MAX_TYPEDEFS: usize = 16;
/// `DW_AT_go_kind` and `DW_AT_go_embedded_field` (cmd/internal/dwarf/dwarf.go).
const GO_KIND: gimli::DwAt = gimli::DwAt(0x2900);
const GO_EMBEDDED: gimli::DwAt = gimli::DwAt(0x2903);

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Why DWARF gave no layouts.
#[derive(Debug, Error)]
pub enum DwarfError {
    /// The program was linked with `-w`, or stripped.
    #[error("the program carries no DWARF")]
    Absent,
    /// More debug information than is worth loading.
    #[error("the DWARF has {0:#x} bytes, more than {MAX_DEBUG_INFO:#x}")]
    TooLong(u64),
    /// Types are in other units more often, or behind more units, than is searched.
    #[error("types of the DWARF take a search through more than {MAX_PASSED_UNITS} units")]
    TooScattered,
    /// The section table or a section's compression is damaged.
    #[error("reading the sections of the DWARF")]
    Sections(#[source] object::Error),
    /// The DWARF is damaged.
    #[error("reading the DWARF")]
    Dwarf(#[from] gimli::Error),
}

/// Hands the layout of each struct type for which `wanted` is true to `visit`.
pub fn for_each_struct<S: Source>(
    source: &S,
    wanted: impl Fn(&str) -> bool,
    mut visit: impl FnMut(StructLayout),
) -> Result<(), DwarfError> {
    let cache = ReadCache::new(Cursor { source, position: Cell::new(0) });
    let file = object::File::parse(&cache).map_err(DwarfError::Sections)?;
    // Each may be a fraction of what it unfolds to, and all of them are in memory at once.
    let mut total = 0_u64;
    for section in SECTIONS.iter().filter_map(|name| file.section_by_name(name)) {
        let range = section.compressed_file_range().map_err(DwarfError::Sections)?;
        total = total.saturating_add(range.uncompressed_size.max(range.compressed_size));
    }
    if total > MAX_DEBUG_INFO {
        return Err(DwarfError::TooLong(total));
    }
    let load = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>, DwarfError> {
        if !SECTIONS.contains(&id.name()) {
            return Ok(Cow::default());
        }
        let Some(section) = file.section_by_name(id.name()) else { return Ok(Cow::default()) };
        let data = section.compressed_data().map_err(DwarfError::Sections)?;
        if data.uncompressed_size > MAX_DEBUG_INFO {
            return Err(DwarfError::TooLong(data.uncompressed_size));
        }
        data.decompress().map_err(DwarfError::Sections)
    };
    let sections = gimli::DwarfSections::load(load)?;
    let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
    if dwarf.debug_info.reader().is_empty() {
        return Err(DwarfError::Absent);
    }
    let mut seen = FxHashSet::default();
    let left = Cell::new(MAX_PASSED_UNITS);
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs()? {
            // Strings, slices and interfaces are structures to DWARF as well; Go marks each with its kind.
            if entry.tag() != dw::DW_TAG_structure_type
                || kind(entry.attr_value(GO_KIND)) != Some(Kind::Struct)
            {
                continue;
            }
            let Some(name) = string(&dwarf, &unit, entry.attr_value(dw::DW_AT_name))? else { continue };
            if !wanted(&name) || !seen.insert(name.clone()) {
                continue;
            }
            let offset = entry.offset();
            if let Some(layout) = layout(&dwarf, &unit, offset, name, &left)? {
                visit(layout);
            }
        }
    }
    Ok(())
}

/// gimli reads the head of a unit's line table and its address base whether asked or not.
const SECTIONS: &[&str] = &[
    ".debug_info",
    ".debug_abbrev",
    ".debug_str",
    ".debug_line_str",
    ".debug_str_offsets",
    ".debug_line",
    ".debug_addr",
];

fn layout(
    dwarf: &gimli::Dwarf<Slice<'_>>,
    unit: &gimli::Unit<Slice<'_>>,
    offset: gimli::UnitOffset,
    name: String,
    left: &Cell<u64>,
) -> Result<Option<StructLayout>, DwarfError> {
    let mut tree = unit.entries_tree(Some(offset))?;
    let root = tree.root()?;
    let Some(size) = root.entry().attr_value(dw::DW_AT_byte_size).and_then(|size| size.udata_value()) else {
        return Ok(None);
    };
    let mut fields = Vec::new();
    let mut children = root.children();
    while let Some(child) = children.next()? {
        let entry = child.entry();
        if entry.tag() != dw::DW_TAG_member || fields.len() as u64 >= MAX_FIELDS {
            continue;
        }
        let Some(name) = string(dwarf, unit, entry.attr_value(dw::DW_AT_name))? else { continue };
        let offset = entry.attr_value(dw::DW_AT_data_member_location).and_then(|at| at.udata_value());
        let embedded = matches!(entry.attr_value(GO_EMBEDDED), Some(AttributeValue::Flag(true)));
        let of_type = field_type(dwarf, unit, entry.attr_value(dw::DW_AT_type), left)?;
        let (Some(offset), Some((type_name, size, kind))) = (offset, of_type) else { return Ok(None) };
        fields.push(Field { name, offset, size, kind, type_name, embedded, descriptor: None });
    }
    Ok(Some(StructLayout {
        name,
        size,
        fields,
        source: LayoutSource::Dwarf,
        descriptor: None,
        pointer_descriptor: None,
    }))
}

/// Name, size and kind of a field's type; the name is the outermost typedef's.
fn field_type(
    dwarf: &gimli::Dwarf<Slice<'_>>,
    unit: &gimli::Unit<Slice<'_>>,
    reference: Option<AttributeValue<Slice<'_>>>,
    left: &Cell<u64>,
) -> Result<Option<(String, u64, Kind)>, DwarfError> {
    let (mut name, mut of_kind, mut reference) = (None, None, reference);
    for _ in 0..MAX_TYPEDEFS {
        // Go's linker refers to types of other units by offsets in the whole section.
        let next = match reference {
            Some(AttributeValue::UnitRef(offset)) => Some((None, offset)),
            Some(AttributeValue::DebugInfoRef(offset)) => match offset.to_unit_offset(&unit.header) {
                Some(offset) => Some((None, offset)),
                None => other_unit(dwarf, offset, left)?.map(|(unit, offset)| (Some(unit), offset)),
            },
            _ => None,
        };
        let Some((other, offset)) = next else { return Ok(None) };
        let unit = other.as_ref().unwrap_or(unit);
        let entry = unit.entry(offset)?;
        if name.is_none() {
            name = string(dwarf, unit, entry.attr_value(dw::DW_AT_name))?;
        }
        if of_kind.is_none() {
            of_kind = kind(entry.attr_value(GO_KIND));
        }
        match entry.tag() {
            dw::DW_TAG_typedef => reference = entry.attr_value(dw::DW_AT_type),
            tag => {
                let size = match entry.attr_value(dw::DW_AT_byte_size).and_then(|size| size.udata_value()) {
                    Some(size) => Some(size),
                    None => matches!(tag, dw::DW_TAG_pointer_type | dw::DW_TAG_subroutine_type).then_some(8),
                };
                return Ok(name.zip(size).zip(of_kind).map(|((name, size), kind)| (name, size, kind)));
            }
        }
    }
    Ok(None)
}

fn kind(value: Option<AttributeValue<Slice<'_>>>) -> Option<Kind> {
    Kind::from_number(u8::try_from(value?.udata_value()?).ok()?)
}

fn other_unit<'a>(
    dwarf: &gimli::Dwarf<Slice<'a>>,
    offset: gimli::DebugInfoOffset,
    left: &Cell<u64>,
) -> Result<Option<(gimli::Unit<Slice<'a>>, gimli::UnitOffset)>, DwarfError> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        left.set(left.get().checked_sub(1).ok_or(DwarfError::TooScattered)?);
        if let Some(within) = offset.to_unit_offset(&header) {
            return Ok(Some((dwarf.unit(header)?, within)));
        }
    }
    Ok(None)
}

fn string(
    dwarf: &gimli::Dwarf<Slice<'_>>,
    unit: &gimli::Unit<Slice<'_>>,
    value: Option<AttributeValue<Slice<'_>>>,
) -> Result<Option<String>, DwarfError> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(dwarf.attr_string(unit, value)?.to_string_lossy().into_owned()))
}

/// A [`Source`] with a position, as the object crate wants it.
struct Cursor<'a, S> {
    source: &'a S,
    position: Cell<u64>,
}

impl<S: Source> ReadCacheOps for Cursor<'_, S> {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.source.size())
    }

    fn seek(&mut self, position: u64) -> Result<u64, ()> {
        self.position.set(position);
        Ok(position)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ()> {
        let left =
            usize::try_from(self.source.size().saturating_sub(self.position.get())).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        self.read_exact(buffer.get_mut(..count).unwrap_or_default())?;
        Ok(count)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ()> {
        self.source.read_at(self.position.get(), buffer).map_err(|_| ())?;
        self.position.set(self.position.get().saturating_add(buffer.len() as u64));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
