//! Consistent nonsense: cycles, lengths without end, tables that overlap, and a million of what should be one.

use super::{Input, Landmarks, put};
use crate::elf::read_u64;
use std::iter;

mod functions;
mod headers;
mod types;

/// The lies of all kinds.
pub fn all<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = Input<'a>> {
    functions::all(file, landmarks)
        .chain(headers::all(file, landmarks))
        .chain(types::all(file, landmarks))
        .chain(build_information(file, landmarks))
}

/// The version and the module information are two strings behind 32 bytes, each after its length as a varint
/// (`debug/buildinfo`, the format since Go 1.18).
fn build_information<'a>(file: &'a [u8], landmarks: &'a Landmarks) -> impl Iterator<Item = Input<'a>> {
    const FLAGS: usize = 15;
    const STRINGS: usize = 32;
    let start = landmarks.build_info.start;
    let lengths: [(&str, &[u8]); 5] = [
        ("2^63", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("2^64-1", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("without end", &[0xff; 256]),
        ("of nothing", &[0]),
        ("of the whole file and more", &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    let length = lengths.into_iter().map(move |(what, varint)| {
        Input::changed(file, format!("build information: a version {what}"), |bytes| {
            put(bytes, start + STRINGS, varint);
        })
    });
    let versions: [&[u8]; 6] = [
        b"\x06go1.99",
        b"\x07go1.1.1",
        b"\x05\xff\xfe\xfd\xfc\xfb",
        b"\x05devel",
        b"\x04go1.",
        b"\x0cgo1.18446744",
    ];
    let version = versions.into_iter().map(move |version| {
        Input::changed(file, format!("build information: version {version:x?}"), |bytes| {
            put(bytes, start + STRINGS, version);
        })
    });
    // Before Go 1.18 two pointers to strings stood there.
    let old = Input::changed(file, "build information: pointers to themselves".into(), |bytes| {
        put(bytes, start + FLAGS, &[0]);
        put(bytes, start + 16, &[start.to_le_bytes(), start.to_le_bytes()].concat());
    });
    length.chain(version).chain(iter::once(old))
}

/// A word as an offset that can be used.
fn offset_at(file: &[u8], at: usize) -> Option<usize> {
    usize::try_from(read_u64(file, at)?).ok()
}
