//! How much of what was handed to a buffer has come to the file.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes that an output has taken. It stands below the buffer; whoever has the count reads it from above.
pub(super) struct Counted<W> {
    output: W,
    written: Arc<AtomicU64>,
}

impl<W: Write> Counted<W> {
    pub(super) fn new(output: W) -> (Self, Arc<AtomicU64>) {
        let written = Arc::default();
        (Self { output, written: Arc::clone(&written) }, written)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.output.write(bytes)?;
        self.written.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
