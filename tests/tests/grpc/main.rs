//! Calls by gRPC end to end, on both sides: a Go program's own truth against the spans that `lightfoot run` prints.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod expected;
mod join;
mod load;
mod messages;
mod names;
mod pairs;
mod parents;
mod rows;
mod segments;

use lightfoot_tests::go::{Mode, Program};

/// What counts something that should not have happened.
const LOSSES: [&str; 8] = [
    "ring_full",
    "in_flight_full",
    "no_goroutine",
    "no_request",
    "read_fault",
    "too_deep",
    "abandoned",
    "spans_open_at_end",
];

/// Programs with releases of grpc-go: 1.40 and 1.64 with Go 1.21, 1.69 with 1.25, 1.85 with 1.27.
const USUAL: [(Program, u32, Mode); 4] = [
    (Program::OldRpc, 21, Mode::Plain),
    (Program::Rpc, 21, Mode::Stripped),
    (Program::OldRpc, 25, Mode::PieStripped),
    (Program::Rpc, 27, Mode::Stripped),
];

/// All of them; `tests/targets/*rpc/versions/` say which release each has.
fn all() -> Vec<(Program, u32, Mode)> {
    let programs = [Program::Rpc, Program::OldRpc];
    let of = |program| {
        (21..=27).flat_map(move |minor| [Mode::Plain, Mode::Stripped].map(|mode| (program, minor, mode)))
    };
    programs.into_iter().flat_map(of).collect()
}
