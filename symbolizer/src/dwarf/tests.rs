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
    fields(first, info, abbreviations).unwrap_err()
}

/// How many fields the structs of such a file have.
fn fields(first: &[u64], info: Section, abbreviations: Section) -> Result<usize, DwarfError> {
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
    let mut fields = 0;
    for_each_struct(&file.as_slice(), |_| true, |found| fields += found.fields.len())?;
    Ok(fields)
}

/// A unit of DWARF 4: its length, its version, where its abbreviations are, and how long addresses are; then its entries.
fn unit(entries: &[u8]) -> Vec<u8> {
    let length = u32::try_from(entries.len() + 7).unwrap();
    [&length.to_le_bytes()[..], &[4, 0, 0, 0, 0, 0, 8], entries].concat()
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

#[test]
fn so_many_units_are_passed_for_types_of_fields_and_no_more() {
    // A unit with entries, a struct, a member whose type may be in any unit, a number, and a unit without entries. Go's kind is attribute
    // 0x2900; the lines end with the forms of what each has.
    let abbreviations = [
        &[1, 0x11, 1, 0, 0][..],
        &[2, 0x13, 1, 0x03, 0x08, 0x0b, 0x0b, 0x80, 0x52, 0x0b, 0, 0],
        &[3, 0x0d, 0, 0x03, 0x08, 0x38, 0x0b, 0x49, 0x10, 0, 0],
        &[4, 0x24, 0, 0x03, 0x08, 0x0b, 0x0b, 0x80, 0x52, 0x0b, 0, 0],
        &[5, 0x11, 0, 0, 0],
        &[0],
    ]
    .concat();
    let units = 1 << 14;
    let scattered = |members: u64| {
        let member = |at: usize| [&b"\x03f\0\0"[..], &u32::try_from(at).unwrap().to_le_bytes()].concat();
        let whole = |at: usize| {
            let members = member(at).repeat(usize::try_from(members).unwrap());
            unit(&[&b"\x01\x02S\0\x08\x19"[..], &members, &[0, 0]].concat())
        };
        let between = unit(&[5]).repeat(units - 2);
        let last = whole(0).len() + between.len();
        // Behind that unit's head and its first entry.
        let mut info = [whole(last + 12), between, unit(b"\x01\x04int\0\x08\x02\0")].concat();
        let length = info.len() as u64;
        info.resize(info.len().next_multiple_of(8), 0);
        let abbreviations_at = 64 + info.len() as u64;
        info.extend(&abbreviations);
        info.resize(info.len().next_multiple_of(8), 0);
        let words: Vec<_> = info.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        fields(&words, [0, 64, length], [0, abbreviations_at, abbreviations.len() as u64])
    };
    let most = MAX_PASSED_UNITS / units as u64;
    assert_eq!(scattered(most).map_err(|error| error.to_string()), Ok(usize::try_from(most).unwrap()));
    let refused = scattered(most + 1).unwrap_err();
    assert!(matches!(refused, DwarfError::TooScattered), "{refused}");
}
