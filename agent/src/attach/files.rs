//! The files that the agent may still open.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::AttachError;

/// Probes leave so many to all else: without them /proc could not be read, and every process would seem to be gone.
pub const RESERVED_FILES: u64 = 32;

/// Fails unless so many more files can be opened for probes.
pub(super) fn check(more: usize) -> Result<(), AttachError> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = fs::read_dir("/proc/self/fd").map_or(usize::MAX, Iterator::count);
    let wanted = (open as u64).saturating_add(more as u64).saturating_add(RESERVED_FILES);
    if wanted > limit { Err(AttachError::TooManyFiles { limit }) } else { Ok(()) }
}
