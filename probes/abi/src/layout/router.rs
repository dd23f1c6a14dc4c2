//! How the pattern that a router has matched is reached.

use super::NONE;

/// Where a router keeps the pattern of the request that it serves, from the struct on whose address its site has in a
/// register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Router {
    /// Where in that struct the pattern stands, a string; or the slice of its pieces; or a pointer, see `behind`. [`NONE`]
    /// for a router that the binary does not have.
    pub at: u64,
    /// Where the string stands in what the pointer leads to; [`NONE`] where there is no pointer between.
    pub behind: u64,
    /// 1: there are pieces, strings that nested routers have matched one after the other.
    pub in_pieces: u64,
}

impl Router {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { at: NONE, behind: NONE, in_pieces: 0 };
}
