//! From records to a real OpenTelemetry Collector, and back out of what it wrote down, and to a real Jaeger: over gRPC and
//! HTTP, plain and with TLS, and with them away for a while. Needs no privileges. `scripts/foreign.sh` builds them once,
//! which takes two and five minutes.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests panic as tests do"
)]

mod backend;
mod certificates;
mod collector;
mod content;
mod jaeger;
mod metrics;
mod outage;
mod process;
#[path = "../../src/deliver/tests/proxy.rs"]
mod proxy;
mod tls;
