//! Contexts that are none by themselves: what chains of `context.Context` are continued by.
//!
//! Structs that hold a `context.Context` and have its methods are found in every program without being named
//! (`lightfoot_symbolizer::types::ContextHolder`). These hold a request, whose context answers in their place.

use super::Layout;

/// Structs that are contexts through a `*http.Request` in their one required field.
pub const THROUGH_REQUEST: &[Layout] = &[
    // gin/context.go: Deadline, Done, Err and Value ask c.Request.Context().
    Layout {
        name: "github.com/gin-gonic/gin.Context",
        required: &["Request"],
        optional: &[],
        is_optional: true,
    },
];
