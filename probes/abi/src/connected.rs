//! Connections of requests that HTTP/2 clients send, from the goroutines of their streams to those of the requests.

use crate::record::CONNECTION_WORDS;

/// Tells a span that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ConnectedKey {
    /// Its id, as in [`crate::RecordHeader`].
    pub span_id: u64,
    /// [`crate::Process::instance`].
    pub instance: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ConnectedKey>() == 16);

/// What its request goes over: an element of `CONNECTED`, or, while it is put together, of `CONNECTING`, which is a thread's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connected {
    /// Where what leads there is read to.
    pub scratch: [u64; SCRATCH],
    /// The words of the [`crate::record::Connection`].
    pub connection: [u64; CONNECTION_WORDS],
    /// What [`crate::propagation::sum`] comes to over the span's id and these words: elements are used anew while programs look at them. 0 if the
    /// connection could not be read.
    pub sum: u64,
}

/// Words of what is read on the way to an address.
pub const SCRATCH: usize = 8;

const _: () = assert!(size_of::<Connected>() == (SCRATCH + CONNECTION_WORDS + 1) * 8);
