//! Go's runtime: what tells one goroutine from another.

use super::Layout;

/// A goroutine (runtime/runtime2.go).
pub const G: Layout = Layout {
    name: "runtime.g",
    required: &["stack", "goid"],
    optional: &["_panic", "m", "parentGoid"],
    is_optional: false,
};

/// The bounds of a goroutine's stack; they move when it grows.
pub const STACK: Layout =
    Layout { name: "runtime.stack", required: &["hi"], optional: &[], is_optional: false };

/// A thread (runtime/runtime2.go), by which a goroutine's processor is found.
pub const M: Layout = Layout { name: "runtime.m", required: &[], optional: &["p"], is_optional: true };

/// A processor (runtime/runtime2.go), which hands out the ids of new goroutines.
pub const P: Layout =
    Layout { name: "runtime.p", required: &[], optional: &["goidcache", "goidcacheend"], is_optional: true };

/// Makes a goroutine; its code tells where the counter of their ids lies (`lightfoot_symbolizer::goid`).
pub const NEWPROC1: &str = "runtime.newproc1";

/// What `errors.New` makes.
pub const ERROR_STRING: Layout =
    Layout { name: "errors.errorString", required: &[], optional: &["s"], is_optional: true };

/// A map up to Go 1.23 (runtime/map.go).
pub const CLASSIC_MAP: Layout = Layout {
    name: "runtime.hmap",
    required: &["B", "buckets", "oldbuckets"],
    optional: &["count"],
    is_optional: true,
};

/// A map since Go 1.24 (internal/runtime/maps/map.go).
pub const SWISS_MAP: Layout = Layout {
    name: "internal/runtime/maps.Map",
    required: &["dirPtr", "dirLen"],
    optional: &["used"],
    is_optional: true,
};

/// A table of a map that has more than 8 entries (internal/runtime/maps/table.go).
pub const SWISS_TABLE: Layout =
    Layout { name: "internal/runtime/maps.table", required: &["groups"], optional: &[], is_optional: true };

/// The groups of a table (internal/runtime/maps/group.go).
pub const SWISS_GROUPS: Layout = Layout {
    name: "internal/runtime/maps.groupsReference",
    required: &["data", "lengthMask"],
    optional: &[],
    is_optional: true,
};
