//! The Go server that is watched, and its own truth.

use std::path::{Path, PathBuf};

use lightfoot_tests::go::GoVersion;
use lightfoot_tests::probes::{Source, Target};
use serde::Deserialize;

/// What the server knows of one request.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Truth {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) peer: String,
    pub(crate) user_agent: String,
    pub(crate) traceparent: Option<Vec<String>>,
    pub(crate) tracestate: Option<Vec<String>>,
    pub(crate) minor: u16,
    pub(crate) status: u16,
    pub(crate) written: i64,
    pub(crate) route: String,
    pub(crate) copied: bool,
    pub(crate) panicked: bool,
    pub(crate) hijacked: bool,
    pub(crate) nanoseconds: u64,
}

/// Builds the server with a Go version, or finds it in the cache.
pub(crate) fn build(version: GoVersion) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_server/target");
    let files = ["main.go", "patterns.go", "patterns_go121.go"];
    Source { name: "probes-target", folder: &folder, files: &files }.build(version, false)
}

/// Ends the server and returns its truth.
pub(crate) fn truth(server: Target) -> Vec<Truth> {
    server.stop().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
