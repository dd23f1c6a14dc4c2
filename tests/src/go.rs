//! Go programs built by the tests: every supported Go version, both architectures, and the ways people link.
//!
//! Modules, in reading order:
//! - [`version`]: the supported versions.
//! - [`toolchain`]: the `go` command of a version.
//! - [`program`]: the sources in `tests/targets/`.
//! - [`mode`]: how a program is compiled and linked.
//! - [`build`]: a built binary's path.
//! - [`matrix`]: the builds that tests go through.

pub mod build;
pub mod matrix;
pub mod mode;
pub mod program;
pub mod toolchain;
pub mod version;

pub use build::{Build, BuildError};
pub use mode::Mode;
pub use program::Program;
pub use toolchain::{GoToolchain, ToolchainError};
pub use version::{GoVersion, VERSIONS};
