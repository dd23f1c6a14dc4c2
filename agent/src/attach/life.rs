//! Programs at raw tracepoints that tell of each `exec`, and of the ends of watched processes: without tracefs, from Linux 5.10 on.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use aya::programs::RawTracePoint;
use lightfoot_probes_abi::ProcessEvent;

use super::{AttachError, Kernel, map_error, refused, take};

/// Each program with its tracepoint (include/trace/events/sched.h).
const PROGRAMS: [(&str, &str); 2] = [("on_exec", "sched_process_exec"), ("on_exit", "sched_process_exit")];

/// What processes do, in the order in which they do it. [`Kernel`] keeps the programs that tell.
pub struct ProcessEvents(RingBuf<MapData>);

impl Kernel {
    /// Has the kernel tell what processes do from now on; to be asked once. Where that cannot be had, nothing else is lost.
    pub fn follow_processes(&mut self) -> Result<ProcessEvents, AttachError> {
        let ring = RingBuf::try_from(take(&mut self.object, "PROCESS_EVENTS")?);
        for (name, tracepoint) in PROGRAMS {
            let program = self.object.program_mut(name).ok_or(AttachError::Missing(name))?;
            let program: &mut RawTracePoint = program.try_into().map_err(refused(name))?;
            program.load().map_err(refused(name))?;
            program.attach(tracepoint).map_err(refused(name))?;
        }
        ring.map(ProcessEvents).map_err(map_error("PROCESS_EVENTS"))
    }
}

impl Iterator for ProcessEvents {
    type Item = ProcessEvent;

    fn next(&mut self) -> Option<ProcessEvent> {
        let item = self.0.next()?;
        let (tgid, rest) = item.split_first_chunk()?;
        Some(ProcessEvent { tgid: u32::from_ne_bytes(*tgid), kind: u32::from_ne_bytes(*rest.first_chunk()?) })
    }
}

impl AsFd for ProcessEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
