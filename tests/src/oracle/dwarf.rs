//! Struct layouts from DWARF, read with gimli.
//!
//! The attributes are those of Go's `cmd/internal/dwarf/dwarf.go`, unchanged from Go 1.21 to 1.27.

use gimli::{
    AttributeValue, DebuggingInformationEntry, DwAt, DwTag, Dwarf, DwarfSections, EndianSlice, LittleEndian,
    Unit, UnitOffset,
};
use object::{Object as _, ObjectSection as _};
use std::borrow::Cow;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = DebuggingInformationEntry<Bytes<'a>>;

const GO_KIND: DwAt = DwAt(0x2900);
const GO_EMBEDDED_FIELD: DwAt = DwAt(0x2903);
const GO_RUNTIME_TYPE: DwAt = DwAt(0x2904);
/// `internal/abi.Struct`.
const KIND_STRUCT: u64 = 25;
/// Of both architectures.
const POINTER_SIZE: u64 = 8;

/// A struct type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// With its package's path: `net/http.response`. A function's local types carry a number that their descriptors'
    /// names lack: `main.local·1`.
    pub name: String,
    /// In bytes, padding included.
    pub size: u64,
    /// In the order of their declaration.
    pub fields: Vec<Field>,
    /// Where its type descriptor lies, in bytes from the symbol `runtime.types`; `None` for types without one.
    pub descriptor: Option<u64>,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, of an embedded field the type's name without the package.
    pub name: String,
    /// In bytes from the struct's start.
    pub offset: u64,
    /// The name of its type, with the package's path.
    pub type_name: String,
    /// The size of its type in bytes.
    pub size: u64,
    /// Whether it is embedded.
    pub embedded: bool,
}

/// All struct types of an ELF file with DWARF, in the file's order. Go describes the types of variables and what they lead
/// to, so a type that is only ever allocated may have a descriptor and no entry here.
///
/// Entries that the compiler makes up beside Go's types (the headers of strings and slices, map internals) are left out:
/// they are no structs to Go.
pub fn struct_layouts(file: &[u8]) -> Result<Vec<StructLayout>, DwarfError> {
    let file = object::read::elf::ElfFile64::<object::LittleEndian>::parse(file)?;
    let sections = DwarfSections::load(|section| match file.section_by_name(section.name()) {
        Some(section) => section.uncompressed_data(),
        None => Ok(Cow::Borrowed(&[][..])),
    })?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let mut layouts = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs()? {
            if entry.tag() == gimli::DW_TAG_structure_type && number(entry, GO_KIND) == Some(KIND_STRUCT) {
                let entry = entry.clone();
                layouts.push(layout(&dwarf, &unit, &entry)?);
            }
        }
    }
    if layouts.is_empty() { Err(DwarfError::NoStructs) } else { Ok(layouts) }
}

fn layout<'a>(
    dwarf: &Dwarf<Bytes<'a>>,
    unit: &Unit<Bytes<'a>>,
    entry: &Entry<'a>,
) -> Result<StructLayout, DwarfError> {
    let mut fields = Vec::new();
    let mut tree = unit.entries_tree(Some(entry.offset()))?;
    let mut members = tree.root()?.children();
    while let Some(member) = members.next()? {
        let member = member.entry();
        if member.tag() != gimli::DW_TAG_member {
            continue;
        }
        let (type_unit, field_type) = reference(dwarf, unit, member)?;
        let type_unit = type_unit.as_ref().unwrap_or(unit);
        let field_type = type_unit.entry(field_type)?;
        fields.push(Field {
            name: name(dwarf, unit, member)?,
            offset: number(member, gimli::DW_AT_data_member_location)
                .ok_or(DwarfError::Missing { attribute: gimli::DW_AT_data_member_location })?,
            type_name: name(dwarf, type_unit, &field_type)?,
            size: size(dwarf, type_unit, &field_type, 0)?,
            embedded: matches!(member.attr_value(GO_EMBEDDED_FIELD), Some(AttributeValue::Flag(true))),
        });
    }
    let descriptor = match entry.attr_value(GO_RUNTIME_TYPE) {
        Some(value) => dwarf.attr_address(unit, value)?.filter(|address| *address != 0),
        None => None,
    };
    let size = number(entry, gimli::DW_AT_byte_size)
        .ok_or(DwarfError::Missing { attribute: gimli::DW_AT_byte_size })?;
    Ok(StructLayout { name: name(dwarf, unit, entry)?, size, fields, descriptor })
}

