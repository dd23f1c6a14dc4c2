//! Files that never were a Go binary.

use super::{Input, Outcome, put};
use std::env;
use std::fs;
use std::iter;

/// Offsets in an ELF header's first bytes and after.
const CLASS: usize = 4;
const BYTE_ORDER: usize = 5;
const MACHINE: usize = 0x12;

/// All of them.
pub fn all<'a>() -> impl Iterator<Item = Input<'a>> {
    not_elf().chain(other_elf()).chain(no_go()).chain(half_go())
}

fn input<'a>(name: &str, bytes: impl Into<Vec<u8>>) -> Input<'a> {
    Input { name: name.into(), bytes: bytes.into().into(), expected: None }
}

fn not_elf<'a>() -> impl Iterator<Item = Input<'a>> {
    let files: [(&str, &[u8]); 10] = [
        ("an empty file", b""),
        ("one byte", b"\x7f"),
        ("ELF's magic and no more", b"\x7fELF"),
        ("a text", b"module lightfoot.example/text\n\ngo 1.26\n"),
        ("a script", b"#!/bin/sh\nexec true\n"),
        ("a Windows program", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0"),
        ("a Mach-O program", b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0"),
        ("an archive", b"!<arch>\n_go_.o          0           0     0     644     8         `\n"),
        ("zeros", &[0; 4096]),
        ("ones", &[0xff; 4096]),
    ];
    let all_ones = [b"\x7fELF\x02\x01\x01".as_slice(), &[0xff; 57]].concat();
    files
        .map(|(name, bytes)| input(name, bytes).expecting(Outcome::Refused))
        .into_iter()
        .chain(iter::once(input("an ELF header of ones", all_ones).expecting(Outcome::Refused)))
}

fn other_elf<'a>() -> impl Iterator<Item = Input<'a>> {
    let sound = elf(&[(".text", b"\xc3")]);
    [
        ("a 32-bit ELF file", CLASS, &[1][..]),
        ("an ELF file of an unknown class", CLASS, &[9]),
        ("a big-endian ELF file", BYTE_ORDER, &[2]),
        ("an ELF file of an unknown byte order", BYTE_ORDER, &[0]),
        ("an ELF file for RISC-V", MACHINE, &[243, 0]),
        ("an ELF file for i386", MACHINE, &[3, 0]),
        ("an ELF file for BPF", MACHINE, &[247, 0]),
    ]
    .map(|(name, offset, bytes)| {
        Input::changed(&sound, name.into(), |file| put(file, offset, bytes)).expecting(Outcome::Refused)
    })
    .into_iter()
}

/// Programs of other languages and of other Go compilers, which have no pclntab.
fn no_go<'a>() -> impl Iterator<Item = Input<'a>> {
    let own = env::current_exe().and_then(fs::read).map(|bytes| input("this program, which is Rust", bytes));
    [
        input("a program of one instruction", elf(&[(".text", b"\xc3")])),
        // What gccgo leaves: export data, its own build id note and C-like names.
        input(
            "a gccgo program",
            elf(&[
                (".text", b"\xc3"),
                (".go_export", b"v3;\npackage main\npkgpath main\ninit main main..import\n"),
                (".note.go.buildid", b"\x04\0\0\0\x04\0\0\0\x04\0\0\0Go\0\0abcd"),
                (".strtab", b"\0main.main\0__go_init_main\0runtime_rt0_go\0libgo.so.22\0"),
            ]),
        ),
        input(
            "a TinyGo program",
            elf(&[
                (".text", b"\xc3"),
                (".tinygo_stacksizes", &[0; 16]),
                (".strtab", b"\0runtime.initAll\0tinygo_startTask\0runtime.run$1\0main.main\0"),
            ]),
        ),
    ]
    .into_iter()
    .chain(own)
    .map(|input| input.expecting(Outcome::NotGo))
}

/// Files with a piece of what a Go program has.
fn half_go<'a>() -> impl Iterator<Item = Input<'a>> {
    let header = |magic: u32, rest: &[u8]| [&magic.to_le_bytes()[..], &[0, 0, 1, 8], rest].concat();
    let magics: [(&str, u32); 5] = [
        ("Go 1.2", 0xffff_fffb),
        ("Go 1.16", 0xffff_fffa),
        ("Go 1.18", 0xffff_fff0),
        ("Go 1.20", 0xffff_fff1),
        ("a Go to come", 0xffff_fff2),
    ];
    magics.into_iter().flat_map(move |(version, magic)| {
        [
            ("alone", header(magic, &[])),
            ("with zeros", header(magic, &[0; 64])),
            ("with ones", header(magic, &[0xff; 64])),
            (
                "with a function too many",
                header(magic, &[1_u64, 1, 0, 64, 64, 64, 64, 64].map(u64::to_le_bytes).concat()),
            ),
            (
                "that is all functions",
                header(magic, &[1_u64 << 60, 0, 0, 0, 0, 0, 0, 0].map(u64::to_le_bytes).concat()),
            ),
        ]
        .map(|(what, table)| {
            let build_info = b"\xff Go buildinf:\x08\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x06go1.26\0";
            let file = elf(&[(".text", b"\xc3"), (".gopclntab", &table), (".go.buildinfo", build_info)]);
            input(&format!("pclntab of {version}, {what}"), file)
        })
    })
}

/// A sound ELF file: one readable and executable segment over the whole file, and named sections.
fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    const ADDRESS: u64 = 0x40_0000;
    const SEGMENT: usize = 64;
    let mut file = vec![0; SEGMENT + 56];
    let mut headers = vec![0; 64];
    let mut names = b"\0.shstrtab\0".to_vec();
    let mut header = |name: u32, kind: u32, flags: u64, offset: usize, size: usize| {
        headers.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
        let address = if flags == 0 { 0 } else { ADDRESS + offset as u64 };
        headers.extend([flags, address, offset as u64, size as u64, 0, 16, 0].map(u64::to_le_bytes).concat());
    };
    for (name, bytes) in sections {
        file.resize(file.len().next_multiple_of(32), 0);
        // SHT_PROGBITS, SHF_ALLOC.
        header(u32::try_from(names.len()).unwrap_or(0), 1, 2, file.len(), bytes.len());
        names.extend([name.as_bytes(), b"\0"].concat());
        file.extend(*bytes);
    }
    header(1, 3, 0, file.len(), names.len());
    file.extend(names);
    let table = file.len().next_multiple_of(8);
    file.resize(table, 0);
    file.extend(headers);

    let size = file.len() as u64;
    let count = u16::try_from(sections.len() + 2).unwrap_or(0);
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    // ET_EXEC for x86-64.
    put(&mut file, 0x10, &[2, 0, 62, 0, 1, 0, 0, 0]);
    put(&mut file, 0x18, &[ADDRESS, SEGMENT as u64, table as u64].map(u64::to_le_bytes).concat());
    put(&mut file, 0x34, &[64, 56, 1, 64, count, count - 1].map(u16::to_le_bytes).concat());
    // PT_LOAD, readable and executable.
    put(&mut file, SEGMENT, &[1, 0, 0, 0, 5, 0, 0, 0]);
    put(&mut file, SEGMENT + 8, &[0, ADDRESS, ADDRESS, size, size, 0x1000].map(u64::to_le_bytes).concat());
    file
}
