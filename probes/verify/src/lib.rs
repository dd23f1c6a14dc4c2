//! What a BPF object must fulfil before it is put into the agent.
//!
//! The kernel's verifier proves that a program cannot crash the kernel. It does not prove that the program leaves the
//! watched process alone, nor that the frames are small enough to keep it off the per-CPU private stack. Those promises
//! are checked here, on the finished object, each time it is built; no kernel and no privilege is needed.
//!
//! Modules, in reading order:
#![forbid(unsafe_code)]

pub mod check;
pub mod depth;
pub mod frame;
pub mod instruction;

#[cfg(test)]
mod testing;

pub use check::{Exemption, FRAME_LIMIT, Function, Permissions, Violation, check};
