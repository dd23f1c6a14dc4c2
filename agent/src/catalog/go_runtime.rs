//! Go's runtime: what tells one goroutine from another.

use super::Layout;

/// A goroutine (runtime/runtime2.go).
pub const G: Layout =
    Layout { name: "runtime.g", required: &["stack", "goid"], optional: &["parentGoid", "_panic"] };

/// The bounds of a goroutine's stack; they move when it grows.
pub const STACK: Layout = Layout { name: "runtime.stack", required: &["lo", "hi"], optional: &[] };
