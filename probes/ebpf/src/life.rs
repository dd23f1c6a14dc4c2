//! Processes that execute a program, and those selected that end.
//!
//! Nothing of the kernel is read but the ids of the current thread: what the process is, the agent sees in procfs.

use lightfoot_probes_abi::{Counter, ProcessEvent};

use crate::{
    counters::{NO_PROCESS, count},
    dispatch::current_thread,
    maps::{PROCESS_EVENTS, PROCESSES},
};

/// The current process runs another program from now on.
pub fn executed() {
    tell(ProcessEvent { tgid: current_thread().tgid, kind: ProcessEvent::EXECUTED });
}

/// The current thread ends, and with the first thread of a Go program all of it: the runtime never lets that one end before.
pub fn ended() {
    let ids = current_thread();
    // SAFETY: only whether there is one is looked at.
    if ids.pid == ids.tgid && unsafe { PROCESSES.get(&ids.tgid) }.is_some() {
        tell(ProcessEvent { tgid: ids.tgid, kind: ProcessEvent::ENDED });
    }
}

/// The same of what a process has done, in numbers alone. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_of(tgid: u32, kind: u32) -> u32 {
    tell(ProcessEvent { tgid, kind });
    0
}

#[inline(always)]
fn tell(event: ProcessEvent) {
    // A process without a number here is none that could be watched. The reader is woken if it has read all before.
    if event.tgid != 0 && PROCESS_EVENTS.output(&event, 0).is_err() {
        count(NO_PROCESS, Counter::ProcessEventsFull);
    }
}
