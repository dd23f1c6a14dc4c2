//! The build information that Go's linker leaves in every program: versions, modules, settings.
//!
//! The form is that of Go 1.18 and later (debug/buildinfo/buildinfo.go): a 32-byte header followed by two strings
//! with varint lengths. Programs of before 1.18 are recognised and refused.

use std::fmt;
use std::ops::ControlFlow;

use thiserror::Error;

use crate::address::VirtualAddress;
use crate::image::{Image, ImageError};
use crate::source::Source;

/// At most so many bytes of module information; kube-apiserver has 16 KiB.
pub const MAX_MODULE_INFO: u64 = 1 << 20;

/// At most so many places that look like it are read.
const MAX_CANDIDATES: usize = 16;
const MAGIC: &[u8] = b"\xff Go buildinf:";
const ALIGNMENT: u64 = 16;
const HEADER: u64 = 32;
const INLINE_STRINGS: u8 = 2;
/// The module information stands between two 16-byte marks (cmd/go/internal/modload/build.go).
const MARK: usize = 16;

/// What the build information says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version string as the toolchain gave it: `go1.26.8`, `go1.26.8 X:nocoverageredesign`, `devel go1.28-…`.
    pub go_version: String,
    /// The import path of the main package.
    pub path: Option<String>,
    /// The main module.
    pub main: Option<Module>,
    /// All modules linked in, in the order of the file (sorted by path).
    pub dependencies: Vec<Module>,
    /// Build settings: `-buildmode`, `-ldflags`, `GOARCH`, `GOEXPERIMENT`, `vcs.revision`, ….
    pub settings: Vec<(String, String)>,
}

/// A module and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Module path, such as `google.golang.org/grpc`.
    pub path: String,
    /// Version, such as `v1.83.0`; `(devel)` or empty for a work tree.
    pub version: String,
    /// The module whose code was compiled instead, by a `replace` directive.
    pub replaced_by: Option<Box<Module>>,
}

/// Why there is no build information to speak of.
#[derive(Debug, Error)]
pub enum BuildInfoError {
    /// The magic does not occur in the program's data.
    #[error("no Go build information")]
    Absent,
    /// A form that Go 1.17 and earlier wrote.
    #[error("build information in the form of Go 1.17 or earlier")]
    BeforeGo118,
    /// The strings are not where the header says.
    #[error("malformed build information: {0}")]
    Malformed(&'static str),
    /// The bytes could not be read.
    #[error("reading the build information")]
    Image(#[from] ImageError),
}

/// A released Go version, for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoVersion {
    /// The `26` in `go1.26.8`.
    pub minor: u16,
    /// The `8` in `go1.26.8`; 0 for `go1.26`, release candidates and development versions.
    pub patch: u16,
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}.{}", self.minor, self.patch)
    }
}

impl BuildInfo {
    /// Finds and reads the build information; executable segments are not searched.
    pub fn read<S: Source>(image: &Image<S>) -> Result<Self, BuildInfoError> {
        // Go puts it first into the data segment, so writable segments are looked at first.
        let data = image.segments.iter().filter(|segment| segment.writable);
        let rest = image.segments.iter().filter(|segment| !segment.writable && !segment.executable);
        let mut last = BuildInfoError::Absent;
        let mut left = MAX_CANDIDATES;
        for segment in data.chain(rest) {
            let read = image.find(segment, MAGIC, ALIGNMENT, |found| {
                left -= 1;
                match Self::read_at(image, found) {
                    Ok(info) => return ControlFlow::Break(Some(info)),
                    Err(error) => last = error,
                }
                if left == 0 { ControlFlow::Break(None) } else { ControlFlow::Continue(()) }
            })?;
            match read {
                Some(Some(info)) => return Ok(info),
                Some(None) => break,
                None => {}
            }
        }
        Err(last)
    }

