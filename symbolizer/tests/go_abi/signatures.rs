//! Reads from DWARF the parameters of every function and where they lie at its entry.

use std::collections::HashMap;

use gimli::{
    AttributeValue, DebugInfoOffset, Dwarf, EndianSlice, Expression, LittleEndian, Operation, Unit,
    UnitOffset,
};
use lightfoot_symbolizer::Architecture;
use lightfoot_symbolizer::go_abi::{GoType, Place, Registers};

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = gimli::DebuggingInformationEntry<Reader<'a>>;

/// A function with DWARF parameters.
pub(crate) struct Subprogram {
    pub(crate) name: String,
    pub(crate) entry: u64,
    pub(crate) parameters: Vec<Parameter>,
}

pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) go_type: GoType<'static>,
    pub(crate) is_result: bool,
    /// Every part that has a place at the entry; `None` without a location there.
    pub(crate) pieces: Option<Vec<Piece>>,
}

/// Size in bytes, if the value has several parts, and place.
pub(crate) type Piece = (Option<u64>, Place);

pub(crate) struct Program<'a> {
    architecture: Architecture,
    dwarf: Dwarf<Reader<'a>>,
    units: Vec<(DebugInfoOffset, Unit<Reader<'a>>)>,
    types: HashMap<DebugInfoOffset, GoType<'static>>,
}

