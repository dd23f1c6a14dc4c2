//! Where a sound Go binary holds what is worth damaging: found by symbols and DWARF, which the symbolizer does not use.

use super::put;
use crate::elf::read_u64;
use crate::oracle::{StructLayout, dwarf, struct_layouts};
use object::elf::{FileHeader64, PT_DYNAMIC, SHT_RELA};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _};
use std::collections::HashMap;
use std::iter;
use std::ops::Range;

/// Places in one file. Ranges are file offsets.
#[derive(Clone, Debug)]
pub struct Landmarks {
    /// The program header table.
    pub program_headers: Range<usize>,
    /// The section header table.
    pub section_headers: Range<usize>,
    /// The dynamic section, in files that have one.
    pub dynamic: Option<Range<usize>>,
    /// The sections of relocations with addends.
    pub relocations: Vec<Range<usize>>,
    /// From pclntab's header to the end of the file's part that holds it.
    pub pclntab: Range<usize>,
    /// `runtime.firstmoduledata`, its first 80 words.
    pub module_data: Range<usize>,
    /// The address of `runtime.firstmoduledata`.
    pub module_data_address: u64,
    /// `go:func.*`, where inline trees lie.
    pub function_data: usize,
    /// The build information, from its magic on.
    pub build_info: Range<usize>,
    /// Struct descriptors of package main, by name: address and file offset.
    pub structs: HashMap<String, (u64, usize)>,
    segments: Vec<(Range<u64>, usize)>,
    /// The relocated words of the file, by offset: where their addends stand.
    addends: HashMap<usize, usize>,
}

impl Landmarks {
    /// The places in `file`, which must be a Go binary with symbols and DWARF.
    pub fn find(file: &[u8]) -> Result<Self, LandmarkError> {
        let elf = ElfFile64::<LittleEndian>::parse(file)?;
        let header: &FileHeader64<LittleEndian> = elf.elf_header();
        let endian = elf.endian();
        let table = |offset: u64, size: u16, count: u16| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            start..start.saturating_add(usize::from(size) * usize::from(count))
        };
        let range = |(offset, size): (u64, u64)| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            start..start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX))
        };
        let segments = elf
            .elf_program_headers()
            .iter()
            .filter(|segment| segment.p_type(endian) == object::elf::PT_LOAD)
            .map(|segment| {
                let address = segment.p_vaddr(endian);
                let (offset, size) = segment.file_range(endian);
                (address..address.saturating_add(size), usize::try_from(offset).unwrap_or(usize::MAX))
            })
            .collect::<Vec<_>>();
        let symbol = |name: &'static str| {
            let mut symbols = elf.symbols();
            let symbol = symbols.find(|symbol| symbol.name() == Ok(name));
            symbol.map(|symbol| symbol.address()).ok_or(LandmarkError::NoSymbol(name))
        };
        let offset = |address: u64| file_offset(&segments, address).ok_or(LandmarkError::NotInFile(address));
        let module_data_address = symbol("runtime.firstmoduledata")?;
        let module_data = offset(module_data_address)?;
        let pclntab = offset(symbol("runtime.pclntab")?)?;
        let build_info = elf.section_by_name(".go.buildinfo").and_then(|section| section.file_range());
        let types = symbol("runtime.types")?;
        let mut structs = HashMap::new();
        for StructLayout { name, descriptor, .. } in struct_layouts(file)? {
            if let (Some(descriptor), true) = (descriptor, name.starts_with("main.")) {
                let address = types.wrapping_add(descriptor);
                structs.insert(name, (address, offset(address)?));
            }
        }
        let relocations: Vec<Range<usize>> = elf
            .elf_section_table()
            .iter()
            .filter(|section| section.sh_type(endian) == SHT_RELA)
            .filter_map(|section| section.file_range(endian).map(range))
            .collect();
        let addends = relocations
            .iter()
            .flat_map(|table| table.clone().step_by(24))
            .filter_map(|entry| {
                Some((file_offset(&segments, read_u64(file, entry)?)?, entry.checked_add(16)?))
            })
            .collect();
        Ok(Self {
            program_headers: table(
                header.e_phoff(endian),
                header.e_phentsize(endian),
                header.e_phnum(endian),
            ),
            section_headers: table(
                header.e_shoff(endian),
                header.e_shentsize(endian),
                header.e_shnum(endian),
            ),
            dynamic: elf
                .elf_program_headers()
                .iter()
                .find(|segment| segment.p_type(endian) == PT_DYNAMIC)
                .map(|segment| range(segment.file_range(endian))),
            relocations,
            pclntab: pclntab..pclntab.saturating_add(0x1000).min(file.len()),
            module_data: module_data..module_data.saturating_add(80 * 8).min(file.len()),
            module_data_address,
            function_data: offset(symbol("go:func.*")?)?,
            build_info: build_info.map(range).ok_or(LandmarkError::NoSymbol(".go.buildinfo"))?,
            structs,
            segments,
            addends,
        })
    }

    /// The file offset of a virtual address.
    pub fn file_offset(&self, address: u64) -> Option<usize> {
        file_offset(&self.segments, address)
    }

    /// The virtual address of a file offset.
    pub fn address(&self, offset: usize) -> Option<u64> {
        self.segments.iter().find_map(|(range, start)| {
            let address = range.start.checked_add(offset.checked_sub(*start)? as u64)?;
            range.contains(&address).then_some(address)
        })
    }

    /// The address of the last word that is in the file.
    pub fn last_word(&self) -> Option<u64> {
        self.segments.iter().map(|(range, _)| range.end).max()?.checked_sub(8)
    }

    /// Where the addend of the relocation stands that changes the word at `offset`.
    pub fn addend(&self, offset: usize) -> Option<usize> {
        self.addends.get(&offset).copied()
    }

    /// Sets the word at `offset` and the addend of its relocation, which would undo that.
    pub fn put_word(&self, file: &mut [u8], offset: usize, value: u64) {
        for at in iter::once(offset).chain(self.addend(offset)) {
            put(file, at, &value.to_le_bytes());
        }
    }

    /// Headers and the starts of tables: where one byte decides most.
    pub fn critical(&self) -> Vec<Range<usize>> {
        let mut ranges = vec![
            0..64,
            self.program_headers.clone(),
            self.section_headers.clone(),
            self.pclntab.start..self.pclntab.start.saturating_add(0x400),
            self.module_data.clone(),
            self.build_info.start..self.build_info.start.saturating_add(0x100),
        ];
        ranges.extend(self.dynamic.clone());
        ranges.extend(self.structs.values().map(|(_, offset)| *offset..offset.saturating_add(0x100)));
        ranges
    }
}

fn file_offset(segments: &[(Range<u64>, usize)], address: u64) -> Option<usize> {
    let (range, offset) = segments.iter().find(|(range, _)| range.contains(&address))?;
    offset.checked_add(usize::try_from(address - range.start).ok()?)
}

/// Why a file cannot be damaged with knowledge.
#[derive(Debug, thiserror::Error)]
pub enum LandmarkError {
    /// Not an ELF file.
    #[error("reading the headers")]
    Object(#[from] object::Error),
    /// No struct layouts.
    #[error("reading the debugging information")]
    Dwarf(#[from] dwarf::DwarfError),
    /// A symbol or section is missing.
    #[error("no {0}")]
    NoSymbol(&'static str),
    /// An address is not in the file.
    #[error("address {0:#x} is not in the file")]
    NotInFile(u64),
}
