use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

use super::{Exemption, Permissions, Violation, check};
use crate::instruction::Instruction;
use crate::testing::{add, atomic, call, call_register, encode, exit, mov, mov_constant, store};

const BTF: &[u8] = &[0x9f, 0xeb, 1, 0];

/// What an object is made of; the default passes.
struct Parts {
    license: Option<&'static [u8]>,
    btf: Option<&'static [u8]>,
    btf_ext: Option<&'static [u8]>,
    section: &'static str,
    code: Vec<Instruction>,
    symbol_size: Option<u64>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            license: Some(b"GPL\0"),
            btf: Some(BTF),
            btf_ext: Some(BTF),
            section: "uprobe.multi",
            code: vec![mov_constant(0, 0), exit()],
            symbol_size: None,
        }
    }
}

impl Parts {
    fn with(code: &[Instruction]) -> Self {
        Self { code: code.to_vec(), ..Self::default() }
    }

    fn build(&self) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        for (name, data) in [("license", self.license), (".BTF", self.btf), (".BTF.ext", self.btf_ext)] {
            if let Some(data) = data {
                let segment = object.segment_name(StandardSegment::Data).to_vec();
                let section = object.add_section(segment, name.into(), SectionKind::Data);
                object.append_section_data(section, data, 8);
            }
        }
        let segment = object.segment_name(StandardSegment::Text).to_vec();
        let section = object.add_section(segment, self.section.into(), SectionKind::Text);
        let code = encode(&self.code);
        object.append_section_data(section, &code, 8);
        object.add_symbol(Symbol {
            name: b"program".to_vec(),
            value: 0,
            size: self.symbol_size.unwrap_or(code.len() as u64),
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
        object.write().unwrap()
    }

    /// What is wrong with it, in words.
    fn complaints(&self) -> Vec<String> {
        check(&self.build(), Permissions::NONE)
            .err()
            .unwrap_or_default()
            .iter()
            .map(Violation::to_string)
            .collect()
    }
}

#[test]
fn a_sound_object_passes_and_its_functions_are_named() {
    let object = Parts::with(&[mov(2, 10), add(2, -48), store(2, 0, 1), call(1), atomic(0), exit()]).build();
    let functions = check(&object, Permissions::NONE).unwrap();
    let [function] = functions.as_slice() else { panic!("{functions:?}") };
    assert_eq!(
        (function.name.as_str(), function.section.as_str(), function.frame),
        ("program", "uprobe.multi", 48)
    );
    assert!(function.is_program());
}

#[test]
fn writing_into_the_process_is_refused() {
    let complaints = Parts::with(&[mov_constant(0, 0), call(36), exit()]).complaints();
    assert_eq!(complaints, ["`program` calls bpf_probe_write_user in slot 1"]);
}

#[test]
fn only_the_function_that_may_write_does_and_it_must() {
    let outcome = |code: &[Instruction], writer| {
        let permissions = Permissions { frames: &[], writer: Some(writer) };
        check(&Parts::with(code).build(), permissions).map_err(|violations| violations[0].to_string())
    };
    let writes = [mov_constant(0, 0), call(36), exit()];
    assert!(outcome(&writes, "progr").unwrap()[0].writes);
    assert_eq!(outcome(&writes, "another"), Err("`program` calls bpf_probe_write_user in slot 1".to_owned()));
    let needless = Err("`progr` may write to the watched process and does not".to_owned());
    assert_eq!(outcome(&[mov_constant(0, 0), exit()], "progr"), needless);
    // No other helper that disturbs is permitted with it.
    assert_eq!(
        outcome(&[call(109), exit()], "progr"),
        Err("`program` calls bpf_send_signal in slot 0".to_owned())
    );
}

#[test]
fn sending_a_signal_is_refused() {
    let complaints = Parts::with(&[call(109), exit()]).complaints();
    assert_eq!(complaints, ["`program` calls bpf_send_signal in slot 0"]);
}

#[test]
fn a_forbidden_call_in_a_subprogram_is_found() {
    let parts = Parts { section: ".text", ..Parts::with(&[call(36), exit()]) };
    assert_eq!(
        parts.complaints(),
        ["`program` calls bpf_probe_write_user in slot 0", "the object holds no program"]
    );
}

#[test]
fn a_call_of_another_bpf_function_is_not_taken_for_a_helper() {
    let mut to_function = call(36);
    to_function.src = 1;
    assert_eq!(Parts::with(&[to_function, exit()]).complaints(), [""; 0]);
}

#[test]
fn functions_that_call_each_other_without_end_are_too_many() {
    let mut itself = call(-1);
    itself.src = 1;
    let complaints = Parts::with(&[itself, exit()]).complaints();
    let nine = ["program"; 9].join(", ");
    assert_eq!(complaints, [format!("9 functions call each other, 8 may: {nine}")]);
}

#[test]
fn a_call_through_a_register_is_refused() {
    let complaints = Parts::with(&[call_register(3), exit()]).complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("in a register"), "{complaints:?}");
}

