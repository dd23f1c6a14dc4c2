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
pub mod source;

pub mod image;
pub mod relocations;

pub mod build_id;
pub mod build_info;

pub mod moduledata;

pub mod functions;
pub mod inline_tree;

pub mod dwarf;
pub mod types;

pub mod binary;

pub mod decode;
pub mod go_abi;
pub mod site;

pub mod goid;

#[cfg(test)]
mod forged;

pub use address::{FileOffset, RuntimeAddress, VirtualAddress};
pub use architecture::Architecture;
pub use binary::{Binary, Refusal};
pub use image::{Image, ImageError};
pub use source::{Source, SourceError};
