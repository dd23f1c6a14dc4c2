//! Each request has a number of its own. Those that were asked, less those that were delivered, are as many as the agent
//! says at its end that it has lost: whatever spans are lost by.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod balance;
mod causes;
mod clock;
#[expect(dead_code, reason = "what an agent takes, as the long run asks")]
#[path = "../soak/cost.rs"]
mod cost;
mod crashes;
#[expect(dead_code, reason = "what the agent's own tests ask of it")]
#[path = "../../../agent/src/deliver/tests/endpoint.rs"]
mod endpoint;
mod ends;
mod files;
mod grpc;
mod kills;
mod load;
mod memory;
mod outage;
mod parents;
mod rates;
mod scene;
