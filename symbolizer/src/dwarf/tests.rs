use super::*;
use crate::forged::Forged;

/// Of a section header (elf(5)).
const PROGBITS: u32 = 1;
const STRTAB: u32 = 3;
const COMPRESSED: u64 = 1 << 11;
const ZLIB: u64 = 1;

/// A section's flags, its place in the file and its size.
type Section = [u64; 3];

/// What comes of a file with these two sections of debug information, behind what is put first into it.
fn read(first: &[u64], info: Section, abbreviations: Section) -> DwarfError {
    let mut program = Forged::new();
    program.put_words(first);
    let mut file = program.file(&[]);
    let names = b"\0.debug_info\0.debug_abbrev\0.names\0";
    let names_at = file.len() as u64;
    file.extend(names);
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    let sections = [
        (0, 0, [0; 3]),
        (1, PROGBITS, info),
        (13, PROGBITS, abbreviations),
        (27, STRTAB, [0, names_at, names.len() as u64]),
    ];
    for (name, kind, [flags, at, size]) in sections {
        file.extend([u32::to_le_bytes(name), kind.to_le_bytes()].concat());
        file.extend([flags, 0, at, size, 0, 1, 0].iter().flat_map(|word| word.to_le_bytes()));
    }
    file[40..48].copy_from_slice(&table.to_le_bytes());
    // The size of a section header, how many there are, and which has the names.
    file[58..64].copy_from_slice(&[64, 0, 4, 0, 3, 0]);
    for_each_struct(&file.as_slice(), |_| true, |_| {}).unwrap_err()
}

#[test]
fn so_much_debug_information_is_looked_at_and_no_more() {
    let one = |size| read(&[], [0, 64, size], [0; 3]);
    assert!(matches!(one(MAX_DEBUG_INFO), DwarfError::Sections(_)), "the file ends before");
    assert!(matches!(one(MAX_DEBUG_INFO + 1), DwarfError::TooLong(_)));
    let both = |size| read(&[], [0, 64, MAX_DEBUG_INFO - 1], [0, 64, size]);
    assert!(matches!(both(1), DwarfError::Sections(_)));
    assert!(matches!(both(2), DwarfError::TooLong(_)));
}

#[test]
fn debug_information_that_is_compressed_counts_as_what_it_unfolds_to_all_together() {
    let both = |size, other| {
        read(&[ZLIB, size, 1, 0, ZLIB, other, 1, 0], [COMPRESSED, 64, 32], [COMPRESSED, 96, 32])
    };
    assert!(matches!(both(MAX_DEBUG_INFO - 32, 32), DwarfError::Sections(_)));
    assert!(matches!(both(MAX_DEBUG_INFO - 32, 33), DwarfError::TooLong(_)));
}
