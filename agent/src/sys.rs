//! The one room of the agent with unsafe code.
#![expect(
    unsafe_code,
    reason = "the safe interface to wait for a file descriptor that aya owns was found unsound"
)]

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A ring buffer that can be waited for. Must be called within a tokio runtime.
pub(crate) fn readable(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its map's descriptor, hands out the same one each time and closes it when dropped; it is
    // given away here and never replaced.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(io::Error::from)
}