    fn read_at<S: Source>(image: &Image<S>, header: VirtualAddress) -> Result<Self, BuildInfoError> {
        let [_, flags] = image.array(VirtualAddress(header.0.saturating_add(14)))?;
        if flags & INLINE_STRINGS == 0 {
            return Err(BuildInfoError::BeforeGo118);
        }
        let (go_version, next) = string(image, VirtualAddress(header.0.saturating_add(HEADER)))?;
        let (modules, _) = string(image, next)?;
        let go_version = String::from_utf8(go_version)
            .map_err(|_| BuildInfoError::Malformed("the Go version is not UTF-8"))?;
        let modules = modules.get(MARK..modules.len().saturating_sub(MARK)).unwrap_or_default();
        let mut info = Self { go_version, ..Self::default() };
        info.read_modules(&String::from_utf8_lossy(modules));
        Ok(info)
    }

    /// Reads runtime/debug/mod.go's text: a line each of a keyword and tab-separated values.
    fn read_modules(&mut self, text: &str) {
        for line in text.lines() {
            let Some((keyword, rest)) = line.split_once('\t') else { continue };
            let mut words = rest.split('\t');
            let mut module = || Module {
                path: words.next().unwrap_or_default().to_owned(),
                version: words.next().unwrap_or_default().to_owned(),
                replaced_by: None,
            };
            match keyword {
                "path" => self.path = Some(rest.to_owned()),
                "mod" => self.main = Some(module()),
                "dep" => self.dependencies.push(module()),
                // A replacement follows the module that it replaces.
                "=>" => {
                    let replacement = Some(Box::new(module()));
                    if let Some(module) = self.dependencies.last_mut().or(self.main.as_mut()) {
                        module.replaced_by = replacement;
                    }
                }
                "build" => {
                    if let Some((key, value)) = rest.split_once('=') {
                        let value = value.trim_matches('"');
                        self.settings.push((key.trim_matches('"').to_owned(), value.to_owned()));
                    }
                }
                _ => {}
            }
        }
    }

    /// The released version that [`Self::go_version`] names, where it names one.
    pub fn version(&self) -> Option<GoVersion> {
        let start = self.go_version.find("go1.")? + "go1.".len();
        let mut numbers = self
            .go_version
            .get(start..)?
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()?
            .split('.')
            .map(str::parse::<u16>);
        Some(GoVersion {
            minor: numbers.next()?.ok()?,
            patch: numbers.next().and_then(Result::ok).unwrap_or(0),
        })
    }

    /// The module that provides the package `import_path`, if it is linked in.
    pub fn module(&self, path: &str) -> Option<&Module> {
        self.main.iter().chain(&self.dependencies).find(|module| module.path == path)
    }

    /// The value of a build setting.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether cryptography goes through BoringSSL or Go's FIPS 140 module, as the settings tell.
    pub fn fips(&self) -> Option<&'static str> {
        let boring = self.setting("GOEXPERIMENT").is_some_and(|value| value.contains("boringcrypto"))
            || self.go_version.contains("X:boringcrypto");
        let fips = self.setting("GOFIPS140").is_some_and(|value| value != "off");
        match (boring, fips) {
            (true, _) => Some("boringcrypto"),
            (_, true) => Some("FIPS 140"),
            _ => None,
        }
    }
}

impl Module {
    /// The version of the code that was compiled: the replacement's where there is one.
    pub fn compiled(&self) -> &Self {
        self.replaced_by.as_deref().unwrap_or(self)
    }
}

