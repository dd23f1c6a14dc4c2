//! Lies about types: `internal/abi/type.go`.

use super::offset_at;
use crate::hostile::{Input, Landmarks, put};
use std::iter;

/// Offsets in `abi.StructType`.
const FIELDS: usize = 0x38;
const FIELD_COUNT: usize = 0x40;
/// `abi.StructField`: name, type, offset.
const FIELD_SIZE: usize = 24;
const FIELD_TYPE: usize = 8;
const FIELD_OFFSET: usize = 16;
/// The element's type in `abi.ArrayType` and `abi.PtrType`.
const ELEMENT: usize = 0x30;

/// Empty for a file without the structs of the layouts program.
pub(super) fn all<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = Input<'a>> {
    inputs(file, landmarks).into_iter().flatten()
}

fn inputs<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> Option<Vec<Input<'a>>> {
    let named = |name: &str| landmarks.structs.get(name).copied();
    let (level1, level2) = (named("main.Level1")?, named("main.Level2")?);
    let (level3, arrays, pointing) = (named("main.Level3")?, named("main.Arrays")?, named("main.Pointing")?);
    let pointed = |at: usize| landmarks.file_offset(read_pointer(file, landmarks, at)?);
    let fields = |descriptor: usize| pointed(descriptor + FIELDS);
    // Each lie sets words that hold pointers; a relocation of the same word is changed too, else it would undo the lie.
    let lie = |name: &str, words: &[(usize, u64)]| {
        Input::changed(file, format!("types: {name}"), |bytes| {
            for (offset, value) in words {
                landmarks.put_word(bytes, *offset, *value);
            }
        })
    };
    let type_of =
        |descriptor: usize, field: usize| Some(fields(descriptor)? + field * FIELD_SIZE + FIELD_TYPE);
    let array = pointed(type_of(arrays.1, 0)?)?;
    let pointer = pointed(type_of(pointing.1, 1)?)?;
    let last = landmarks.last_word()?;
    let mut inputs = vec![
        lie("a struct holds itself", &[(type_of(level3.1, 1)?, level3.0)]),
        lie("three structs hold each other", &[(type_of(level1.1, 1)?, level3.0)]),
        lie(
            "every field of a struct is the struct",
            &[(type_of(level2.1, 0)?, level2.0), (type_of(level2.1, 1)?, level2.0)],
        ),
        lie("an array holds the struct that holds it", &[(array + ELEMENT, arrays.0)]),
        lie(
            "an array holds itself",
            &[(array + ELEMENT, read_pointer(file, landmarks, type_of(arrays.1, 0)?)?)],
        ),
        lie(
            "a pointer points to itself",
            &[(pointer + ELEMENT, read_pointer(file, landmarks, type_of(pointing.1, 1)?)?)],
        ),
        lie("the fields are the descriptor", &[(level3.1 + FIELDS, level3.0)]),
        lie(
            "the fields end behind the file",
            &[(level3.1 + FIELDS, last), (level3.1 + FIELD_COUNT, 1 << 60)],
        ),
        lie("2^60 fields", &[(level3.1 + FIELD_COUNT, 1 << 60), (level3.1 + FIELD_COUNT + 8, 1 << 60)]),
        lie("a million fields", &[(level3.1 + FIELD_COUNT, 1 << 20), (level3.1 + FIELD_COUNT + 8, 1 << 20)]),
        lie("65,536 fields", &[(level3.1 + FIELD_COUNT, 1 << 16), (level3.1 + FIELD_COUNT + 8, 1 << 16)]),
        lie("a name in the last byte", &[(fields(level3.1)?, last + 7)]),
    ];
    inputs.extend([FIELD_OFFSET, FIELD_SIZE + FIELD_OFFSET].into_iter().filter_map(|at| {
        Some(lie(
            &format!("a field at the end of memory, +{at:#x}"),
            &[(fields(level3.1)? + at, u64::MAX - 3)],
        ))
    }));
    let name = pointed(fields(level3.1)?)?;
    inputs.extend(iter::once(Input::changed(file, "types: a name without an end".into(), |bytes| {
        put(bytes, name + 1, &[0xff; 64]);
    })));
    Some(inputs)
}

/// The pointer in the word at `at`, as the loader would leave it.
fn read_pointer(file: &[u8], landmarks: &Landmarks, at: usize) -> Option<u64> {
    offset_at(file, landmarks.addend(at).unwrap_or(at)).map(|pointer| pointer as u64)
}
