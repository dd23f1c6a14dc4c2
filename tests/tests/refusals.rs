//! What cannot be watched is refused in one sentence that says why.

use lightfoot_symbolizer::Binary;
use lightfoot_tests::go::version::{NEWEST, OLDEST};
use lightfoot_tests::go::{Build, Mode, Program};
use lightfoot_tests::hostile;

fn refusal(name: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    let refused = Binary::open(bytes).err();
    let mut error = refused.as_ref().map(|refusal| refusal as &dyn std::error::Error);
    assert!(error.is_some(), "{name} is not refused");
    while let Some(cause) = error {
        text = if text.is_empty() { cause.to_string() } else { format!("{text}: {cause}") };
        error = cause.source();
    }
    text
}

#[test]
fn each_kind_of_file_gets_its_own_sentence() {
    let sentences = [
        ("an empty file", "not an ELF file"),
        ("a text", "not an ELF file"),
        ("a 32-bit ELF file", "32-bit"),
        ("a big-endian ELF file", "big-endian"),
        ("a program of one instruction", "not a Go program"),
        ("a TinyGo program", "TinyGo"),
    ];
    let inputs: Vec<_> = hostile::forged::all().collect();
    for (name, part) in sentences {
        let input = inputs.iter().find(|input| input.name == name);
        let text = input.map(|input| refusal(name, &input.bytes)).unwrap_or_default();
        assert!(text.contains(part), "{name}: {text:?} lacks {part:?}");
    }
}

/// Replaces every occurrence of `from`, which must be there, by `to` of the same length.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = memchr::memmem::find_iter(bytes, from).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes.iter_mut().skip(at).zip(to).for_each(|(byte, new)| *byte = *new);
    }
}

#[test]
fn a_program_of_an_older_go_or_an_obfuscated_one_is_refused() {
    let sound = Build::here(Program::Layouts, OLDEST, Mode::Stripped).bytes().unwrap();
    assert!(Binary::open(&sound[..]).is_ok());

    let mut older = sound.clone();
    replace(&mut older, b"go1.21.13", b"go1.20.13");
    let text = refusal("Go 1.20", &older);
    assert!(text.contains("go1.20.13") && text.contains("Go 1.21 or later"), "{text}");

    let mut unversioned = sound.clone();
    replace(&mut unversioned, b"go1.21.13", b"unknown__");
    assert!(refusal("no version", &unversioned).contains("obfuscated"));

    let mut without_magic = Build::here(Program::Layouts, NEWEST, Mode::Stripped).bytes().unwrap();
    replace(&mut without_magic, b"\xf1\xff\xff\xff\x00\x00", b"\xd1\xff\xff\xff\x00\x00");
    assert!(refusal("another magic", &without_magic).contains("obfuscated"));

    let mut without_info = sound;
    replace(&mut without_info, b"\xff Go buildinf:", b"\xff No buildinf:");
    assert!(refusal("no build information", &without_info).contains("build information was removed"));
}
