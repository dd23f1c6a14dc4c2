//! Lies in ELF's own tables.

use super::offset_at;
use crate::elf::{PROGRAM_HEADER_COUNT, PROGRAM_HEADER_OFFSET, SECTION_HEADER_COUNT, SECTION_HEADER_OFFSET};
use crate::hostile::{Input, Landmarks, put};

/// Sizes of the tables' entries (`Elf64_Phdr`, `Elf64_Shdr`, `Elf64_Dyn`, `Elf64_Rela`).
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const DYNAMIC: usize = 16;
const RELOCATION: usize = 24;

pub(super) fn all<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = Input<'a>> {
    let segments = landmarks.program_headers.start;
    let sections = landmarks.section_headers.start;
    let entry = move |at: usize, size: usize| file.iter().skip(at).take(size).copied().collect::<Vec<_>>();
    // A PT_LOAD over the whole file at the address of the first.
    let whole = move || {
        let mut header = load(file, landmarks).map_or_else(Vec::new, |at| entry(at, PROGRAM_HEADER));
        put(&mut header, 0x08, &[0; 8]);
        put(&mut header, 0x20, &[file.len().to_le_bytes(), file.len().to_le_bytes()].concat());
        header
    };
    let repeated = |name: &str, what: Vec<u8>, count_at: usize, count: u16, offset_at: usize| {
        Input::changed(file, name.into(), |bytes| {
            put(bytes, count_at, &count.to_le_bytes());
            put(bytes, offset_at, &file.len().to_le_bytes());
            bytes.extend(what.repeat(usize::from(u16::MAX)));
        })
    };
    let mut inputs = vec![
        Input::changed(file, "all program headers cover the whole file".into(), |bytes| {
            for at in landmarks.program_headers.clone().step_by(PROGRAM_HEADER) {
                put(bytes, at, &whole());
            }
        }),
        repeated(
            "65,534 program headers that cover the whole file",
            whole(),
            PROGRAM_HEADER_COUNT,
            u16::MAX - 1,
            PROGRAM_HEADER_OFFSET,
        ),
        repeated(
            "65,534 sections that are all the second one",
            entry(sections + SECTION_HEADER, SECTION_HEADER),
            SECTION_HEADER_COUNT,
            u16::MAX - 1,
            SECTION_HEADER_OFFSET,
        ),
        Input::changed(file, "2^32-1 program headers, by extended numbering".into(), |bytes| {
            put(bytes, PROGRAM_HEADER_COUNT, &[0xff; 2]);
            put(bytes, sections + 0x2c, &[0xff; 4]);
        }),
        Input::changed(file, "2^60 sections, by extended numbering".into(), |bytes| {
            put(bytes, SECTION_HEADER_COUNT, &[0; 2]);
            put(bytes, sections + 0x20, &(1_u64 << 60).to_le_bytes());
        }),
        Input::changed(file, "the program headers are the section headers".into(), |bytes| {
            put(bytes, PROGRAM_HEADER_OFFSET, &sections.to_le_bytes());
        }),
        Input::changed(file, "the section headers are the program headers".into(), |bytes| {
            put(bytes, SECTION_HEADER_OFFSET, &segments.to_le_bytes());
        }),
        Input::changed(file, "compressed sections of 2^63 bytes".into(), |bytes| {
            for at in landmarks.section_headers.clone().step_by(SECTION_HEADER) {
                // SHF_COMPRESSED; ch_size is the second word of the section's header (Elf64_Chdr).
                let compressed = offset_at(file, at + 0x08).is_some_and(|flags| flags & 0x800 != 0);
                if let (true, Some(content)) = (compressed, offset_at(file, at + 0x18)) {
                    put(bytes, content + 8, &(1_u64 << 63).to_le_bytes());
                }
            }
        }),
    ];
    inputs.extend(dynamic(file, landmarks));
    inputs.into_iter()
}

fn dynamic<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = Input<'a>> {
    let tables = landmarks.relocations.iter().flat_map(move |table| {
        [("where the table lies", table.start), ("the same word", landmarks.module_data.start)].map(
            |(what, target)| {
                Input::changed(
                    file,
                    format!("every relocation of the table at {:#x} changes {what}", table.start),
                    |bytes| {
                        let address = landmarks.address(target).unwrap_or(0).to_le_bytes();
                        for entry in table.clone().step_by(RELOCATION) {
                            put(bytes, entry, &address);
                        }
                    },
                )
            },
        )
    });
    let entries = landmarks.dynamic.iter().flat_map(move |range| {
        // DT_RELA, DT_RELASZ, DT_RELAENT, DT_RELR, DT_RELRSZ, DT_RELRENT, and an address or size for each.
        let own = landmarks.address(range.start).unwrap_or(0);
        let lies: [(&str, &[(u64, u64)]); 4] = [
            ("relocations of 2^63 bytes", &[(7, own), (8, 1 << 63), (9, 24)]),
            ("relocations of 0 bytes each", &[(7, own), (8, 1 << 32), (9, 0)]),
            ("packed relocations of 2^63 bytes", &[(36, own), (35, 1 << 63), (37, 8)]),
            ("packed relocations in the dynamic section", &[(36, own), (35, 0x100), (37, 8)]),
        ];
        lies.map(|(what, entries)| {
            Input::changed(file, format!("dynamic section: {what}"), |bytes| {
                for (number, (tag, value)) in entries.iter().enumerate() {
                    put(
                        bytes,
                        range.start + number * DYNAMIC,
                        &[tag.to_le_bytes(), value.to_le_bytes()].concat(),
                    );
                }
            })
        })
    });
    tables.chain(entries)
}

/// Where the first PT_LOAD header lies.
fn load(file: &[u8], landmarks: &Landmarks) -> Option<usize> {
    landmarks.program_headers.clone().step_by(PROGRAM_HEADER).find(|at| file.get(*at) == Some(&1))
}
