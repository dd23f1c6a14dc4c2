//! Each mode makes what its name says, and what it makes runs.

use lightfoot_tests::go::mode::host;
use lightfoot_tests::go::version::NEWEST;
use lightfoot_tests::go::{Build, GoToolchain, Mode, Program, matrix};
use lightfoot_tests::oracle::tools;
use object::elf::{DT_RELR, ET_DYN, ET_EXEC, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{LittleEndian, Object as _};
use std::collections::HashSet;
use std::process::Command;

/// What an ELF file shows of the way it was linked.
struct Linked {
    kind: object::elf::FileType,
    interpreter: bool,
    packed_relocations: bool,
    sections: usize,
    symbols: usize,
    debug: bool,
}

fn linked(bytes: &[u8]) -> object::Result<Linked> {
    let file = ElfFile64::<LittleEndian>::parse(bytes)?;
    let endian = file.endian();
    let segment = |kind| file.elf_program_headers().iter().find(|segment| segment.p_type(endian) == kind);
    let dynamic = match segment(PT_DYNAMIC) {
        Some(segment) => segment.dynamic(endian, bytes)?.unwrap_or_default(),
        None => &[],
    };
    Ok(Linked {
        kind: file.elf_header().e_type(endian),
        interpreter: segment(PT_INTERP).is_some(),
        packed_relocations: dynamic.iter().any(|entry| entry.d_tag.get(endian) == DT_RELR),
        sections: file.sections().count(),
        symbols: file.symbols().count(),
        debug: file.section_by_name(".debug_info").is_some(),
    })
}

#[test]
fn every_special_build_is_linked_as_its_mode_says_and_runs() {
    let mut seen = HashSet::new();
    for build in matrix::special() {
        let path = build.path().unwrap();
        let file = linked(&build.bytes().unwrap()).unwrap();
        let executable = file.kind == ET_EXEC;
        let relocatable = file.kind == ET_DYN;
        let holds = match build.mode {
            Mode::StaticPie => relocatable && !file.interpreter,
            Mode::CgoExternal => executable && file.interpreter,
            Mode::CgoExternalPie => relocatable && file.interpreter,
            Mode::RelrPie => relocatable && file.packed_relocations,
            Mode::NoSections => executable && file.sections == 0,
            Mode::NoSectionsPie => relocatable && file.sections == 0,
            Mode::BinutilsStripped => file.symbols == 0 && file.sections > 0,
            _ => file.debug && file.symbols > 0,
        };
        assert!(holds, "{build}");
        if build.architecture == host() {
            let arguments: &[&str] =
                if build.program == Program::Cgo { &["-once"] } else { &["-requests", "20"] };
            let output = Command::new(path).args(arguments).output().unwrap();
            assert!(output.status.success(), "{build}: {}", String::from_utf8_lossy(&output.stderr));
            seen.insert(build.mode);
        }
    }
    let missing: Vec<_> = Mode::ALL.iter().filter(|mode| !seen.contains(mode)).collect();
    assert_eq!(missing, Mode::GENERAL.iter().collect::<Vec<_>>(), "every mode but the general ones ran");
}

#[test]
fn general_builds_are_stripped_and_relocatable_as_they_say() {
    for build in matrix::general(Program::Layouts).filter(|build| build.version == NEWEST) {
        let file = linked(&build.bytes().unwrap()).unwrap();
        let stripped = matches!(build.mode, Mode::Stripped | Mode::PieStripped);
        let relocatable = matches!(build.mode, Mode::Pie | Mode::PieStripped);
        assert_eq!(file.symbols == 0 && !file.debug, stripped, "{build}");
        assert_eq!(file.kind == ET_DYN, relocatable, "{build}");
    }
}

#[test]
fn the_profile_inlines_the_end_of_a_request() {
    let mut compared = 0;
    for guided in matrix::special().filter(|build| build.mode == Mode::ProfileGuided) {
        let toolchain = GoToolchain::find(guided.version).unwrap();
        for (build, inlined) in [(guided, true), (Build { mode: Mode::Plain, ..guided }, false)] {
            let serve = r"^net/http\.\(\*conn\)\.serve$";
            let functions = tools::instructions(&toolchain, &build.path().unwrap(), serve).unwrap();
            let calls =
                |name: &str| functions["net/http.(*conn).serve"].iter().any(|i| i.text.contains(name));
            assert!(calls("net/http.serverHandler.ServeHTTP(SB)"), "{build}");
            assert_eq!(calls("net/http.(*response).finishRequest(SB)"), !inlined, "{build}");
            compared += 1;
        }
    }
    assert!(compared > 2);
}

#[test]
fn build_information_names_what_linking_does_not_show() {
    for (mode, part) in [
        (Mode::Race, "-race=true"),
        (Mode::Debug, "-gcflags=\"all=-N -l\""),
        (Mode::Boringcrypto, "GOEXPERIMENT=boringcrypto"),
        (Mode::Fips, "GOFIPS140=v1.0.0"),
    ] {
        let build = Build::here(Program::Http, NEWEST, mode);
        let lines = tools::build_info(&GoToolchain::find(NEWEST).unwrap(), &build.path().unwrap()).unwrap();
        assert!(lines.concat().iter().any(|word| word.contains(part)), "{build}: {lines:?}");
    }
}
