//! The builds that tests go through.

use super::build::Build;
use super::mode::{Mode, host};
use super::program::Program;
use super::version::{GoVersion, VERSIONS};
use crate::extent::Extent;
use lightfoot_symbolizer::Architecture;

/// Servers whose requests end in different ways: those of every Go, and of the one build whose end of a request is elsewhere.
pub const SERVERS: [(u32, Mode); 8] = [
    (21, Mode::Plain),
    (22, Mode::Plain),
    (23, Mode::Plain),
    (24, Mode::Plain),
    (25, Mode::Plain),
    (26, Mode::Plain),
    (27, Mode::Plain),
    (26, Mode::ProfileGuided),
];

/// The builds for this machine whose spans are compared with the truth. Usually those of [`Mode::GENERAL`] for the versions
/// with a runtime, a compiler or a `net/http` of their own, one of the others, and one of each mode that not everybody uses;
/// or the full product.
pub fn watched(program: Program, extent: Extent) -> impl Iterator<Item = Build> {
    const ROUGHLY_ALL: [u32; 4] = [21, 24, 26, 27];
    const ONCE: [(Mode, u32); 6] = [
        (Mode::ProfileGuided, 26),
        (Mode::Race, 27),
        (Mode::Debug, 27),
        (Mode::CgoExternal, 27),
        (Mode::Boringcrypto, 27),
        (Mode::Fips, 27),
    ];
    let is_usual = |build: &Build| {
        let minor = build.version.minor;
        let is_general = Mode::GENERAL.contains(&build.mode) && ROUGHLY_ALL.contains(&minor);
        is_general || build.mode == Mode::Plain || ONCE.contains(&(build.mode, minor))
    };
    let all = Mode::ALL.into_iter().flat_map(move |mode| versions(program, mode));
    all.filter(move |build| build.unsupported().is_none() && (extent == Extent::All || is_usual(build)))
}

/// Every version in every mode of [`Mode::GENERAL`] for both architectures: 56 builds.
pub fn general(program: Program) -> impl Iterator<Item = Build> {
    VERSIONS.into_iter().flat_map(move |version| {
        Mode::GENERAL.into_iter().flat_map(move |mode| {
            [Architecture::X86_64, Architecture::Aarch64].map(|architecture| Build {
                program,
                version,
                mode,
                architecture,
            })
        })
    })
}

/// The modes that not everybody uses, for the versions where they differ: those that `minor` lists, on this machine's
/// architecture, the ones without a C compiler on both.
pub fn special() -> impl Iterator<Item = Build> {
    const MODES: [(Mode, Program, &[u32]); 13] = [
        (Mode::StaticPie, Program::Http, &[21, 25, 26, 27]),
        (Mode::CgoExternal, Program::Cgo, &[21, 24, 25, 26, 27]),
        (Mode::CgoExternalPie, Program::Cgo, &[21, 25, 26, 27]),
        (Mode::RelrPie, Program::Cgo, &[21, 25, 26, 27]),
        (Mode::ProfileGuided, Program::Http, &[21, 26, 27]),
        (Mode::Race, Program::Http, &[21, 27]),
        (Mode::Debug, Program::Http, &[21, 27]),
        (Mode::Boringcrypto, Program::Http, &[21, 27]),
        (Mode::Fips, Program::Http, &[24, 27]),
        (Mode::NoSections, Program::Http, &[21, 25, 26, 27]),
        (Mode::NoSectionsPie, Program::Http, &[21, 25, 26, 27]),
        (Mode::BinutilsStripped, Program::Http, &[21, 25, 26, 27]),
        (Mode::CgoExternal, Program::Http, &[27]),
    ];
    MODES.into_iter().flat_map(|(mode, program, minors)| {
        minors.iter().filter_map(|minor| GoVersion::of_minor(*minor)).flat_map(move |version| {
            [Architecture::X86_64, Architecture::Aarch64]
                .map(|architecture| Build { program, version, mode, architecture })
                .into_iter()
                .filter(|build| build.unsupported().is_none())
        })
    })
}

/// One build of a program per version, in the mode that has symbols and DWARF to compare with, for this machine.
pub fn versions(program: Program, mode: Mode) -> impl Iterator<Item = Build> {
    VERSIONS.into_iter().map(move |version| Build { program, version, mode, architecture: host() })
}
