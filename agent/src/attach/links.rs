//! Closing links.

use std::thread;

use aya::programs::uprobe::UProbeLink;

use super::tracefs::TracedProbe;

/// Links are closed by so many threads at most: each waits for the kernel, not for a processor.
const CLOSERS: usize = 16;

/// What keeps probes in place until it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "it is there to be dropped")]
pub(super) enum Link {
    /// A link of `uprobe_multi`, or the perf events of a program.
    Uprobes(UProbeLink),
    /// An event of tracefs.
    Traced(TracedProbe),
}

/// Closes all of them. Each waits until no processor can be within a program any more. `uprobe_multi` links wait together;
/// perf events, those of tracefs too, one after the other all the same: `perf_uprobe_destroy` (kernel/trace/trace_event_perf.c) waits for its
/// grace periods under `event_mutex`, some 0.09 s for each site on Linux 6.18.
pub(super) fn close<L: Send>(links: Vec<L>) {
    let mut shares: Vec<Vec<L>> = Vec::new();
    shares.resize_with(CLOSERS.min(links.len()), Vec::new);
    for (number, link) in links.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(number % CLOSERS) {
            share.push(link);
        }
    }
    thread::scope(|scope| {
        for share in shares {
            scope.spawn(|| drop(share));
        }
    });
}
