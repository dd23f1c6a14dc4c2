//! Bytes in, facts out: where to probe a Go binary and how its memory is laid out.
//!
//! # Design constraints
//! - The crate opens no files and starts no threads: callers hand in a [`Source`], which is asked for windows.
//! - Every byte is hostile: parsers return typed errors, never panic, never loop or allocate without a bound.
//! - Only what is asked for is kept: names of wanted functions, layouts of wanted types.
//!
//! Modules, in reading order:
#![forbid(unsafe_code)]

pub mod address;
pub mod architecture;
pub mod decode;
pub mod go_abi;
pub mod site;
pub mod source;

pub use address::{FileOffset, VirtualAddress};
pub use architecture::Architecture;
pub use source::{Source, SourceError};
