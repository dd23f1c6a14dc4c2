//! Where the conformance suite of W3C Trace Context is, which `scripts/trace-context.sh` fetches.

use std::env;
use std::path::{self, Path, PathBuf};

use crate::cache;

/// The environment variable that names another folder than the cache's.
pub const VARIABLE: &str = "LIGHTFOOT_TRACE_CONTEXT_SUITE";

/// Which tools are taken; the suite is of the commit that is said there.
const VERSIONS: &str = include_str!("../../scripts/versions.env");

/// The folder with the suite and what it takes, or why there is none.
pub fn suite() -> Result<PathBuf, String> {
    let named = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let commit = VERSIONS.lines().find_map(|line| line.strip_prefix("TRACE_CONTEXT_COMMIT="));
    let kept = || cache::folder().join(format!("trace-context-{}", commit.unwrap_or_default()));
    let folder = named.unwrap_or_else(kept);
    let folder = path::absolute(&folder).unwrap_or(folder);
    if script(&folder).exists() {
        return Ok(folder);
    }
    Err(format!(
        "{} has no conformance suite of W3C Trace Context: scripts/trace-context.sh gets it",
        folder.display()
    ))
}

/// What runs the suite of that folder.
pub fn script(folder: &Path) -> PathBuf {
    folder.join("test/test.py")
}

/// Where what it takes of Python's is.
pub fn packages(folder: &Path) -> PathBuf {
    folder.join("packages")
}