fn size<'a>(
    dwarf: &Dwarf<Bytes<'a>>,
    unit: &Unit<Bytes<'a>>,
    entry: &Entry<'a>,
    depth: u32,
) -> Result<u64, DwarfError> {
    const POINTERS: [DwTag; 2] = [gimli::DW_TAG_pointer_type, gimli::DW_TAG_subroutine_type];
    if let Some(size) = number(entry, gimli::DW_AT_byte_size) {
        return Ok(size);
    }
    if POINTERS.contains(&entry.tag()) {
        return Ok(POINTER_SIZE);
    }
    if depth > 64 {
        return Err(DwarfError::Cycle);
    }
    let (other, target) = reference(dwarf, unit, entry)?;
    let unit = other.as_ref().unwrap_or(unit);
    size(dwarf, unit, &unit.entry(target)?, depth + 1)
}

/// Where DW_AT_type leads, and the unit it lies in if that is another one.
fn reference<'a>(
    dwarf: &Dwarf<Bytes<'a>>,
    unit: &Unit<Bytes<'a>>,
    entry: &Entry<'a>,
) -> Result<(Option<Unit<Bytes<'a>>>, UnitOffset), DwarfError> {
    match entry.attr_value(gimli::DW_AT_type) {
        Some(AttributeValue::UnitRef(offset)) => Ok((None, offset)),
        Some(AttributeValue::DebugInfoRef(offset)) => {
            if let Some(offset) = offset.to_unit_offset(&unit.header) {
                return Ok((None, offset));
            }
            let mut units = dwarf.units();
            while let Some(header) = units.next()? {
                if let Some(offset) = offset.to_unit_offset(&header) {
                    return Ok((Some(dwarf.unit(header)?), offset));
                }
            }
            Err(DwarfError::Missing { attribute: gimli::DW_AT_type })
        }
        _ => Err(DwarfError::Missing { attribute: gimli::DW_AT_type }),
    }
}

fn name<'a>(
    dwarf: &Dwarf<Bytes<'a>>,
    unit: &Unit<Bytes<'a>>,
    entry: &Entry<'a>,
) -> Result<String, DwarfError> {
    let value =
        entry.attr_value(gimli::DW_AT_name).ok_or(DwarfError::Missing { attribute: gimli::DW_AT_name })?;
    Ok(dwarf.attr_string(unit, value)?.to_string_lossy().into_owned())
}

fn number(entry: &Entry<'_>, attribute: DwAt) -> Option<u64> {
    entry.attr_value(attribute)?.udata_value()
}

/// Why a file's DWARF gave no layouts.
#[derive(Debug, thiserror::Error)]
pub enum DwarfError {
    /// Not an ELF file, or a section cannot be decompressed.
    #[error("reading the sections")]
    Object(#[from] object::Error),
    /// The debugging information is not as it should be.
    #[error("reading the entries")]
    Gimli(#[from] gimli::Error),
    /// An entry lacks what all of its kind have.
    #[error("an entry without {attribute}")]
    Missing {
        /// What it lacks.
        attribute: DwAt,
    },
    /// A type is defined by itself.
    #[error("a type is defined by itself")]
    Cycle,
    /// The file has no debugging information, or not from Go.
    #[error("no Go struct in the debugging information")]
    NoStructs,
}
