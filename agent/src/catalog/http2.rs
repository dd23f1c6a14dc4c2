//! HTTP/2 servers: the one within `net/http`, in both forms that it has had, and that of `golang.org/x/net/http2`, from
//! which it stems.

use super::Layout;

/// What an HTTP/2 server answers with.
#[derive(Debug)]
pub struct ResponseWriter {
    /// The struct that `http.ResponseWriter`s of this server hold.
    pub held: &'static Layout,
    /// Whether they hold a pointer to it; else it is itself no more than a pointer to a `responseWriter`.
    pub by_pointer: bool,
    /// `responseWriter`.
    pub writer: &'static Layout,
    /// `responseWriterState`.
    pub state: &'static Layout,
}

/// Up to Go 1.26 `net/http` contains a copy of `golang.org/x/net/http2` (net/http/h2_bundle.go).
pub const BUNDLED: ResponseWriter = ResponseWriter {
    held: &BUNDLED_WRITER,
    by_pointer: true,
    writer: &BUNDLED_WRITER,
    state: &state("net/http.http2responseWriterState"),
};

/// Since Go 1.27 the server has a package of its own, and a bridge to `net/http` (net/http/http2.go).
pub const INTERNAL: ResponseWriter = ResponseWriter {
    held: &Layout {
        name: "net/http.http2ResponseWriter",
        required: &[],
        optional: &["ResponseWriter"],
        is_optional: true,
    },
    by_pointer: false,
    writer: &writer("net/http/internal/http2.responseWriter"),
    state: &state("net/http/internal/http2.responseWriterState"),
};

/// `golang.org/x/net/http2`. Since x/net 0.60 or so it leaves all to `net/http` where that is Go 1.27's or newer.
pub const X: ResponseWriter = ResponseWriter {
    held: &X_WRITER,
    by_pointer: true,
    writer: &X_WRITER,
    state: &state("golang.org/x/net/http2.responseWriterState"),
};

const BUNDLED_WRITER: Layout = writer("net/http.http2responseWriter");
const X_WRITER: Layout = writer("golang.org/x/net/http2.responseWriter");

const fn writer(name: &'static str) -> Layout {
    Layout { name, required: &["rws"], optional: &[], is_optional: true }
}

const fn state(name: &'static str) -> Layout {
    Layout { name, required: &["status", "wroteHeader"], optional: &["wroteBytes"], is_optional: true }
}
