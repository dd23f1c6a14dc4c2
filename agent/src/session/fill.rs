//! How full the ring buffer gets, as whoever reads it sees.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the kernel puts before each record (`BPF_RINGBUF_HDR_SZ`, include/uapi/linux/bpf.h) …
const HEADER: u64 = 8;
/// … and what it rounds the two up to (`__bpf_ringbuf_reserve`, kernel/bpf/ringbuf.c).
const ALIGNMENT: u64 = 8;

/// What was found in the ring, in bytes with the kernel's headers.
#[derive(Debug)]
pub struct RingFill {
    /// How many there is room for.
    pub size: u64,
    last: AtomicU64,
    most: AtomicU64,
}

impl RingFill {
    /// Of a ring of so many bytes.
    pub fn new(size: u32) -> Self {
        Self { size: size.into(), last: AtomicU64::new(0), most: AtomicU64::new(0) }
    }

    /// The bytes of a record in the ring.
    pub(super) fn bytes(record: &[u8]) -> u64 {
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
        length.saturating_add(HEADER).next_multiple_of(ALIGNMENT)
    }

    /// So many were found in one go. What came meanwhile is among them, so they may be more than there is room for.
    pub(super) fn found(&self, bytes: u64) {
        let bytes = bytes.min(self.size);
        self.last.store(bytes, Ordering::Relaxed);
        self.most.fetch_max(bytes, Ordering::Relaxed);
    }

    /// What the last read found.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// The most that a read found.
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_as_the_kernel_takes_them_and_never_more_than_there_are() {
        assert_eq!([0, 1, 8, 9].map(|length| RingFill::bytes(&vec![0; length])), [8, 16, 16, 24]);
        let fill = RingFill::new(4096);
        let now = || (fill.last(), fill.most());
        assert_eq!(now(), (0, 0));
        fill.found(100);
        fill.found(40);
        assert_eq!(now(), (40, 100));
        fill.found(5000);
        fill.found(0);
        assert_eq!(now(), (0, 4096));
    }
}
