//! Capabilities: what is said at the start if some are missing, and what is given up once everything is loaded.

use anyhow::bail;
use tracing::warn;

use crate::capabilities::{self, Needs};
use crate::seccomp;

/// Fails if nothing could be watched, and warns if not everything could.
pub(super) fn check() -> anyhow::Result<()> {
    // Where it cannot be read, the kernel will say what it does not like.
    let Some(effective) = capabilities::effective() else { return Ok(()) };
    let missing: Vec<_> =
        capabilities::of(effective).into_iter().filter(|capability| !capability.is_there).collect();
    let names = missing.iter().map(|capability| capability.name).collect::<Vec<_>>().join(", ");
    if missing.iter().any(|capability| capability.is_needed) {
        bail!(
            "cannot watch anything without {names}: run it as root (sudo lightfoot run), or with CAP_BPF, CAP_PERFMON, \
             CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; `lightfoot doctor` tells more"
        );
    }
    if let Some(first) = missing.first() {
        warn!(missing = names, lost = first.lost, "capabilities are missing");
    }
    Ok(())
}

/// Keeps only what is needed from now on. Threads that run already have given their capabilities up.
pub(super) fn give_up(needs: Needs) {
    let dropped =
        capabilities::permitted().and_then(|set| capabilities::drop_but(capabilities::kept(set, needs)));
    if let Err(error) = dropped {
        warn!(%error, "rights that are not needed cannot be given up");
    }
    if let Err(error) = seccomp::apply() {
        let error = format!("{:#}", anyhow::Error::from(error));
        warn!(error, "system calls that are not needed are not refused");
    }
}
