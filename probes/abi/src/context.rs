//! Contexts: which span owns one, and how chains of them are followed.

/// Tells a context of a process by the address of the object behind the interface. `ITABS` has the address of an itab in its
/// place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ContextKey {
    /// [`crate::Process::instance`].
    pub instance: u32,
    /// Zero.
    pub reserved: u32,
    /// The address.
    pub address: u64,
}

const _: () = assert!(size_of::<ContextKey>() == 16);

/// A span that owns a context, as its children need it. It outlives the span, as contexts do.
///
/// An object that is reached through a live chain is alive. That it is the one that was noted, and not a later one at the
/// same address, is certain while the span is open, which keeps it alive. Later it shows in three generations of ancestors:
/// the third of an HTTP/1 request's context lives as long as the server, and nothing else is so far from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SpanContext {
    /// The itab of the context.
    pub itab: u64,
    /// The itab and the address of the context that it holds; zero if it holds none.
    pub parent: [u64; 2],
    /// The same of that one, and of the one that it holds.
    pub ancestors: [u64; 4],
    /// 1 once the span has ended.
    pub ended: u64,
    /// As in [`crate::RecordHeader`].
    pub trace_id: [u64; 2],
    /// As in [`crate::RecordHeader`].
    pub span_id: u64,
    /// As in [`crate::RecordHeader`].
    pub trace_flags: u64,
}

const _: () = assert!(size_of::<SpanContext>() == 96);

/// Tells a type that is a context and holds another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct HolderKey {
    /// The id of the binary.
    pub binary: u32,
    /// Zero.
    pub reserved: u32,
    /// The virtual address of the descriptor that an itab for `context.Context` has for it.
    pub descriptor: u64,
}

const _: () = assert!(size_of::<HolderKey>() == 16);

/// Where a context holds the one that it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Holder {
    /// The offset of a `context.Context`, or of a pointer to an `http.Request` that has one.
    pub offset: u32,
    /// A [`HolderKind`].
    pub kind: u32,
}

const _: () = assert!(size_of::<Holder>() == 8);

/// How a context holds another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HolderKind {
    /// It does not: the chain ends.
    None = 0,
    /// As a field.
    Field = 1,
    /// In the `http.Request` that a field points to.
    Request = 2,
}
