//! Where one binary keeps what the programs read, as found in its own type descriptors.
//!
//! Offsets are in bytes from the start of the named struct; [`NONE`] stands for a field that the binary does not have or
//! that could not be found, and what depends on it is left out. An offset that leads past the bytes fetched by one read
//! ([`crate::limits`]) counts as a failed read. All have 64 bits: of narrower ones LLVM masks copies after they were
//! compared with their limit, and the kernel's verifier does not see that the limit still holds.

/// No such field.
pub const NONE: u64 = u64::MAX;

/// The layout of everything that is read of one binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// `runtime.g`.
    pub g: G,
    /// `net/http.response`.
    pub response: Response,
    /// `net/http.conn`.
    pub connection: Connection,
    /// `net/http.Request`.
    pub request: Request,
    /// `map[string][]string`.
    pub header: Map,
}

const _: () = assert!(size_of::<Layout>() == 38 * 8);

/// `runtime.g`. All but `parent_goid` lie within [`crate::limits::SMALL_STRUCT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct G {
    /// How many bytes to read so that the three fields below are among them.
    pub size: u64,
    /// `stack.hi`: where the stack starts; it grows downwards.
    pub stack_hi: u64,
    /// `_panic`: not nil while a panic unwinds the stack.
    pub panic: u64,
    /// `goid`.
    pub goid: u64,
}

/// `net/http.response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Response {
    /// How many bytes to read so that all fields below are among them.
    pub size: u64,
    /// `conn`, a pointer.
    pub connection: u64,
    /// `wroteHeader`, one byte.
    pub wrote_header: u64,
    /// `status`.
    pub status: u64,
    /// `written`.
    pub written: u64,
}

/// `net/http.conn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// `hijackedv`, one byte.
    pub hijacked: u64,
}

/// `net/http.Request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// How many bytes to read so that all fields up to `tls` are among them.
    pub size: u64,
    /// `Method`.
    pub method: u64,
    /// `ProtoMajor`.
    pub proto_major: u64,
    /// `ProtoMinor`.
    pub proto_minor: u64,
    /// `Header`.
    pub header: u64,
    /// `Host`.
    pub host: u64,
    /// `RemoteAddr`.
    pub remote_addr: u64,
    /// `RequestURI`.
    pub request_uri: u64,
    /// `TLS`.
    pub tls: u64,
    /// `Pattern` (Go 1.23 and later).
    pub pattern: u64,
    /// `pat`, a pointer to `http.pattern` (Go 1.22 and later; needed where there is no `Pattern`).
    pub pat: u64,
    /// `str` in `net/http.pattern`.
    pub pattern_str: u64,
}

/// The header map. Both kinds keep 8 names and values together: a bucket in Go's classic maps, a group in the swiss maps
/// that Go has since 1.24. Unlike elsewhere all fields are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Map {
    /// A [`MapKind`].
    pub kind: u64,
    /// How many bytes of the map's header to read so that the fields up to `length` are among them; at most
    /// [`crate::limits::MAP_HEADER`].
    pub size: u64,
    /// Classic: `runtime.hmap.buckets`. Swiss: `internal/runtime/maps.Map.dirPtr`.
    pub groups: u64,
    /// Classic: `oldbuckets`, where entries wait that were not moved yet while the map grows. Swiss: unused.
    pub old_groups: u64,
    /// Classic: `B`, the binary logarithm of the number of buckets, one byte. Swiss: `dirLen`, 0 for a single group.
    pub length: u64,
    /// Swiss: how many bytes to read of `internal/runtime/maps.table` so that the two fields below are among them; at most
    /// [`crate::limits::MAP_HEADER`].
    pub table_size: u64,
    /// Swiss: `groups.data` in the table.
    pub table_groups: u64,
    /// Swiss: `groups.lengthMask` in the table, the number of groups less one.
    pub table_mask: u64,
    /// The size of a bucket or group; at most [`crate::limits::LARGE_STRUCT`] / 2. The first 8 bytes tell which slots are in use.
    pub group_size: u64,
    /// Where the first name stands in it.
    pub keys: u64,
    /// From one name to the next.
    pub key_stride: u64,
    /// Where the first value stands in it.
    pub values: u64,
    /// From one value to the next.
    pub value_stride: u64,
    /// Classic: where the pointer to the overflow bucket stands in it.
    pub overflow: u64,
    /// A slot is in use if its byte among the first 8 is at least this (5 in classic maps, `minTopHash`; 0 in swiss maps) …
    pub first_in_use: u64,
    /// … and at most this (255 in classic maps; 127 in swiss maps).
    pub last_in_use: u64,
}

/// How the groups of a map are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum MapKind {
    /// Unknown; headers are not read.
    Unknown = 0,
    /// Up to Go 1.23 (`runtime/map.go`).
    Classic = 1,
    /// Since Go 1.24 (`internal/runtime/maps`).
    Swiss = 2,
}
