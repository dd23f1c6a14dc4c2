//! Served HTTP/1 requests end to end: a Go server's own truth against the spans that `lightfoot run` prints.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod connections;
mod expected;
mod load;
mod rows;
mod scene;
mod trace_context;
