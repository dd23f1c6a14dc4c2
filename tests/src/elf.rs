//! The few changes of ELF files that tests need, by hand: what writes them must not be what reads them.
//!
//! Offsets are those of a 64-bit little-endian ELF header (`Elf64_Ehdr` in the System V ABI).

/// Offset of `e_phoff`, 8 bytes.
pub const PROGRAM_HEADER_OFFSET: usize = 0x20;
/// Offset of `e_phnum`, 2 bytes.
pub const PROGRAM_HEADER_COUNT: usize = 0x38;
/// Offset of `e_shoff`, 8 bytes.
pub const SECTION_HEADER_OFFSET: usize = 0x28;
/// Offset of `e_shentsize`, 2 bytes.
pub const SECTION_HEADER_SIZE: usize = 0x3a;
/// Offset of `e_shnum`, 2 bytes; `e_shstrndx`, 2 bytes, follows.
pub const SECTION_HEADER_COUNT: usize = 0x3c;

/// Overwrites the section header table with zeros, and the header's fields that point to it. `None` if the file has no
/// such table.
pub fn remove_section_headers(file: &mut [u8]) -> Option<()> {
    let offset =
        usize::try_from(read_u64(file, SECTION_HEADER_OFFSET)?).ok().filter(|offset| *offset != 0)?;
    let size = usize::from(read_u16(file, SECTION_HEADER_SIZE)?);
    let count = usize::from(read_u16(file, SECTION_HEADER_COUNT)?);
    file.get_mut(offset..offset.checked_add(size.checked_mul(count)?)?)?.fill(0);
    file.get_mut(SECTION_HEADER_OFFSET..)?.first_chunk_mut::<8>()?.fill(0);
    file.get_mut(SECTION_HEADER_COUNT..)?.first_chunk_mut::<4>()?.fill(0);
    Some(())
}

/// The 8 bytes at `offset`.
pub fn read_u64(file: &[u8], offset: usize) -> Option<u64> {
    file.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// The 2 bytes at `offset`.
pub fn read_u16(file: &[u8], offset: usize) -> Option<u16> {
    file.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}