/// A varint length and as many bytes; also the address after them.
fn string<S: Source>(
    image: &Image<S>,
    address: VirtualAddress,
) -> Result<(Vec<u8>, VirtualAddress), BuildInfoError> {
    let mut length = 0_u64;
    let mut at = address;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = image.array(at)?;
        at = VirtualAddress(at.0.saturating_add(1));
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if length > MAX_MODULE_INFO {
                return Err(BuildInfoError::Malformed("a string is longer than 1 MiB"));
            }
            let bytes = image.bytes(at, length, "build information")?;
            return Ok((bytes, VirtualAddress(at.0.saturating_add(length))));
        }
    }
    Err(BuildInfoError::Malformed("a length has no end"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forged::Forged;

    /// With what is not read at the head so often, and then this module information.
    fn read(before: usize, modules: &[u8]) -> Result<BuildInfo, BuildInfoError> {
        let mut program = Forged::new();
        for _ in 0..before {
            program.put(&[MAGIC, &[8, 0]].concat());
        }
        let length = u32::try_from(modules.len()).unwrap();
        let varint = [0, 7, 14].map(|shift| u8::try_from(length >> shift & 0x7f).unwrap());
        let [low, middle, high] = varint;
        let lengths = [low | 0x80, middle | 0x80, high];
        program.put(&[MAGIC, &[8, INLINE_STRINGS], &[0; 16], b"\x08go1.26.8", &lengths, modules].concat());
        BuildInfo::read(&Image::parse(program.file(&[]).as_slice()).unwrap())
    }

    #[test]
    fn module_information_of_so_many_bytes_is_read_and_more_is_refused() {
        let line = b"path\tx\n";
        let filler = usize::try_from(MAX_MODULE_INFO).unwrap() - MARK - line.len() - MARK;
        let of = |filler: usize| {
            [&[0; MARK][..], &vec![b'-'; filler], b"\n", &line[..line.len() - 1], &[0; MARK]].concat()
        };
        assert_eq!(read(0, &of(filler)).unwrap().path.as_deref(), Some("x"));
        let refused = read(0, &of(filler + 1)).unwrap_err();
        assert!(matches!(refused, BuildInfoError::Malformed("a string is longer than 1 MiB")), "{refused}");
    }

    #[test]
    fn so_many_places_that_look_like_it_are_read_and_no_more() {
        assert_eq!(read(MAX_CANDIDATES - 1, b"").unwrap().go_version, "go1.26.8");
        assert!(matches!(read(MAX_CANDIDATES, b""), Err(BuildInfoError::BeforeGo118)));
    }

    #[test]
    fn versions_are_read_from_what_toolchains_write() {
        let version = |text: &str| {
            let info = BuildInfo { go_version: text.into(), ..BuildInfo::default() };
            info.version().map(|version| (version.minor, version.patch))
        };
        assert_eq!(version("go1.26.8"), Some((26, 8)));
        assert_eq!(version("go1.21"), Some((21, 0)));
        assert_eq!(version("go1.27rc1"), Some((27, 0)));
        assert_eq!(version("go1.24.4 X:boringcrypto"), Some((24, 4)));
        assert_eq!(version("devel go1.28-6f9d0f1 Thu Aug 6"), Some((28, 0)));
        assert_eq!(version("unknown"), None);
        assert_eq!(version("go1.99999999"), None);
    }

    #[test]
    fn modules_replacements_and_settings_are_kept() {
        let mut info = BuildInfo::default();
        info.read_modules(
            "path\texample.com/shop/cmd/shop\nmod\texample.com/shop\tv1.2.3\th1:x=\n\
             dep\tgolang.org/x/net\tv0.30.0\th1:y=\n=>\texample.com/net\tv0.31.0\th1:z=\n\
             dep\tgoogle.golang.org/grpc\tv1.83.0\th1:w=\nbuild\tGOFIPS140=v1.0.0\nbuild\t-ldflags=\"-s -w\"\n",
        );
        assert_eq!(info.path.as_deref(), Some("example.com/shop/cmd/shop"));
        assert_eq!(info.module("golang.org/x/net").expect("linked").compiled().path, "example.com/net");
        assert_eq!(info.module("google.golang.org/grpc").expect("linked").compiled().version, "v1.83.0");
        assert_eq!(info.setting("-ldflags"), Some("-s -w"));
        assert_eq!(info.fips(), Some("FIPS 140"));
    }
}
