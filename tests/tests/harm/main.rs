//! Probes do no harm: programs answer the same with and without them, wherever they may stand, however they come and go.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is `true`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod cycles;
mod programs;
mod sites;

use std::time::Duration;

/// Within which everything must be detached (issue: "detached within two seconds"), on a busy machine.
const DETACHED: Duration = Duration::from_secs(10);
