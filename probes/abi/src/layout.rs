//! Where one binary keeps what the programs read, as found in its own type descriptors.
//!
//! Offsets are in bytes from the start of the named struct; [`NONE`] stands for a field that the binary does not have or
//! that could not be found, and what depends on it is left out. An offset that leads past the bytes fetched by one read
//! ([`crate::limits`]) counts as a failed read.

/// No such field.
pub const NONE: u16 = u16::MAX;

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

const _: () = assert!(size_of::<Layout>() == 76);

/// `runtime.g`. All but `parent_goid` lie within [`crate::limits::SMALL_STRUCT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct G {
    /// How many bytes to read so that the three fields below are among them.
    pub size: u16,
    /// `stack.hi`: where the stack starts; it grows downwards.
    pub stack_hi: u16,
    /// `_panic`: not nil while a panic unwinds the stack.
    pub panic: u16,
    /// `goid`.
    pub goid: u16,
}

/// `net/http.response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Response {
    /// How many bytes to read so that all fields below are among them.
    pub size: u16,
    /// `conn`, a pointer.
    pub connection: u16,
    /// `wroteHeader`, one byte.
    pub wrote_header: u16,
    /// `status`.
    pub status: u16,
    /// `written`.
    pub written: u16,
}

/// `net/http.conn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// `hijackedv`, one byte.
    pub hijacked: u16,
}

/// `net/http.Request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// How many bytes to read so that all fields up to `tls` are among them.
    pub size: u16,
    /// `Method`.
    pub method: u16,
    /// `ProtoMajor`.
    pub proto_major: u16,
    /// `ProtoMinor`.
    pub proto_minor: u16,
    /// `Header`.
    pub header: u16,
    /// `Host`.
    pub host: u16,
    /// `RemoteAddr`.
    pub remote_addr: u16,
    /// `RequestURI`.
    pub request_uri: u16,
    /// `TLS`.
    pub tls: u16,
    /// `Pattern` (Go 1.23 and later).
    pub pattern: u16,
    /// `pat`, a pointer to `http.pattern` (Go 1.22 and later; needed where there is no `Pattern`).
    pub pat: u16,
    /// `str` in `net/http.pattern`.
    pub pattern_str: u16,
}

/// The header map. Both kinds keep 8 names and values together: a bucket in Go's classic maps, a group in the swiss maps
/// that Go has since 1.24. Unlike elsewhere all fields are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Map {
    /// A [`MapKind`].
    pub kind: u16,
    /// How many bytes of the map's header to read so that the fields up to `length` are among them.
    pub size: u16,
    /// Classic: `runtime.hmap.buckets`. Swiss: `internal/runtime/maps.Map.dirPtr`.
    pub groups: u16,
    /// Classic: `oldbuckets`, where entries wait that were not moved yet while the map grows. Swiss: unused.
    pub old_groups: u16,
    /// Classic: `B`, the binary logarithm of the number of buckets, one byte. Swiss: `dirLen`, 0 for a single group.
    pub length: u16,
    /// Swiss: how many bytes to read of `internal/runtime/maps.table` so that the two fields below are among them.
    pub table_size: u16,
    /// Swiss: `groups.data` in the table.
    pub table_groups: u16,
    /// Swiss: `groups.lengthMask` in the table, the number of groups less one.
    pub table_mask: u16,
    /// The size of a bucket or group; at most [`crate::limits::LARGE_STRUCT`] / 2. The first 8 bytes tell which slots are in use.
    pub group_size: u16,
    /// Where the first name stands in it.
    pub keys: u16,
    /// From one name to the next.
    pub key_stride: u16,
    /// Where the first value stands in it.
    pub values: u16,
    /// From one value to the next.
    pub value_stride: u16,
    /// Classic: where the pointer to the overflow bucket stands in it.
    pub overflow: u16,
    /// A slot is in use if its byte among the first 8 is at least this (5 in classic maps, `minTopHash`; 0 in swiss maps) …
    pub first_in_use: u16,
    /// … and at most this (255 in classic maps; 127 in swiss maps).
    pub last_in_use: u16,
}

/// How the groups of a map are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum MapKind {
    /// Unknown; headers are not read.
    Unknown = 0,
    /// Up to Go 1.23 (`runtime/map.go`).
    Classic = 1,
    /// Since Go 1.24 (`internal/runtime/maps`).
    Swiss = 2,
}
