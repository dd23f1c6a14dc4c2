//! Whether the kernel tells what processes do: shown by one that executes a program.

use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_probes_abi::ProcessEvent;
use thiserror::Error;

use super::Check;
use crate::attach::{AttachError, Kernel};

/// So long is waited for the kernel to tell; it takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often is looked.
const POLL: Duration = Duration::from_millis(5);

/// Why nothing is told.
#[derive(Debug, Error)]
enum EventsError {
    /// The programs are refused.
    #[error(transparent)]
    Follow(#[from] AttachError),
    /// No program could be executed to try it.
    #[error("no program could be executed")]
    Execute(#[from] io::Error),
    /// What was executed was not told.
    #[error("a program was executed, and that was not told")]
    Untold,
}

/// To be asked once of a kernel that was loaded, while it is switched on.
pub(super) fn check(kernel: &mut Kernel) -> Check {
    match tell(kernel) {
        Ok(()) => {
            Check::good("events", "the kernel tells of each program that is executed, the moment it is")
        }
        Err(error) => Check::lost(
            "events",
            format!(
                "the kernel does not tell of programs that are executed: {:#}",
                anyhow::Error::from(error)
            ),
            "new processes are found by a look each second, so their first requests can be missed",
            "give it CAP_BPF and CAP_PERFMON, and a kernel with tracepoints",
        ),
    }
}

fn tell(kernel: &mut Kernel) -> Result<(), EventsError> {
    let mut events = kernel.follow_processes()?;
    let mut own = Command::new("/proc/self/exe");
    let mut child =
        own.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = child.id();
    child.wait()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let is_it = |event: ProcessEvent| event.tgid == pid && event.kind == ProcessEvent::EXECUTED;
        if events.by_ref().any(is_it) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(EventsError::Untold);
        }
        thread::sleep(POLL);
    }
}
