//! A loaded view of an ELF file: segments, addresses, relocated words.
//!
//! Program headers are all that is used. Section names are not to be trusted and the section table may be gone
//! (`strip --strip-section-headers`); the kernel and the dynamic linker do without it as well.

use std::ops::ControlFlow;

use memchr::memmem;
use object::elf;
use object::pod;
use object::{LittleEndian as LE, U16, U64};
use thiserror::Error;

use crate::address::{FileOffset, VirtualAddress};
use crate::architecture::Architecture;
use crate::relocations::{RelocationError, Relocations};
use crate::source::{Source, SourceError};

mod pages;

use pages::Pages;

/// At most so many program headers; Go writes about ten, and 65,535 means "look elsewhere" (`PN_XNUM`).
pub const MAX_PROGRAM_HEADERS: usize = 256;
/// At most so many bytes in one owned read.
pub const MAX_READ: usize = 16 << 20;

/// How much of a range [`Image::scan`] hands out at once.
const WINDOW: usize = 256 << 10;

/// Why a file is no image we can work on, or why a part of it cannot be had.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The magic bytes are missing.
    #[error("not an ELF file")]
    NotElf,
    /// A 32-bit ELF file.
    #[error("a 32-bit ELF file; only 64-bit programs are supported")]
    Class32,
    /// A big-endian ELF file.
    #[error("a big-endian ELF file; only little-endian programs are supported")]
    BigEndian,
    /// An ELF file for another processor.
    #[error("built for an unsupported processor (ELF machine {0}); x86-64 and arm64 are supported")]
    Machine(u16),
    /// An object file, a core dump or the like.
    #[error("an ELF file that is no program (type {0}); an executable is needed")]
    NotAProgram(u16),
    /// The program headers contradict themselves or the file.
    #[error("malformed program headers: {0}")]
    ProgramHeaders(&'static str),
    /// No segment with bytes in the file covers the range.
    #[error("{length:#x} bytes at address {address} are not in any segment of the file")]
    Unmapped {
        /// First byte asked for.
        address: VirtualAddress,
        /// How many bytes.
        length: usize,
    },
    /// More than [`MAX_READ`] bytes asked for in one piece.
    #[error("{what} claims {length:#x} bytes, more than {MAX_READ:#x}")]
    TooLong {
        /// What was to be read.
        what: &'static str,
        /// The length claimed.
        length: u64,
    },
    /// The relocations contradict themselves.
    #[error("reading the relocations")]
    Relocations(#[source] Box<RelocationError>),
    /// The bytes could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// One `PT_LOAD` program header, cut to the bytes that are in the file.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Address of the first byte.
    pub address: VirtualAddress,
    /// Where that byte lies in the file.
    pub offset: FileOffset,
    /// How many bytes the file holds of it; what follows is zero at start.
    pub file_size: u64,
    /// How many bytes it takes in memory.
    pub memory_size: u64,
    /// Whether it is mapped executable.
    pub executable: bool,
    /// Whether it is mapped writable.
    pub writable: bool,
}

impl Segment {
    /// Whether the program can write at `address`, which may lie behind what is in the file: in memory that starts as zeros.
    pub fn is_variable(&self, address: VirtualAddress) -> bool {
        self.writable
            && address.checked_offset_from(self.address).is_some_and(|offset| offset < self.memory_size)
    }

    /// The address one past the last byte in the file.
    pub fn end(&self) -> VirtualAddress {
        VirtualAddress(self.address.0.saturating_add(self.file_size))
    }
}

/// An ELF program read through a [`Source`].
///
/// Reads go through a cache of 4 MiB, so picking small things in any order is cheap.
pub struct Image<S> {
    pages: Pages<S>,
    /// Which processor it is built for.
    pub architecture: Architecture,
    /// Whether the kernel places it anywhere (`ET_DYN`): a PIE.
    pub position_independent: bool,
    /// The `PT_LOAD` segments, in the order of the file.
    pub segments: Vec<Segment>,
    pub(crate) notes: Vec<(FileOffset, u64, u64)>,
    pub(crate) dynamic: Option<(FileOffset, u64)>,
    relocations: Relocations,
}

impl<S: Source> Image<S> {
    /// Reads the headers and checks the relocations.
    pub fn parse(source: S) -> Result<Self, ImageError> {
        let pages = Pages::of(source);
        let mut header = [0; size_of::<elf::FileHeader64<LE>>()];
        let present = usize::try_from(pages.source.size()).unwrap_or(usize::MAX).min(header.len());
        pages.source.read_at(0, header.get_mut(..present).unwrap_or_default())?;
        let [0x7f, b'E', b'L', b'F', class, order, ..] = header else {
            return Err(ImageError::NotElf);
        };
        match (elf::FileClass(class), elf::DataEncoding(order)) {
            (elf::ELFCLASS32, _) => return Err(ImageError::Class32),
            (elf::ELFCLASS64, elf::ELFDATA2LSB) => {}
            (elf::ELFCLASS64, elf::ELFDATA2MSB) => return Err(ImageError::BigEndian),
            _ => return Err(ImageError::ProgramHeaders("the ELF header's class or byte order is unknown")),
        }
        if present < header.len() {
            return Err(ImageError::ProgramHeaders("the file ends within the ELF header"));
        }
        let (header, _) = pod::from_bytes::<elf::FileHeader64<LE>>(&header)
            .map_err(|()| ImageError::ProgramHeaders("the ELF header is unreadable"))?;
        let architecture = match header.e_machine.get(LE) {
            elf::EM_X86_64 => Architecture::X86_64,
            elf::EM_AARCH64 => Architecture::Aarch64,
            elf::Machine(other) => return Err(ImageError::Machine(other)),
        };
        let position_independent = match header.e_type.get(LE) {
            elf::ET_EXEC => false,
            elf::ET_DYN => true,
            elf::FileType(other) => return Err(ImageError::NotAProgram(other)),
        };
        let mut image = Self {
            pages,
            architecture,
            position_independent,
            segments: Vec::new(),
            notes: Vec::new(),
            dynamic: None,
            relocations: Relocations::default(),
        };
        image.read_program_headers(header.e_phoff, header.e_phentsize, header.e_phnum)?;
        image.relocations =
            Relocations::read(&image).map_err(|error| ImageError::Relocations(Box::new(error)))?;
        Ok(image)
    }

    fn read_program_headers(
        &mut self,
        offset: U64<LE>,
        entry_size: U16<LE>,
        count: U16<LE>,
    ) -> Result<(), ImageError> {
        let entry = size_of::<elf::ProgramHeader64<LE>>();
        let count = usize::from(count.get(LE));
        if usize::from(entry_size.get(LE)) != entry {
            return Err(ImageError::ProgramHeaders("entries are not of the ELF64 size"));
        }
        if count > MAX_PROGRAM_HEADERS {
            return Err(ImageError::ProgramHeaders("there are more than 256"));
        }
        let mut table = vec![0; count * entry];
        self.pages.source.read_at(offset.get(LE), &mut table)?;
        let (headers, _) = pod::slice_from_bytes::<elf::ProgramHeader64<LE>>(&table, count)
            .map_err(|()| ImageError::ProgramHeaders("the table is unreadable"))?;
        for header in headers {
            let offset = FileOffset(header.p_offset.get(LE));
            let file_size = header.p_filesz.get(LE);
            match header.p_type.get(LE) {
                elf::PT_LOAD => {
                    let address = VirtualAddress(header.p_vaddr.get(LE));
                    if file_size > header.p_memsz.get(LE) {
                        return Err(ImageError::ProgramHeaders(
                            "a segment is longer in the file than in memory",
                        ));
                    }
                    let in_file =
                        offset.0.checked_add(file_size).is_some_and(|end| end <= self.pages.source.size());
                    if !in_file || address.checked_add(header.p_memsz.get(LE)).is_none() {
                        return Err(ImageError::ProgramHeaders("a segment reaches past the end of the file"));
                    }
                    if self.segments.last().is_some_and(|before: &Segment| before.end() > address) {
                        return Err(ImageError::ProgramHeaders("segments overlap or are out of order"));
                    }
                    let flags = header.p_flags.get(LE);
                    self.segments.push(Segment {
                        address,
                        offset,
                        file_size,
                        memory_size: header.p_memsz.get(LE),
                        executable: flags.0 & elf::PF_X.0 != 0,
                        writable: flags.0 & elf::PF_W.0 != 0,
                    });
                }
                elf::PT_NOTE => self.notes.push((offset, file_size, header.p_align.get(LE))),
                elf::PT_DYNAMIC => self.dynamic = Some((offset, file_size)),
                _ => {}
            }
        }
        if self.segments.is_empty() {
            return Err(ImageError::ProgramHeaders("there is no loadable segment"));
        }
        Ok(())
    }

    /// The bytes themselves.
    pub fn source(&self) -> &S {
        &self.pages.source
    }

    /// Where the byte at `address` lies in the file.
    pub fn file_offset(&self, address: VirtualAddress) -> Option<FileOffset> {
        let (segment, within) = self.locate(address, 1)?;
        Some(FileOffset(segment.offset.0.checked_add(within)?))
    }

    /// Whether `address` lies in an executable segment.
    pub fn is_executable(&self, address: VirtualAddress) -> bool {
        self.locate(address, 1).is_some_and(|(segment, _)| segment.executable)
    }

    /// Fills `buffer` with the file's bytes at `address`, without relocation.
    pub fn read(&self, address: VirtualAddress, buffer: &mut [u8]) -> Result<(), ImageError> {
        let (segment, within) = self
            .locate(address, buffer.len() as u64)
            .ok_or(ImageError::Unmapped { address, length: buffer.len() })?;
        Ok(self.pages.read(segment.offset.0.saturating_add(within), buffer)?)
    }

    /// Fills `buffer` with the file's bytes at `offset`.
    pub fn read_file(&self, offset: FileOffset, buffer: &mut [u8]) -> Result<(), ImageError> {
        Ok(self.pages.read(offset.0, buffer)?)
    }

    /// `length` bytes at `address`, at most [`MAX_READ`]; `what` names them in the error.
    pub fn bytes(
        &self,
        address: VirtualAddress,
        length: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, ImageError> {
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_READ)
            .ok_or(ImageError::TooLong { what, length })?;
        // The range is checked before memory is taken for it.
        self.locate(address, length as u64).ok_or(ImageError::Unmapped { address, length })?;
        let mut bytes = vec![0; length];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A little-endian array of bytes at `address`, without relocation.
    pub fn array<const N: usize>(&self, address: VirtualAddress) -> Result<[u8; N], ImageError> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// The 4-byte word at `address`; nothing of that size is relocated in a Go program.
    pub fn word32(&self, address: VirtualAddress) -> Result<u32, ImageError> {
        Ok(u32::from_le_bytes(self.array(address)?))
    }

    /// The 8-byte word at `address` as the running program has it, less the load bias: relocations are applied.
    pub fn word(&self, address: VirtualAddress) -> Result<u64, ImageError> {
        match self.relocations.value_at(address) {
            Some(value) => Ok(value),
            None => Ok(u64::from_le_bytes(self.array(address)?)),
        }
    }

    /// `N` words in a row at `address`, relocated.
    pub fn words<const N: usize>(&self, address: VirtualAddress) -> Result<[u64; N], ImageError> {
        let mut words = [0; N];
        for (word, at) in words.iter_mut().zip((0..).step_by(8)) {
            let at = address.checked_add(at).ok_or(ImageError::Unmapped { address, length: 8 * N })?;
            *word = self.word(at)?;
        }
        Ok(words)
    }

    /// The addresses whose relocated word is `value` though the file holds something else there.
    pub(crate) fn relocated_to(&self, value: u64) -> impl Iterator<Item = VirtualAddress> {
        self.relocations.addresses_of(value)
    }

    /// Hands the bytes of `address..address + length` to `visit` in windows, each with the address of its first byte.
    ///
    /// Consecutive windows share `overlap` bytes, so that something of up to `overlap + 1` bytes is seen whole once
    /// at least. Bytes are not relocated. `visit` may stop the walk.
    pub fn scan<B>(
        &self,
        address: VirtualAddress,
        length: u64,
        overlap: usize,
        mut visit: impl FnMut(VirtualAddress, &[u8]) -> ControlFlow<B>,
    ) -> Result<Option<B>, ImageError> {
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        let (segment, within) =
            self.locate(address, length).ok_or(ImageError::Unmapped { address, length: whole })?;
        let start = segment.offset.0.saturating_add(within);
        let step = WINDOW.saturating_sub(overlap).max(1);
        let mut window = vec![0; whole.min(WINDOW)];
        for at in (0..length).step_by(step) {
            let size = usize::try_from(length - at).unwrap_or(usize::MAX).min(WINDOW);
            let bytes = window.get_mut(..size).unwrap_or_default();
            self.pages.source.read_at(start.saturating_add(at), bytes)?;
            if let ControlFlow::Break(found) = visit(VirtualAddress(address.0.saturating_add(at)), bytes) {
                return Ok(Some(found));
            }
            if size < WINDOW {
                break;
            }
        }
        Ok(None)
    }

    /// Hands the address of each `needle` in a segment's bytes to `visit`, in order, if it is a multiple of `alignment`.
    /// Bytes are not relocated. `visit` may stop the search, and must where a hostile file could hold many.
    pub fn find<B>(
        &self,
        segment: &Segment,
        needle: &[u8],
        alignment: u64,
        mut visit: impl FnMut(VirtualAddress) -> ControlFlow<B>,
    ) -> Result<Option<B>, ImageError> {
        let finder = memmem::Finder::new(needle);
        let overlap = needle.len().saturating_sub(1);
        self.scan(segment.address, segment.file_size, overlap, |window, bytes| {
            finder
                .find_iter(bytes)
                .map(|index| VirtualAddress(window.0.saturating_add(index as u64)))
                .filter(|found| found.0.is_multiple_of(alignment))
                .try_for_each(&mut visit)
        })
    }

    fn locate(&self, address: VirtualAddress, length: u64) -> Option<(&Segment, u64)> {
        self.segments.iter().find_map(|segment| {
            let within = address.checked_offset_from(segment.address)?;
            (within.checked_add(length)? <= segment.file_size).then_some((segment, within))
        })
    }
}

#[cfg(test)]
mod tests;
