//! What the programs `rpc` and `oldrpc` say of calls by gRPC.

use serde::Deserialize;

use super::server::Parent;

/// What one call was to the client that made it; `tests/targets/rpcs/truth.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
pub struct Called {
    pub case: String,
    pub number: u64,
    pub method: String,
    pub target: String,
    pub code: u32,
    pub message: String,
    pub error: String,
    pub peer: Option<String>,
    pub messages: Option<[u64; 2]>,
    pub parent: u64,
    pub of: String,
    pub rule: String,
    pub start: u64,
    pub end: u64,
}

/// What one call was to the handler that served it; `tests/targets/rpcs/truth.go` says more of each field.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "documented where they are written")]
pub struct Handled {
    pub case: String,
    pub number: u64,
    pub method: String,
    pub code: u32,
    pub message: String,
    pub panicked: bool,
    pub authority: String,
    pub peer: String,
    pub messages: Option<[u64; 2]>,
    pub traceparent: Vec<String>,
    pub tracestate: Vec<String>,
    pub remote: Option<Parent>,
    pub start: u64,
    pub end: u64,
}

/// The codes by their numbers, as gRPC names them (`doc/statuscodes.md` of grpc/grpc).
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a code; its number if it has none.
pub fn code(code: u32) -> String {
    let named = usize::try_from(code).ok().and_then(|code| CODES.get(code));
    named.map_or_else(|| code.to_string(), ToString::to_string)
}
