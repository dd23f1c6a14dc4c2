//! Served HTTP/2 requests end to end: a Go server's own truth against the spans that `lightfoot run` prints.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod load;
mod rows;
mod scene;

use lightfoot_tests::live::{Facts, Truth};
use serde::Deserialize;

use crate::scene::number;

/// What the client says of a request.
#[derive(Debug, Deserialize)]
struct Seen {
    case: String,
    number: u64,
}

/// What the client has said of its requests.
fn seen(lines: &[String]) -> Vec<Seen> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The truth about the request with that number.
fn truth_of(facts: &Facts, wanted: u64) -> &Truth {
    let found = facts.requests.iter().find(|truth| number(&truth.target) == wanted);
    found.unwrap_or_else(|| panic!("the server has not seen {wanted}"))
}