#[test]
fn atomic_operations_newer_than_the_oldest_kernel_are_refused() {
    let complaints = Parts::with(&[atomic(1), exit()]).complaints();
    assert_eq!(complaints, ["`program` uses atomic operation 0x1 in slot 0, which needs Linux 5.12"]);
}

#[test]
fn a_large_frame_needs_an_exemption_that_is_large_enough() {
    let object = Parts::with(&[store(10, -56, 1), exit()]).build();
    let outcome =
        |exemptions: &[Exemption]| match check(&object, Permissions { frames: exemptions, writer: None }) {
            Ok(functions) => functions.iter().map(|function| function.frame.to_string()).collect::<Vec<_>>(),
            Err(violations) => violations.iter().map(Violation::to_string).collect(),
        };
    let exempt = |function, bytes| Exemption { function, bytes, reason: "a test" };
    let complaint = "`program` uses 56 bytes of stack frame, 48 are permitted";
    assert_eq!(outcome(&[]), [complaint]);
    assert_eq!(outcome(&[exempt("program", 56)]), ["56"]);
    assert_eq!(
        outcome(&[exempt("program", 52)]),
        ["`program` uses 56 bytes of stack frame, 52 are permitted"]
    );
    let other = "`another` is exempt from the limit on stack frames and does not need it";
    assert_eq!(outcome(&[exempt("another", 56)]), [complaint, other]);
}

#[test]
fn a_frame_that_cannot_be_measured_is_refused() {
    let complaints = Parts::with(&[mov_constant(0, 0)]).complaints();
    assert_eq!(complaints.first().map(String::as_str), Some("measuring the stack frame of `program`"));
}

#[test]
fn license_and_type_information_are_required() {
    let complaints = Parts { license: None, ..Parts::default() }.complaints();
    assert_eq!(complaints, ["the section `license` says \"\", which the kernel does not take for the GPL"]);
    let complaints = Parts { license: Some(b"Apache-2.0\0"), ..Parts::default() }.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    let missing = |section| format!("the section `{section}` is missing or holds no BTF");
    assert_eq!(Parts { btf: None, ..Parts::default() }.complaints(), [missing(".BTF")]);
    assert_eq!(Parts { btf: Some(b"none"), ..Parts::default() }.complaints(), [missing(".BTF")]);
    assert_eq!(Parts { btf_ext: None, ..Parts::default() }.complaints(), [missing(".BTF.ext")]);
}

#[test]
fn code_outside_functions_is_refused() {
    let unnamed =
        "byte 0x10 of section `uprobe.multi` belongs to no function, or a function does not fit its section";
    let parts =
        Parts { symbol_size: Some(16), ..Parts::with(&[mov_constant(0, 0), exit(), call(36), exit()]) };
    assert_eq!(parts.complaints(), [unnamed]);
    for size in [0, 12, 24, u64::MAX] {
        let parts = Parts { symbol_size: Some(size), ..Parts::default() };
        assert!(
            parts.complaints().iter().any(|complaint| complaint.contains("belongs to no function")),
            "{size}"
        );
    }
}

#[test]
fn bytes_that_are_no_object_are_refused() {
    let violations = check(b"\x7fELF and no more", Permissions::NONE).unwrap_err();
    assert!(matches!(violations.as_slice(), [Violation::Malformed(_), ..]), "{violations:?}");
    let object = Parts::default().build();
    for length in 0..object.len() {
        assert!(check(&object[..length], Permissions::NONE).is_err(), "an object cut after {length} bytes");
    }
}
