//! A built binary's path.

use super::mode::{Mode, Step, host};
use super::program::Program;
use super::toolchain::{GoToolchain, ToolchainError, run};
use super::version::{GoVersion, OLDEST};
use crate::cache::{self, FileError};
use crate::elf;
use lightfoot_symbolizer::Architecture;
use std::env;
use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How often a program is built that has dependencies: Go asks for each module once, and a network may fail once.
const TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_secs(5);

/// One binary: what is built, by which Go, how and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Build {
    /// What is built.
    pub program: Program,
    /// By which Go.
    pub version: GoVersion,
    /// How.
    pub mode: Mode,
    /// For which architecture.
    pub architecture: Architecture,
}

impl Build {
    /// The build for this machine.
    pub fn here(program: Program, version: GoVersion, mode: Mode) -> Self {
        Self { program, version, mode, architecture: host() }
    }

    /// Why the binary cannot be built, as a sentence a skipped test can print; `None` if it can.
    pub fn unsupported(&self) -> Option<&'static str> {
        match (self.program, self.mode) {
            (Program::Cgo, mode) if !mode.uses_cgo() => Some("the program needs cgo"),
            (_, Mode::ProfileGuided) if !self.profile().exists() => {
                Some("no profile of this program and version")
            }
            (_, mode) => mode.unsupported(self.version, self.architecture),
        }
    }

    /// The binary, built unless the cache has it. A change of the program's files, of the mode's arguments or of the
    /// toolchain's patch version makes another binary under another name.
    pub fn path(&self) -> Result<PathBuf, BuildError> {
        if let Some(reason) = self.unsupported() {
            return Err(BuildError::Unsupported { build: self.to_string(), reason });
        }
        let toolchain = GoToolchain::find(self.version)?;
        let path = cache::folder().join("targets").join(self.file_name(&toolchain)?);
        cache::file(&path, |to| match self.mode.made_from() {
            None => self.go_build(&toolchain, to),
            Some((mode, step)) => {
                let from = Self { mode, ..*self }.path()?;
                match step {
                    Step::Strip => {
                        run(Command::new("strip").arg("-o").arg(to).arg(&from))?;
                    }
                    Step::RemoveSectionHeaders => {
                        // A copy keeps the permissions.
                        fs::copy(&from, to).map_err(FileError::at(to))?;
                        let mut bytes = fs::read(to).map_err(FileError::at(to))?;
                        elf::remove_section_headers(&mut bytes).ok_or(BuildError::NoSectionHeaders(from))?;
                        fs::write(to, bytes).map_err(FileError::at(to))?;
                    }
                }
                Ok(())
            }
        })?;
        Ok(path)
    }

    /// The binary's bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, BuildError> {
        let path = self.path()?;
        Ok(fs::read(&path).map_err(FileError::at(&path))?)
    }

    fn go_build(&self, toolchain: &GoToolchain, to: &Path) -> Result<(), BuildError> {
        let mut command = toolchain.command();
        command
            .current_dir(self.program.folder())
            .arg("build")
            .arg(format!("-modfile={}", self.module_file(toolchain)?.display()))
            .args(self.mode.arguments())
            .env("GOOS", "linux")
            .env("GOARCH", self.architecture.goarch())
            .envs(self.mode.environment().iter().copied());
        if self.mode == Mode::ProfileGuided {
            command.arg(format!("-pgo={}", self.profile().display()));
        }
        let has_dependencies = self.committed_module_file().with_extension("sum").exists();
        if has_dependencies {
            // It has dependencies. go.sum is committed, so the checksum database has nothing to add.
            match env::var_os("GOPROXY") {
                Some(proxy) => command.env("GOPROXY", proxy),
                None => command.env_remove("GOPROXY"),
            };
            command.env("GONOSUMDB", "*");
        }
        command.arg("-o").arg(to).arg(".");
        let mut built = run(&mut command);
        for _ in 1..if has_dependencies { TRIES } else { 1 } {
            if built.is_ok() {
                break;
            }
            thread::sleep(BETWEEN_TRIES);
            built = run(&mut command);
        }
        built?;
        Ok(())
    }

    /// `PROGRAM-VERSION-MODE-ARCHITECTURE-HASH`.
    fn file_name(&self, toolchain: &GoToolchain) -> Result<String, FileError> {
        // Its algorithm may change with the compiler: that costs a rebuild. Nobody forges collisions here.
        let mut hasher = DefaultHasher::new();
        toolchain.exact.hash(&mut hasher);
        let folder = self.program.folder();
        let mut inputs = files(&folder)?;
        let module = self.committed_module_file();
        for used in local_modules(&fs::read_to_string(&module).map_err(FileError::at(&module))?) {
            inputs.extend(files(&folder.join(used))?);
        }
        if module.parent() != Some(&folder) {
            inputs.extend([module.clone(), module.with_extension("sum")]);
        }
        if self.mode == Mode::ProfileGuided {
            inputs.push(self.profile());
        }
        for input in inputs.iter().filter(|input| input.exists()) {
            input.strip_prefix(&folder).unwrap_or(input).hash(&mut hasher);
            fs::read(input).map_err(FileError::at(input))?.hash(&mut hasher);
        }
        let mode = self.mode.made_from().map_or(self.mode, |(mode, _)| mode);
        (mode.arguments(), mode.environment()).hash(&mut hasher);
        let Self { program, version, mode, architecture } = self;
        let hash = hasher.finish();
        Ok(format!("{program}-{version}-{mode}-{}-{hash:016x}", architecture.goarch()))
    }

    /// The go.mod file to build with, its go.sum beside it: a copy of the committed one whose `go` line names this Go
    /// version, for that line chooses the defaults of GODEBUG.
    fn module_file(&self, toolchain: &GoToolchain) -> Result<PathBuf, BuildError> {
        let committed = self.committed_module_file();
        let own = fs::read_to_string(&committed).map_err(FileError::at(&committed))?;
        let text: String = own
            .lines()
            .map(|line| match line.strip_prefix("go ") {
                // Some dependencies need a first release, which is newer than 1.MINOR.
                Some(_) => format!("go {}.0\n", self.version.language()),
                None => format!("{line}\n"),
            })
            .collect();
        let sum = committed.with_extension("sum");
        let sum =
            if sum.exists() { Some(fs::read_to_string(&sum).map_err(FileError::at(&sum))?) } else { None };
        let mut hasher = DefaultHasher::new();
        (&text, &sum).hash(&mut hasher);
        let name = format!("{}-{}-{:016x}/go.mod", self.program, toolchain.exact, hasher.finish());
        let path = cache::folder().join("modules").join(name);
        if let Some(sum) = sum {
            let path = path.with_extension("sum");
            cache::file(&path, |to| fs::write(to, &sum).map_err(FileError::at(to)))?;
        }
        cache::file(&path, |to| fs::write(to, &text).map_err(FileError::at(to)))?;
        Ok(path)
    }

    /// `versions/goVERSION.mod` of the newest version up to this one, because each release of a dependency supports its
    /// own range of Go releases; a program without any has only its own go.mod.
    fn committed_module_file(&self) -> PathBuf {
        let folder = self.program.folder();
        let of = |minor| folder.join(format!("versions/go1.{minor}.mod"));
        let versioned = (OLDEST.minor..=self.version.minor).rev().map(of).find(|path| path.exists());
        versioned.unwrap_or_else(|| folder.join("go.mod"))
    }

    /// The CPU profile that [`Mode::ProfileGuided`] uses; edges in a profile hold line numbers of one Go version.
    fn profile(&self) -> PathBuf {
        self.program.folder().join(format!("profiles/go{}.pprof", self.version.language()))
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, version, mode, architecture } = self;
        write!(f, "{program}, Go {version}, {mode}, {architecture}")
    }
}

/// The folders that a go.mod takes modules from in place of released ones, relative to its own.
fn local_modules(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.split_once("=> "))
        .map(|(_, to)| to.trim())
        .filter(|to| to.starts_with("../"))
}

/// The files in `folder`, sorted. Those in the folders below it belong to some builds only.
fn files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut found: Vec<_> = entries.map_err(FileError::at(folder))?.iter().map(fs::DirEntry::path).collect();
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// Why a binary could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The combination does not exist.
    #[error("{build}: {reason}")]
    Unsupported {
        /// The build.
        build: String,
        /// Why.
        reason: &'static str,
    },
    /// No toolchain, or it failed.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// A source or a file of the cache failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// What should lose its section headers has none.
    #[error("{0} has no section headers")]
    NoSectionHeaders(PathBuf),
}
