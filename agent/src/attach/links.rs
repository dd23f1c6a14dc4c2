//! Closing links.

use std::thread;

use aya::programs::uprobe::UProbeLink;

/// Links are closed by so many threads at most: each waits for the kernel, not for a processor.
const CLOSERS: usize = 16;

/// Closes all of them. Each waits until no processor can be within a program any more. `uprobe_multi` links wait together;
/// perf events one after the other all the same: `perf_uprobe_destroy` (kernel/trace/trace_event_perf.c) waits for its
/// grace periods under `event_mutex`, some 0.09 s for each site on Linux 6.18.
pub(super) fn close(links: Vec<UProbeLink>) {
    let mut shares: Vec<Vec<UProbeLink>> = Vec::new();
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
