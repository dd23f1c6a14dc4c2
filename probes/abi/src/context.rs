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

impl ContextKey {
    /// In which of the `mask + 1` elements of `CONTEXTS` the context is noted; their number is a power of two.
    #[inline]
    pub const fn set(&self, mask: u32) -> u32 {
        // Fibonacci hashing: Go hands out addresses that differ in few bits, and the product's upper half depends on all.
        let product = (self.address ^ (self.instance as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (product >> 32) as u32 & mask
    }
}

/// How many contexts that fall together are noted; of more, one that has ended goes, or the oldest.
pub const CONTEXT_WAYS: usize = WAYS as usize;
const WAYS: u32 = 4;

/// The contexts that fall together ([`ContextKey::set`]): an element of `CONTEXTS`.
///
/// An array of sets and not a hash map of the kernel's, whose least used element is found under locks: that took longer than
/// all else at the start of a span. Nothing is locked here, and elements that were written by two processors at once show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ContextSet(pub [SpanContext; CONTEXT_WAYS]);

impl ContextSet {
    /// How many elements `CONTEXTS` must have for so many contexts or more.
    pub const fn number_for(contexts: u32) -> u32 {
        contexts.div_ceil(WAYS).next_power_of_two()
    }
}

/// A span that owns a context, as its children need it. It outlives the span, as contexts do.
///
/// An object that is reached through a live chain is alive. That it is the one that was noted, and not a later one at the
/// same address, is certain while the span is open, which keeps it alive. Later it shows in three generations of ancestors:
/// the third of an HTTP/1 request's context lives as long as the server, and nothing else is so far from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SpanContext {
    // What is looked at to find an element comes first, so that it is in one line of the processor's cache.
    /// The context; all zero where none is noted.
    pub key: ContextKey,
    /// As in [`crate::RecordHeader`].
    pub start: u64,
    /// 1 once the span has ended.
    pub ended: u64,
    /// The itab of the context.
    pub itab: u64,
    /// The itab and the address of the context that it holds; zero if it holds none.
    pub parent: [u64; 2],
    /// [`Self::sum`], or the element is of two.
    pub sum: u64,
    /// The same as `parent` of that one, and of the one that it holds.
    pub ancestors: [u64; 4],
    /// As in [`crate::RecordHeader`].
    pub trace_id: [u64; 2],
    /// As in [`crate::RecordHeader`].
    pub span_id: u64,
    /// As in [`crate::RecordHeader`].
    pub trace_flags: u64,
}

const _: () = assert!(size_of::<SpanContext>() == 128);

impl SpanContext {
    /// What tells an element that is of one piece. All but `ended`, which changes, is in it; as ids are random, pieces of two
    /// elements come to another.
    #[inline]
    pub const fn sum(&self) -> u64 {
        self.key.address
            ^ self.key.instance as u64
            ^ self.itab
            ^ self.parent[0]
            ^ self.parent[1]
            ^ self.ancestors[0]
            ^ self.ancestors[1]
            ^ self.ancestors[2]
            ^ self.ancestors[3]
            ^ self.trace_id[0]
            ^ self.trace_id[1]
            ^ self.span_id
            ^ self.trace_flags
            ^ self.start
    }

    /// The element with its [`Self::sum`].
    #[inline]
    #[must_use]
    pub const fn summed(self) -> Self {
        Self { sum: self.sum(), ..self }
    }
}

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

/// Where a `context.valueCtx` has its value, an interface.
pub const VALUE: u64 = 32;

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
    /// As a field, and beside it at [`VALUE`] any value: the context may bring a span of the program's own SDK.
    Value = 3,
    /// No context, but such a span; its ids are at the offset.
    OwnSpan = 4,
}
