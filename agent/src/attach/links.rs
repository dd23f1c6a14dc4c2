//! Closing links.

use std::thread;

use aya::programs::uprobe::UProbeLink;

/// Links are closed by so many threads at most: each waits for the kernel, not for a processor.
const CLOSERS: usize = 16;

/// Closes all of them. Each waits until no processor can be within a program any more; together they wait once.
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
