//! Lies about functions: `internal/abi/symtab.go` and `runtime/symtab.go`, unchanged from Go 1.20 to 1.27.

use super::offset_at;
use crate::hostile::{Input, Landmarks, put};
use std::iter;

/// Offsets in pclntab's header (`runtime.pcHeader`).
const FUNCTION_COUNT: usize = 0x08;
const NAMES: usize = 0x20;
const UNITS: usize = 0x28;
const FUNCTIONS: usize = 0x40;
/// Offsets in `runtime._func`.
const PCDATA_COUNT: usize = 0x1c;
const FUNCDATA_COUNT: usize = 0x2b;
const FUNCTION_SIZE: usize = 0x2c;
/// The index of the inline tree among a function's data.
const INLINE_TREE: usize = 3;
/// `runtime.inlinedCall`: its size, and where the call's position in the parent stands.
const CALL_SIZE: usize = 16;
const CALL_PARENT: usize = 8;

pub(super) fn all<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = Input<'a>> {
    let start = landmarks.pclntab.start;
    let at = move |field: usize| start + offset_at(file, start + field).unwrap_or(0);
    let count = offset_at(file, start + FUNCTION_COUNT).unwrap_or(0);
    let (names, names_end, functions) = (at(NAMES), at(UNITS), at(FUNCTIONS));
    let table = functions..functions + count * 8;
    let fill = move |what: &str, range: std::ops::Range<usize>, pattern: &'static [u8]| {
        Input::changed(file, format!("pclntab: {what}"), |bytes| {
            if let Some(range) = bytes.get_mut(range) {
                range.iter_mut().zip(pattern.iter().cycle()).for_each(|(byte, new)| *byte = *new);
            }
        })
    };
    let tables = [
        fill("names without an end", names..names_end, b"A"),
        fill("names of nothing", names..names_end, b"\0"),
        fill("names that are no text", names..names_end, b"\xff\xc0\0"),
        fill("all functions at one place", table.clone(), &[0]),
        fill("all functions behind the end", table.clone(), &[0xff, 0xff, 0xff, 0x7f]),
        fill("all records the first one", table.clone(), &[0, 0, 0, 0, 8, 0, 0, 0]),
    ];
    let descending = Input::changed(file, "pclntab: functions in falling order".into(), |bytes| {
        for (index, entry) in
            bytes.get_mut(table).into_iter().flat_map(|table| table.as_chunks_mut::<8>().0).enumerate()
        {
            put(entry, 0, &u32::try_from((count - index) * 16).unwrap_or(u32::MAX).to_le_bytes());
        }
    });
    tables.into_iter().chain(iter::once(descending)).chain(headers_everywhere(file, landmarks)).chain(
        // Sixteen functions spread over the program.
        trees(file, landmarks).step_by(7).take(16).flat_map(move |(tree, length)| {
            // A call's parent is the call that is active at its position. Which positions are active in which call is
            // not decoded here: at every position in turn, whatever is active there becomes its own ancestor.
            (0..length.min(600)).step_by(3).map(move |position| {
                let name = format!("inline tree at {tree:#x}: every parent at position {position}");
                Input::changed(file, name, |bytes| {
                    for call in 0..256 {
                        put(bytes, tree + call * CALL_SIZE + CALL_PARENT, &position.to_le_bytes());
                    }
                })
            })
        }),
    )
}

/// Inline trees: their file offsets, and the length of their functions in bytes.
fn trees<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = (usize, u32)> + use<'a> {
    let start = landmarks.pclntab.start;
    let count = offset_at(file, start + FUNCTION_COUNT).unwrap_or(0);
    let table = start + offset_at(file, start + FUNCTIONS).unwrap_or(0);
    (0..count).filter_map(move |index| {
        let entry = table + index * 8;
        let record = table + usize::try_from(half_word(file, entry + 4)?).ok()?;
        let pcdata = usize::try_from(half_word(file, record + PCDATA_COUNT)?).ok()?;
        if usize::from(*file.get(record + FUNCDATA_COUNT)?) <= INLINE_TREE {
            return None;
        }
        let offset = half_word(file, record + FUNCTION_SIZE + (pcdata + INLINE_TREE) * 4)?;
        let tree = (offset != u32::MAX).then_some(landmarks.function_data + usize::try_from(offset).ok()?)?;
        Some((tree, half_word(file, entry + 8)?.checked_sub(half_word(file, entry)?)?))
    })
}

/// A megabyte of headers, and a megabyte of pointers to the true one: what searches by magic or by pointer finds many.
fn headers_everywhere<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> [Input<'a>; 3] {
    const COPIES: usize = 1 << 14;
    let start = landmarks.pclntab.start;
    let header: Vec<u8> = file.iter().skip(start).take(0x48).copied().collect();
    let magic: Vec<u8> = header.iter().take(8).copied().collect();
    let address = landmarks.module_data.start;
    let pointer: Vec<u8> = file.iter().skip(address).take(8).copied().collect();
    [
        Input::changed(file, "pclntab: thousands of headers before the true one".into(), |bytes| {
            let first = start.saturating_sub(header.len() * COPIES).next_multiple_of(32);
            for at in (first..start).step_by(0x60) {
                put(bytes, at, &header);
            }
        }),
        Input::changed(file, "pclntab: its magic in every word".into(), |bytes| {
            for at in (start.saturating_sub(8 * COPIES).next_multiple_of(8)..start).step_by(8) {
                put(bytes, at, &magic);
            }
        }),
        Input::changed(file, "moduledata: a pointer to pclntab in every word".into(), |bytes| {
            for at in (address + 8..bytes.len().min(address + 8 * COPIES)).step_by(8) {
                put(bytes, at, &pointer);
            }
        }),
    ]
}

fn half_word(file: &[u8], offset: usize) -> Option<u32> {
    file.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}
