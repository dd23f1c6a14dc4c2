//! The bounds within which BPF works. What exceeds one is cut or left out, flagged and counted.

/// Bytes of `METHOD target` of an HTTP request line that are kept.
pub const REQUEST_LINE: u64 = 1024;
/// Bytes of the `Host` that are kept; a DNS name has at most 253.
pub const HOST: u64 = 256;
/// Bytes of the `User-Agent` that are kept.
pub const USER_AGENT: u64 = 256;
/// Bytes of a `tracestate`. A longer one is dropped, for half an entry would be false; W3C Trace Context asks for at
/// least 512 (section 3.3.1.5).
pub const TRACESTATE: u64 = 512;
/// Values of the header `tracestate` that are joined. With more it is dropped.
pub const TRACESTATE_VALUES: u64 = 4;
/// Bytes of a route pattern that are kept.
pub const ROUTE: u64 = 256;
/// Bytes of a peer's address that are kept; `[IPv6%zone]:port` needs about 64.
pub const PEER: u64 = 64;

/// Bytes that the strings of one record can take together.
pub const STRINGS: u64 = REQUEST_LINE + HOST + USER_AGENT + TRACESTATE + ROUTE + PEER;

/// Groups (Go 1.24 and later) or buckets (before) of 8 header names that are searched, counted from the first.
pub const HEADER_GROUPS: u64 = 16;
/// Groups or buckets that one read fetches at most.
pub const HEADER_GROUPS_READ: u64 = 2;

/// Bytes of a `runtime.g`, `http.response` or map header that one read fetches at most: the fields' offsets plus their
/// size must not exceed it.
pub const SMALL_STRUCT: u64 = 256;
/// Bytes of an `http.Request` or of [`HEADER_GROUPS_READ`] groups that one read fetches at most.
pub const LARGE_STRUCT: u64 = 1024;

// The larger structs are read to where the strings of the record will stand.
const _: () = assert!(LARGE_STRUCT <= STRINGS);
