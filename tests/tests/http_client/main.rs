//! Calls of HTTP clients end to end: a Go program's own truth against the spans that `lightfoot run` prints.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod idle;
mod join;
mod rows;
