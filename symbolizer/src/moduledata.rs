//! Finding Go's function table (pclntab) and the runtime's description of the module, without section names.
//!
//! The function table starts with a header of known shape. Exactly one word of the data points at it from the head
//! of `runtime.firstmoduledata` (runtime/symtab.go), which also says where text, types and funcdata lie. Header and
//! module data prove each other; neither is believed alone.

use std::ops::ControlFlow;

use thiserror::Error;

use crate::address::VirtualAddress;
use crate::image::{Image, ImageError, Segment};
use crate::source::Source;

/// The header's first six bytes since Go 1.20 (internal/abi/symtab.go, `Go120PCLnTabMagic`), padding included.
const MAGIC: &[u8] = b"\xf1\xff\xff\xff\x00\x00";
/// Go 1.18 and 1.19.
const MAGIC_BEFORE: &[u8] = b"\xf0\xff\xff\xff\x00\x00";
/// At most so many places that look like a header or point at one are tried.
const MAX_CANDIDATES: usize = 64;
/// At most so many functions; kube-apiserver has 150,000.
pub const MAX_FUNCTIONS: u64 = 8 << 20;

/// Above this, a word is no count of text sections but an address.
const MAX_TEXT_SECTIONS: u64 = 4096;

/// Words of `runtime.moduledata`, the same from Go 1.21 to 1.27 (runtime/symtab.go).
mod word {
    pub(super) const FUNCNAMETAB: usize = 1;
    pub(super) const PCTAB: usize = 10;
    pub(super) const PCLNTABLE: usize = 13;
    pub(super) const FTAB: usize = 16;
    pub(super) const MINPC: usize = 20;
    pub(super) const TEXT: usize = 22;
    pub(super) const ETEXT: usize = 23;
    pub(super) const TYPES: usize = 37;
    pub(super) const COUNT: usize = 52;
}

/// A region that the module data names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first byte.
    pub address: VirtualAddress,
    /// Its length in bytes.
    pub length: u64,
}

/// What the runtime knows of the program's one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleData {
    /// Where the module data itself lies.
    pub address: VirtualAddress,
    /// Where the function table's header lies.
    pub pclntab: VirtualAddress,
    /// Names, each ended by a zero byte.
    pub function_names: Region,
    /// Tables of values by program counter.
    pub pc_values: Region,
    /// The functions' records (`runtime._func`), from the start of which record offsets count.
    pub function_records: Region,
    /// Pairs of (entry offset, record offset), one more than there are functions.
    pub function_table: VirtualAddress,
    /// How many functions there are.
    pub function_count: u64,
    /// The code, from the start of which entry offsets count.
    pub text: Region,
    /// Type descriptors and their names, from the start of which name offsets count.
    pub types: Region,
    /// The start of `go:func.*`, from which funcdata offsets count.
    pub funcdata: VirtualAddress,
}

