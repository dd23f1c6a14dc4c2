//! How a program is compiled and linked.

use super::version::GoVersion;
use lightfoot_symbolizer::Architecture;
use std::env::consts::ARCH;
use std::fmt;

/// A way to build a Go program. The names in brackets are those of files in the cache.
///
/// All but [`Mode::Debug`] pass `-trimpath`: it changes only recorded file names, and modes that differ in linking
/// alone then share compiled packages, which halves the time the matrix takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `go build -trimpath`: DWARF and symbols, fixed addresses, linked by Go (`plain`).
    Plain,
    /// `-ldflags='-s -w'`: no DWARF, no symbols; what container images hold (`stripped`).
    Stripped,
    /// `-buildmode=pie`, linked by Go (`pie`).
    Pie,
    /// Both of the above (`pie-stripped`).
    PieStripped,
    /// `-buildmode=pie` with `-extldflags=-static-pie`: no interpreter, relocates itself (`static-pie`).
    StaticPie,
    /// Linked by the C compiler, at fixed addresses (`cgo-external`).
    CgoExternal,
    /// Linked by the C compiler, position independent (`cgo-external-pie`).
    CgoExternalPie,
    /// As [`Mode::CgoExternalPie`], with relative relocations packed as DT_RELR; needs GNU ld 2.38 (`relr-pie`).
    RelrPie,
    /// With a profile that inlines `net/http.(*response).finishRequest` into `(*conn).serve` (`profile-guided`).
    ProfileGuided,
    /// `-race`, which needs cgo (`race`).
    Race,
    /// `-gcflags='all=-N -l'`: nothing optimised, nothing inlined (`debug`).
    Debug,
    /// `GOEXPERIMENT=boringcrypto`: C code in an object file that the toolchain ships (`boringcrypto`).
    Boringcrypto,
    /// `GOFIPS140=v1.0.0`: the frozen FIPS 140-3 module instead of the release's own crypto (`fips`).
    Fips,
    /// [`Mode::Plain`] without its section header table (`no-sections`).
    NoSections,
    /// [`Mode::Pie`] without its section header table (`no-sections-pie`).
    NoSectionsPie,
    /// [`Mode::Plain`] after binutils' `strip` (`binutils-stripped`).
    BinutilsStripped,
}

/// What makes a binary out of another mode's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The section header table and all that points to it become zeros.
    RemoveSectionHeaders,
    /// `strip FILE`.
    Strip,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 16] = [
        Self::Plain,
        Self::Stripped,
        Self::Pie,
        Self::PieStripped,
        Self::StaticPie,
        Self::CgoExternal,
        Self::CgoExternalPie,
        Self::RelrPie,
        Self::ProfileGuided,
        Self::Race,
        Self::Debug,
        Self::Boringcrypto,
        Self::Fips,
        Self::NoSections,
        Self::NoSectionsPie,
        Self::BinutilsStripped,
    ];

    /// The modes that work for every version and architecture without a C compiler.
    pub const GENERAL: [Self; 4] = [Self::Plain, Self::Stripped, Self::Pie, Self::PieStripped];

    /// Its name in the cache.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Stripped => "stripped",
            Self::Pie => "pie",
            Self::PieStripped => "pie-stripped",
            Self::StaticPie => "static-pie",
            Self::CgoExternal => "cgo-external",
            Self::CgoExternalPie => "cgo-external-pie",
            Self::RelrPie => "relr-pie",
            Self::ProfileGuided => "profile-guided",
            Self::Race => "race",
            Self::Debug => "debug",
            Self::Boringcrypto => "boringcrypto",
            Self::Fips => "fips",
            Self::NoSections => "no-sections",
            Self::NoSectionsPie => "no-sections-pie",
            Self::BinutilsStripped => "binutils-stripped",
        }
    }

    /// The mode and the step that this one is made from, for those that `go build` does not make.
    pub fn made_from(self) -> Option<(Self, Step)> {
        match self {
            Self::NoSections => Some((Self::Plain, Step::RemoveSectionHeaders)),
            Self::NoSectionsPie => Some((Self::Pie, Step::RemoveSectionHeaders)),
            Self::BinutilsStripped => Some((Self::Plain, Step::Strip)),
            _ => None,
        }
    }

    /// Whether the C compiler takes part, which binds the mode to the machine's own architecture.
    pub fn uses_cgo(self) -> bool {
        matches!(
            self,
            Self::StaticPie
                | Self::CgoExternal
                | Self::CgoExternalPie
                | Self::RelrPie
                | Self::Race
                | Self::Boringcrypto
        )
    }

    /// The arguments of `go build`. The profile of [`Mode::ProfileGuided`] depends on the program and is not among
    /// them.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Stripped => &["-trimpath", "-ldflags=-s -w"],
            Self::Pie => &["-trimpath", "-buildmode=pie"],
            Self::PieStripped => &["-trimpath", "-buildmode=pie", "-ldflags=-s -w"],
            Self::StaticPie => &[
                "-trimpath",
                "-buildmode=pie",
                "-tags=netgo,osusergo", // static glibc cannot load the resolver's plug-ins
                "-ldflags=-linkmode=external -extldflags=-static-pie",
            ],
            Self::CgoExternal => &["-trimpath", "-ldflags=-linkmode=external"],
            Self::CgoExternalPie => &["-trimpath", "-buildmode=pie", "-ldflags=-linkmode=external"],
            Self::RelrPie => &[
                "-trimpath",
                "-buildmode=pie",
                "-ldflags=-linkmode=external -extldflags=-Wl,-z,pack-relative-relocs",
            ],
            Self::Race => &["-trimpath", "-race"],
            Self::Debug => &["-gcflags=all=-N -l"],
            Self::Plain
            | Self::ProfileGuided
            | Self::Boringcrypto
            | Self::Fips
            | Self::NoSections
            | Self::NoSectionsPie
            | Self::BinutilsStripped => &["-trimpath"],
        }
    }

    /// The environment of `go build`, besides what every build has.
    pub fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Boringcrypto => &[("GOEXPERIMENT", "boringcrypto"), ("CGO_ENABLED", "1")],
            Self::Fips => &[("GOFIPS140", "v1.0.0")],
            mode if mode.uses_cgo() => &[("CGO_ENABLED", "1")],
            _ => &[],
        }
    }

    /// Why this mode does not exist for a version and architecture on this machine, or `None` if it does.
    pub fn unsupported(self, version: GoVersion, architecture: Architecture) -> Option<&'static str> {
        let foreign = architecture != host();
        match self {
            mode if mode.uses_cgo() && foreign => Some("the C compiler builds for this machine only"),
            Self::BinutilsStripped if foreign => Some("strip knows this machine's architecture only"),
            Self::Fips if version.minor < 24 => Some("GOFIPS140 exists since Go 1.24"),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The architecture of this machine.
pub fn host() -> Architecture {
    if ARCH == "aarch64" { Architecture::Aarch64 } else { Architecture::X86_64 }
}
