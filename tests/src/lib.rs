//! The test kit: Go programs built in every way that matters, independent views of them, and hostile inputs.
//!
//! Modules, in reading order:
//! - [`go`]: toolchains, build modes, and binaries cached by content.
//! - [`cache`]: where everything that is built or fetched lives, outside the work tree.
//! - [`oracle`]: what DWARF and Go's tools say about a binary.
//! - [`hostile`]: files that a parser must survive, and the harness that shows it does.
//! - [`elf`]: changes of ELF files by hand.
//! - [`live`]: a running agent, the programs that it watches, their clients, and what each of them says.
//! - [`expected`]: what a span must say of a request or a call.
//! - [`support`]: which builds are found to work, [`kernels`]: on which kernels, and [`readme`]: where both are shown.
//! - [`recordings`]: what came out of the ring buffer once, and how it is made anew.
//! - [`probes`]: what the tests of the BPF programs share.
//! - [`each`]: many builds at a time; [`extent`]: how many.
//! - [`trace_context`]: where the conformance suite of W3C Trace Context is.
#![forbid(unsafe_code)]

pub mod cache;
pub mod each;
pub mod elf;
pub mod expected;
pub mod extent;
pub mod go;
pub mod hostile;
pub mod kernels;
pub mod live;
pub mod oracle;
pub mod probes;
pub mod readme;
pub mod recordings;
pub mod support;
pub mod trace_context;