/// Why the module cannot be described.
#[derive(Debug, Error)]
pub enum ModuleDataError {
    /// No function table with a magic that we know.
    #[error("no Go function table (pclntab) was found")]
    NoFunctionTable,
    /// A function table of Go 1.18 or 1.19.
    #[error("a function table of Go 1.18 or 1.19")]
    BeforeGo120,
    /// Function tables without module data that confirms them.
    #[error("{0} possible Go function tables, but no module data that confirms one")]
    Unconfirmed(usize),
    /// Several sets of module data confirm each other.
    #[error("several Go modules in one file (a plugin host or a file made to confuse)")]
    Ambiguous,
    /// More than one text section, as on architectures with short branches.
    #[error("the code is split into {0} text sections, which is not supported")]
    SplitText(u64),
    /// The bytes could not be read.
    #[error("searching for the Go function table")]
    Image(#[from] ImageError),
}

impl ModuleData {
    /// Finds the module data.
    pub fn find<S: Source>(image: &Image<S>) -> Result<Self, ModuleDataError> {
        let headers = find_headers(image, MAGIC)?;
        let mut found: Vec<Self> = Vec::new();
        for &(header, names_offset) in &headers {
            for address in find_pointers(image, header)? {
                match Self::read_at(image, address, header, names_offset) {
                    Ok(Some(module)) if !found.contains(&module) => found.push(module),
                    Ok(_) | Err(ModuleDataError::Image(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(module), true) => Ok(module),
            (Some(_), false) => Err(ModuleDataError::Ambiguous),
            (None, _) if !headers.is_empty() => Err(ModuleDataError::Unconfirmed(headers.len())),
            (None, _) if !find_headers(image, MAGIC_BEFORE)?.is_empty() => Err(ModuleDataError::BeforeGo120),
            (None, _) => Err(ModuleDataError::NoFunctionTable),
        }
    }

    /// The module data at `address`, or `None` where the words there are something else.
    fn read_at<S: Source>(
        image: &Image<S>,
        address: VirtualAddress,
        header: VirtualAddress,
        names_offset: u64,
    ) -> Result<Option<Self>, ModuleDataError> {
        let words: [u64; word::COUNT] = image.words(address)?;
        let at = |index: usize| words.get(index).copied().unwrap_or_default();
        let region = |index: usize| Region { address: VirtualAddress(at(index)), length: at(index + 1) };
        let (text, etext, types) = (at(word::TEXT), at(word::ETEXT), at(word::TYPES));
        if header.0.checked_add(names_offset) != Some(at(word::FUNCNAMETAB))
            || at(word::MINPC) < text
            || etext <= text
        {
            return Ok(None);
        }
        // Go 1.27 put typedesclen before etypes, and itaboffset and itabsize before gofunc.
        let (etypes, gofunc) = if at(word::TYPES + 1) >= types {
            (at(word::TYPES + 1), word::TYPES + 3)
        } else {
            (at(word::TYPES + 2), word::TYPES + 6)
        };
        // textsectmap follows gofunc; since Go 1.26 epclntab stands between. Length and capacity are equal.
        let sections = [gofunc + 2, gofunc + 3]
            .into_iter()
            .find(|&length| at(length) == at(length + 1) && (1..MAX_TEXT_SECTIONS).contains(&at(length)));
        let Some(sections) = sections.map(at) else { return Ok(None) };
        let functions = at(word::FTAB + 1).saturating_sub(1);
        if etypes <= types || functions == 0 || functions > MAX_FUNCTIONS {
            return Ok(None);
        }
        if sections > 1 {
            return Err(ModuleDataError::SplitText(sections));
        }
        Ok(Some(Self {
            address,
            pclntab: header,
            function_names: region(word::FUNCNAMETAB),
            pc_values: region(word::PCTAB),
            function_records: region(word::PCLNTABLE),
            function_table: VirtualAddress(at(word::FTAB)),
            function_count: functions,
            text: Region { address: VirtualAddress(text), length: etext - text },
            types: Region { address: VirtualAddress(types), length: etypes - types },
            funcdata: VirtualAddress(at(gofunc)),
        }))
    }
}

/// Read-only data first, where Go's linker puts the table; code last, for linkers that mix the two.
fn in_search_order<S: Source>(image: &Image<S>) -> impl Iterator<Item = &Segment> {
    let data = image.segments.iter().filter(|segment| !segment.executable);
    data.chain(image.segments.iter().filter(|segment| segment.executable))
}

/// The headers of function tables: address, and the offset of the name table in it.
fn find_headers<S: Source>(
    image: &Image<S>,
    magic: &[u8],
) -> Result<Vec<(VirtualAddress, u64)>, ModuleDataError> {
    let mut headers = Vec::new();
    for segment in in_search_order(image) {
        if segment.executable && !headers.is_empty() {
            break;
        }
        let mut left = MAX_CANDIDATES;
        image.find(segment, magic, 8, |candidate| {
            left -= 1;
            if let Ok([head, _, _, _, names_offset]) = image.words::<5>(candidate) {
                let [.., quantum, pointer_size] = head.to_le_bytes();
                // The name table follows the header: at 0x60 in Go 1.21, at 0x48 since.
                if matches!(quantum, 1 | 4) && pointer_size == 8 && (72..=256).contains(&names_offset) {
                    headers.push((candidate, names_offset));
                }
            }
            go_on_if(left > 0)
        })?;
        headers.truncate(MAX_CANDIDATES);
    }
    Ok(headers)
}

/// The aligned words that point at `target`.
fn find_pointers<S: Source>(
    image: &Image<S>,
    target: VirtualAddress,
) -> Result<Vec<VirtualAddress>, ModuleDataError> {
    let mut found: Vec<_> = image.relocated_to(target.0).take(MAX_CANDIDATES).collect();
    for segment in image.segments.iter().filter(|segment| !segment.executable) {
        image.find(segment, &target.0.to_le_bytes(), 8, |pointer| {
            found.push(pointer);
            go_on_if(found.len() < MAX_CANDIDATES)
        })?;
    }
    Ok(found)
}

fn go_on_if(wanted: bool) -> ControlFlow<()> {
    if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forged::Forged;

    /// Of a program of so many functions, with so many headers before that are none.
    fn find(functions: u64, before: usize) -> Result<u64, ModuleDataError> {
        const NAMES: u64 = 72;
        let head = u64::from_le_bytes([0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
        let mut program = Forged::new();
        for _ in 0..before {
            program.put_words(&[head, 0, 0, 0, 0]);
        }
        let header = program.put_words(&[head, 0, 0, 0, NAMES]);
        let mut words = [0; word::COUNT];
        words[0] = header.0;
        words[word::FUNCNAMETAB] = header.0 + NAMES;
        words[word::FTAB + 1] = functions + 1;
        (words[word::ETEXT], words[word::TYPES + 1]) = (1, 1);
        // One section of text.
        (words[word::TYPES + 5], words[word::TYPES + 6]) = (1, 1);
        program.put_words(&words);
        let file = program.file(&[]);
        ModuleData::find(&Image::parse(file.as_slice()).unwrap()).map(|module| module.function_count)
    }

    #[test]
    fn a_program_has_so_many_functions_and_no_more() {
        assert_eq!(find(MAX_FUNCTIONS, 0).unwrap(), MAX_FUNCTIONS);
        let refused = find(MAX_FUNCTIONS + 1, 0).unwrap_err();
        assert!(matches!(refused, ModuleDataError::Unconfirmed(1)), "{refused}");
    }

    #[test]
    fn so_many_places_that_look_like_a_header_are_tried_and_no_more() {
        assert_eq!(find(7, MAX_CANDIDATES - 1).unwrap(), 7);
        let refused = find(7, MAX_CANDIDATES).unwrap_err();
        assert!(matches!(refused, ModuleDataError::NoFunctionTable), "{refused}");
    }
}
