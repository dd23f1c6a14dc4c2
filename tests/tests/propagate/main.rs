//! Trace contexts on the wire: what clients send is compared byte by byte with what they send without us.
//!
//! The kernel must permit programs that write, which one in lockdown does not: there the refusal is tested, and all else in virtual
//! machines (`target/debug/vm x86_64 6.12 '' propagate`).
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "../common/runs.rs"]
mod runs;

mod cases;
mod cost;
mod encoded_states;
mod flags;
mod frames;
mod grpc;
mod http2;
mod load;
mod refusal;
mod rules;
mod states;
mod suite;
mod wire;

use std::{env, slice};

use lightfoot_tests::go::Mode;

/// Those of the builds that are tried: all, unless one is asked for, by a word of a kernel's command line that gets here.
fn tried(builds: &[(u32, Mode)]) -> &[(u32, Mode)] {
    match (env::var_os("LIGHTFOOT_TEST_BUILDS"), builds) {
        (Some(one), [.., last]) if one == "one" => slice::from_ref(last),
        _ => builds,
    }
}