impl<'a> Program<'a> {
    pub(crate) fn new(architecture: Architecture, file: &object::File<'a>) -> Self {
        use object::{Object, ObjectSection};
        let section = |id: gimli::SectionId| -> Result<Reader<'a>, gimli::Error> {
            let data = file.section_by_name(id.name()).map_or(&[][..], |section| section.data().unwrap());
            Ok(EndianSlice::new(data, LittleEndian))
        };
        let dwarf = Dwarf::load(section).unwrap();
        let mut units = Vec::new();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next().unwrap() {
            units.push((header.debug_info_offset().unwrap(), dwarf.unit(header).unwrap()));
        }
        Self { architecture, dwarf, units, types: HashMap::new() }
    }

    pub(crate) fn subprograms(&mut self) -> Vec<Subprogram> {
        let mut raw = Vec::new();
        for (index, (_, unit)) in self.units.iter().enumerate() {
            let mut entries = unit.entries();
            let mut current: Option<(Entry<'a>, isize, Vec<Entry<'a>>)> = None;
            while let Some(entry) = entries.next_dfs().unwrap() {
                if let Some((_, depth, children)) = &mut current {
                    if entry.depth() > *depth {
                        if entry.depth() == *depth + 1 && entry.tag() == gimli::DW_TAG_formal_parameter {
                            children.push(entry.clone());
                        }
                        continue;
                    }
                    raw.extend(current.take().map(|(function, _, children)| (index, function, children)));
                }
                if entry.tag() == gimli::DW_TAG_subprogram && entry.has_attr(gimli::DW_AT_low_pc) {
                    current = Some((entry.clone(), entry.depth(), Vec::new()));
                }
            }
            raw.extend(current.map(|(function, _, children)| (index, function, children)));
        }
        raw.into_iter()
            .map(|(unit, function, children)| self.subprogram(unit, &function, &children))
            .collect()
    }

    fn subprogram(&mut self, unit: usize, function: &Entry<'a>, children: &[Entry<'a>]) -> Subprogram {
        let entry = match self.attribute(unit, function, gimli::DW_AT_low_pc) {
            Some((_, AttributeValue::Addr(address))) => address,
            Some((unit, AttributeValue::DebugAddrIndex(index))) => {
                self.dwarf.address(&self.units[unit].1, index).unwrap()
            }
            other => panic!("low_pc is {other:?}"),
        };
        let name = self.string(unit, function);
        let parameters = children.iter().map(|child| self.parameter(unit, child, entry)).collect();
        Subprogram { name, entry, parameters }
    }

    fn parameter(&mut self, unit: usize, child: &Entry<'a>, entry: u64) -> Parameter {
        let flag = self.attribute(unit, child, gimli::DW_AT_variable_parameter);
        let is_result = match flag {
            Some((_, AttributeValue::Flag(flag))) => flag,
            Some((_, value)) => value.udata_value().unwrap() != 0,
            None => false,
        };
        let (type_unit, type_value) = self.attribute(unit, child, gimli::DW_AT_type).unwrap();
        let go_type = self.go_type(self.target(type_unit, type_value));
        let expression = match child.attr_value(gimli::DW_AT_location) {
            Some(AttributeValue::Exprloc(expression)) => Some(expression),
            Some(value) => {
                let unit = &self.units[unit].1;
                self.dwarf.attr_locations(unit, value).unwrap().and_then(|mut list| {
                    let mut found = None;
                    while let Some(item) = list.next().unwrap() {
                        if (item.range.begin..item.range.end).contains(&entry) && found.is_none() {
                            found = Some(item.data);
                        }
                    }
                    found
                })
            }
            None => None,
        };
        let pieces = expression.and_then(|expression| self.pieces(unit, expression));
        Parameter { name: self.string(unit, child), go_type, is_result, pieces }
    }

    /// An attribute of the entry itself or of what it is an instance of.
    fn attribute(
        &self,
        unit: usize,
        entry: &Entry<'a>,
        name: gimli::DwAt,
    ) -> Option<(usize, AttributeValue<Reader<'a>>)> {
        if let Some(value) = entry.attr_value(name) {
            return Some((unit, value));
        }
        let origin = entry.attr_value(gimli::DW_AT_abstract_origin)?;
        let (unit, offset) = self.locate(self.target(unit, origin));
        let origin = self.units[unit].1.entry(offset).unwrap();
        self.attribute(unit, &origin, name)
    }

    fn string(&self, unit: usize, entry: &Entry<'a>) -> String {
        let Some((unit, value)) = self.attribute(unit, entry, gimli::DW_AT_name) else {
            return String::new();
        };
        self.dwarf.attr_string(&self.units[unit].1, value).unwrap().to_string_lossy().into_owned()
    }

    fn target(&self, unit: usize, reference: AttributeValue<Reader<'a>>) -> DebugInfoOffset {
        match reference {
            AttributeValue::DebugInfoRef(offset) => offset,
            AttributeValue::UnitRef(offset) => {
                offset.to_debug_info_offset(&self.units[unit].1.header).unwrap()
            }
            other => panic!("a reference is {other:?}"),
        }
    }

    fn locate(&self, offset: DebugInfoOffset) -> (usize, UnitOffset) {
        let unit = self.units.partition_point(|(start, _)| start.0 <= offset.0) - 1;
        (unit, offset.to_unit_offset(&self.units[unit].1.header).unwrap())
    }

    fn pieces(&self, unit: usize, expression: Expression<Reader<'a>>) -> Option<Vec<Piece>> {
        let registers = Registers::of(self.architecture);
        let mut operations = expression.operations(self.units[unit].1.encoding());
        let (mut pieces, mut place) = (Vec::new(), None);
        while let Some(operation) = operations.next().unwrap() {
            match operation {
                Operation::Register { register } => {
                    place = Some(place_of(self.architecture, registers, register.0));
                }
                // The frame base is the call frame address.
                Operation::CallFrameCFA => place = Some(self.above_frame(0)),
                Operation::FrameOffset { offset } => place = Some(self.above_frame(offset)),
                Operation::Piece { size_in_bits, .. } => {
                    pieces.extend(place.take().map(|place| (Some(size_in_bits / 8), place)));
                }
                // A parameter that was moved to the heap is found through a pointer.
                _ => return None,
            }
        }
        pieces.extend(place.map(|place| (None, place)));
        // Go 1.21 repeats pieces; no two parts of a value share a place.
        pieces.dedup();
        (!pieces.is_empty()).then_some(pieces)
    }

    /// On amd64 the call frame address lies behind the return address; on arm64 it is the stack pointer at the entry.
    fn above_frame(&self, offset: i64) -> Place {
        let return_address = if self.architecture == Architecture::X86_64 { 8 } else { 0 };
        Place::Stack(u64::try_from(offset + return_address).unwrap_or(u64::MAX))
    }

    fn go_type(&mut self, offset: DebugInfoOffset) -> GoType<'static> {
        if let Some(known) = self.types.get(&offset) {
            return *known;
        }
        let (unit, local) = self.locate(offset);
        let entry = self.units[unit].1.entry(local).unwrap();
        let number = |entry: &Entry<'a>, name| entry.attr_value(name).and_then(|value| value.udata_value());
        let size = number(&entry, gimli::DW_AT_byte_size);
        let bytes = || u8::try_from(size.unwrap()).unwrap();
        // DW_AT_go_kind: reflect.Kind.
        let kind = number(&entry, gimli::DwAt(0x2900)).unwrap_or_default();
        let go_type = match (entry.tag(), kind) {
            (_, 20) => GoType::Interface,
            (_, 23) => GoType::Slice,
            (_, 24) => GoType::String,
            (gimli::DW_TAG_base_type, _) => match entry.attr_value(gimli::DW_AT_encoding) {
                Some(AttributeValue::Encoding(gimli::DW_ATE_boolean)) => GoType::Bool,
                Some(AttributeValue::Encoding(gimli::DW_ATE_float)) => GoType::Float(bytes()),
                Some(AttributeValue::Encoding(gimli::DW_ATE_complex_float)) => GoType::Complex(bytes()),
                _ if kind == 12 => GoType::Uintptr,
                _ => GoType::Int(bytes()),
            },
            (gimli::DW_TAG_pointer_type | gimli::DW_TAG_subroutine_type, _) => GoType::Pointer,
            (gimli::DW_TAG_typedef, _) => {
                let target = self.target(unit, entry.attr_value(gimli::DW_AT_type).unwrap());
                self.go_type(target)
            }
            (gimli::DW_TAG_structure_type, _) => {
                let members = self.children(unit, local, gimli::DW_TAG_member);
                let fields: Vec<_> = members
                    .iter()
                    .map(|member| {
                        self.go_type(self.target(unit, member.attr_value(gimli::DW_AT_type).unwrap()))
                    })
                    .collect();
                GoType::Struct(fields.leak())
            }
            (gimli::DW_TAG_array_type, _) => {
                let element = self.go_type(self.target(unit, entry.attr_value(gimli::DW_AT_type).unwrap()));
                let range = self.children(unit, local, gimli::DW_TAG_subrange_type);
                GoType::Array(number(&range[0], gimli::DW_AT_count).unwrap(), Box::leak(Box::new(element)))
            }
            (tag, kind) => panic!("type {tag} of kind {kind}"),
        };
        self.types.insert(offset, go_type);
        go_type
    }

    fn children(&self, unit: usize, parent: UnitOffset, tag: gimli::DwTag) -> Vec<Entry<'a>> {
        let mut tree = self.units[unit].1.entries_tree(Some(parent)).unwrap();
        let mut children = tree.root().unwrap().children();
        let mut all = Vec::new();
        while let Some(child) = children.next().unwrap() {
            if child.entry().tag() == tag {
                all.push(child.entry().clone());
            }
        }
        all
    }
}

/// DWARF numbers: on x86-64 as in the System V ABI, xmm0 is 17; on arm64 x0 is 0 and v0 is 64.
fn place_of(architecture: Architecture, registers: &Registers, dwarf: u16) -> Place {
    const X86_64: [u8; 8] = [0, 2, 1, 3, 6, 7, 5, 4];
    let first_float = if architecture == Architecture::X86_64 { 17 } else { 64 };
    let (number, sequence, place): (u16, _, fn(u8) -> Place) = match dwarf.checked_sub(first_float) {
        Some(number) => (number, registers.floats, Place::FloatRegister),
        None => (dwarf, registers.integers, Place::IntegerRegister),
    };
    let general = architecture == Architecture::X86_64 && dwarf < 8;
    let number = if general { X86_64[usize::from(number)].into() } else { number };
    let index = sequence.iter().position(|register| u16::from(register.number) == number);
    place(u8::try_from(index.unwrap_or(200)).unwrap())
}
