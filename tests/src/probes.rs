//! What the tests of the BPF programs share.
//!
//! Modules, in reading order:
//! - [`target`]: the Go programs of `probes/tests/`.
//! - [`span`]: records of HTTP, taken apart.

pub mod span;
pub mod target;

pub use span::{HttpSpan, hex};
pub use target::{Source, Target};

use lightfoot_probes_abi::Cookie;

/// A probe.
#[derive(Clone, Copy, Debug)]
pub struct PlacedSite {
    /// In the file.
    pub offset: u64,
    /// In the process, for programs that are not position independent.
    pub address: u64,
    /// What is told to the programs.
    pub cookie: Cookie,
}
