//! What is written to.

use super::NONE;

/// The buffer that a client writes a request to, and what shows that its headers are still those that were searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Propagation {
    /// The descriptor of `*bufio.Writer`, as an itab has it.
    pub writer_type: u64,
    /// `buf` in `bufio.Writer`, a slice.
    pub buffer: u64,
    /// `n` in `bufio.Writer`: how much of it is in use.
    pub used: u64,
    /// The number of headers in a map: `count` in `runtime.hmap`, `used` in `internal/runtime/maps.Map`.
    pub headers: u64,
}

impl Propagation {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { writer_type: NONE, buffer: NONE, used: NONE, headers: NONE };

    /// Whether all of it is known; half of it is of no use.
    pub const fn is_known(&self) -> bool {
        self.writer_type != NONE && self.buffer != NONE && self.used != NONE && self.headers != NONE
    }
}
