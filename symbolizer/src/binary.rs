//! A Go program opened: what it is, and the way to all other facts.

use std::ops::ControlFlow;

use memchr::memmem;
use thiserror::Error;

use crate::VirtualAddress;
use crate::build_id::BuildId;
use crate::build_info::{BuildInfo, BuildInfoError, GoVersion};
use crate::functions::{Function, FunctionError, Functions};
use crate::image::{Image, ImageError};
use crate::moduledata::{ModuleData, ModuleDataError};
use crate::relocations;
use crate::source::Source;
use crate::types::{Descriptors, TypeError, Types};

/// The oldest Go whose programs are supported: the first with the function table and descriptors as read here.
pub const OLDEST_GO: GoVersion = GoVersion { minor: 21, patch: 0 };
/// The newest Go that the tests cover. Newer programs are read by the same proofs and may be refused by them.
pub const NEWEST_TESTED_GO: GoVersion = GoVersion { minor: 27, patch: 3 };

/// Why a file is not a Go program that can be watched. Each variant is one sentence for the user.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The file is no ELF program that we can read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// No trace of Go.
    #[error("not a Go program: it carries no Go build information")]
    NotGo,
    /// Compiled by TinyGo, whose runtime is another.
    #[error("compiled by TinyGo, whose runtime and calling convention are not Go's; rebuild with go build")]
    TinyGo,
    /// Compiled by gccgo, whose runtime is another.
    #[error("compiled by gccgo, whose runtime and calling convention are not Go's; rebuild with go build")]
    Gccgo,
    /// The build information was wiped or the names were hashed.
    #[error("obfuscated (garble or the like): {0}; build it without obfuscation to watch it")]
    Obfuscated(&'static str),
    /// Built by a Go of before 1.21.
    #[error("built with {0}; Go 1.21 or later is supported")]
    TooOld(String),
    /// The build information is damaged.
    #[error("the Go build information cannot be read")]
    BuildInfo(#[source] BuildInfoError),
    /// The function table or module data is missing, damaged or unknown.
    #[error("built with {version}, but its function table cannot be used")]
    ModuleData {
        /// The Go version from the build information.
        version: String,
        /// What is wrong.
        source: ModuleDataError,
    },
}

/// A Go program.
pub struct Binary<S> {
    /// Its bytes by address.
    pub image: Image<S>,
    /// What it was built from and with.
    pub build_info: BuildInfo,
    /// Its build ids.
    pub build_id: BuildId,
    /// Where the runtime's tables lie.
    pub module: ModuleData,
}

impl<S: Source> Binary<S> {
    /// Opens a program: reads headers, build information and module data, nothing of a size that grows with it.
    pub fn open(source: S) -> Result<Self, Refusal> {
        let image = Image::parse(source)?;
        let build_info = match BuildInfo::read(&image) {
            Ok(info) => info,
            Err(BuildInfoError::Absent) => return Err(without_build_info(&image)),
            Err(BuildInfoError::BeforeGo118) => return Err(Refusal::TooOld("Go 1.17 or earlier".to_owned())),
            Err(error) => return Err(Refusal::BuildInfo(error)),
        };
        match build_info.version() {
            Some(version) if version < OLDEST_GO => return Err(Refusal::TooOld(build_info.go_version)),
            Some(_) => {}
            None if build_info.go_version.contains("gccgo") => return Err(Refusal::Gccgo),
            None => return Err(Refusal::Obfuscated("its Go version is missing")),
        }
        let module = match ModuleData::find(&image) {
            Ok(module) => module,
            Err(ModuleDataError::NoFunctionTable) => {
                return Err(Refusal::Obfuscated("its function table does not carry Go's magic"));
            }
            Err(source) => return Err(Refusal::ModuleData { version: build_info.go_version, source }),
        };
        Ok(Self { build_id: BuildId::read(&image), image, build_info, module })
    }

    /// Looks up functions by name, and where they were inlined.
    pub fn functions(&self, wanted: &[&str]) -> Result<Functions, FunctionError> {
        Functions::find(&self.image, &self.module, wanted)
    }

    /// The function whose code `address` lies in.
    pub fn function_at(&self, address: VirtualAddress) -> Result<Function, FunctionError> {
        Functions::at(&self.image, &self.module, address)
    }

    /// Looks up struct layouts by name, and every holder of a context.
    pub fn types(&self, wanted: &[&str]) -> Result<Types, TypeError> {
        Types::find(&self.image, &self.module, wanted)
    }

    /// Reads single descriptors by address.
    pub fn descriptors(&self) -> Descriptors<'_, S> {
        Descriptors::new(&self.image, &self.module)
    }
}

/// Tells why a program has no Go build information.
fn without_build_info<S: Source>(image: &Image<S>) -> Refusal {
    if links_libgo(image) {
        return Refusal::Gccgo;
    }
    let mentions = |needle: &[u8]| {
        let finder = memmem::Finder::new(needle);
        image.segments.iter().any(|segment| {
            let hit = image.scan(segment.address, segment.file_size, needle.len() - 1, |_, bytes| {
                if finder.find(bytes).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            matches!(hit, Ok(Some(())))
        })
    };
    // TinyGo names its own symbols so; the paths of libgo's sources are in its assertions, stripped or not.
    if mentions(b"tinygo") {
        Refusal::TinyGo
    } else if mentions(b"libgo/runtime/") {
        Refusal::Gccgo
    } else if ModuleData::find(image).is_ok() {
        Refusal::Obfuscated("its Go build information was removed")
    } else {
        Refusal::NotGo
    }
}

/// Whether the program is linked against gccgo's runtime library.
fn links_libgo<S: Source>(image: &Image<S>) -> bool {
    let Ok(entries) = relocations::dynamic_entries(image) else { return false };
    let strings = entries.iter().find(|(tag, _)| *tag == object::elf::DT_STRTAB).map(|(_, at)| *at);
    let Some(strings) = strings.map(VirtualAddress) else { return false };
    entries
        .iter()
        .filter(|(tag, _)| *tag == object::elf::DT_NEEDED)
        .any(|(_, offset)| image.array(strings.past(*offset)).is_ok_and(|name| &name == b"libgo.so."))
}
