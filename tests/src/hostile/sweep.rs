//! Every word of every header and table, replaced by values that break arithmetic.

use super::{Input, Landmarks, put};
use std::ops::Range;

/// What each aligned word of a range becomes, one at a time.
const WORDS: [u64; 7] = [0, 1, 1 << 60, (1 << 63) - 1, 1 << 63, u64::MAX - 7, u64::MAX];
/// The same for words of 4 bytes.
const HALF_WORDS: [u32; 5] = [0, 1, (1 << 31) - 1, 1 << 31, u32::MAX];
/// How much of a long table is swept.
const TABLE: usize = 0x90;

/// The sweeps of all tables.
pub fn all<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = Input<'a>> {
    let start = |range: &Range<usize>| range.start..range.end.min(range.start.saturating_add(TABLE));
    // By 2 and 4 bytes where fields are so small: e_phentsize 0, e_phnum 0xffff and their like.
    let headers = bytes::<2>(file, "ELF header", 0x10..0x40, &[[0; 2], [1, 0], [0xff, 0x7f], [0xff; 2]])
        .chain(words(file, landmarks, "ELF header", 0x18..0x30))
        .chain(half_words(file, "program header", landmarks.program_headers.clone(), 0x38, 0..8))
        .chain(words(file, landmarks, "program header", landmarks.program_headers.clone()))
        .chain(half_words(file, "section header", landmarks.section_headers.clone(), 0x40, 0..8))
        .chain(half_words(file, "section header", landmarks.section_headers.clone(), 0x40, 0x28..0x30))
        .chain(words(file, landmarks, "section header", landmarks.section_headers.clone()));
    let dynamic =
        landmarks.dynamic.clone().into_iter().flat_map(|range| words(file, landmarks, "dynamic", range));
    let relocations = landmarks
        .relocations
        .iter()
        .flat_map(move |range| words(file, landmarks, "relocation", start(range)));
    // ptrSize and minLC, then nfunc and what follows, then the first entries of the function table.
    let pclntab = landmarks.pclntab.start;
    let tables = bytes::<1>(file, "pclntab", pclntab..pclntab.saturating_add(8), &[[0], [1], [0x80], [0xff]])
        .chain(words(file, landmarks, "pclntab", pclntab.saturating_add(8)..pclntab.saturating_add(0x48)))
        .chain(function_table(file, landmarks))
        .chain(words(file, landmarks, "moduledata", landmarks.module_data.clone()))
        .chain(bytes::<1>(file, "build information", start(&landmarks.build_info), &[[0], [0x80], [0xff]]));
    let structs = ["main.Level1", "main.Level3", "main.Arrays", "main.Pointing", "main.ZeroSizeLast"]
        .into_iter()
        .filter_map(|name| Some((name, landmarks.structs.get(name)?)))
        .flat_map(move |(name, (_, offset))| {
            words(file, landmarks, name, *offset..offset.saturating_add(0x50))
                .chain(fields(file, landmarks, name, *offset))
        });
    headers.chain(dynamic).chain(relocations).chain(tables).chain(structs)
}

/// The fields of a struct type: its descriptor points to them (`internal/abi.StructType`, Fields at 0x38).
fn fields<'a>(
    file: &'a [u8],
    landmarks: &'a Landmarks,
    name: &'static str,
    descriptor: usize,
) -> impl Iterator<Item = Input<'a>> + use<'a> {
    let array = crate::elf::read_u64(file, descriptor.saturating_add(0x38));
    let array = array.and_then(|address| landmarks.file_offset(address));
    array
        .into_iter()
        .flat_map(move |offset| words(file, landmarks, name, offset..offset.saturating_add(0x48)))
}

/// The first entries of the function table and the first function's record (`runtime.functab`, `runtime._func`).
fn function_table<'a>(file: &'a [u8], landmarks: &Landmarks) -> impl Iterator<Item = Input<'a>> + use<'a> {
    let pclntab = landmarks.pclntab.start;
    // pclnOffset is the header's last word.
    let table = crate::elf::read_u64(file, pclntab.saturating_add(0x40))
        .and_then(|offset| pclntab.checked_add(usize::try_from(offset).ok()?));
    let record = table.and_then(|table| {
        let offset = file.get(table.saturating_add(4)..)?.first_chunk().copied().map(u32::from_le_bytes)?;
        table.checked_add(usize::try_from(offset).ok()?)
    });
    let sweep = move |offset: usize| {
        half_words(file, "function table", offset..offset.saturating_add(0x40), 0x40, 0..0x40)
    };
    table.into_iter().chain(record).flat_map(sweep)
}

fn words<'a>(
    file: &'a [u8],
    landmarks: &'a Landmarks,
    what: &'static str,
    range: Range<usize>,
) -> impl Iterator<Item = Input<'a>> + use<'a> {
    let size = file.len() as u64;
    range.clone().step_by(8).flat_map(move |offset| {
        let start = range.start;
        WORDS.into_iter().chain([size, size - 1]).map(move |value| {
            let name = format!("{what} at {start:#x}, word at +{:#x} = {value:#x}", offset - start);
            Input::changed(file, name, |bytes| landmarks.put_word(bytes, offset, value))
        })
    })
}

/// The 4-byte words at `part` of every entry of `stride` bytes.
fn half_words<'a>(
    file: &'a [u8],
    what: &'static str,
    range: Range<usize>,
    stride: usize,
    part: Range<usize>,
) -> impl Iterator<Item = Input<'a>> + use<'a> {
    let start = range.start;
    range.step_by(stride).flat_map(move |entry| part.clone().step_by(4).map(move |at| entry + at)).flat_map(
        move |offset| {
            HALF_WORDS.into_iter().map(move |value| {
                let name = format!("{what} at {start:#x}, half word at +{:#x} = {value:#x}", offset - start);
                Input::changed(file, name, |bytes| put(bytes, offset, &value.to_le_bytes()))
            })
        },
    )
}

fn bytes<'a, const N: usize>(
    file: &'a [u8],
    what: &'static str,
    range: Range<usize>,
    values: &'static [[u8; N]],
) -> impl Iterator<Item = Input<'a>> + use<'a, N> {
    let start = range.start;
    range.step_by(N).flat_map(move |offset| {
        values.iter().map(move |value| {
            let name = format!("{what} at {start:#x}, bytes at +{:#x} = {value:x?}", offset - start);
            Input::changed(file, name, |bytes| put(bytes, offset, value))
        })
    })
}
