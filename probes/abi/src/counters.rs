//! What the programs count.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// An index into [`Counters`]. Each says of a process how often something happened since it was selected.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Counter {
            /// Every counter, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it counts, as documented here.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+),)+
                }
            }
        }
    };
}

counters! {
    /// Spans started, sampled or not. Always `Ended + Unsampled + RingFull + Abandoned + ` what is in flight.
    Started,
    /// Spans whose record was handed to the ring buffer.
    Ended,
    /// Spans ended that the sampler had decided against.
    Unsampled,
    /// Lost: the ring buffer had no room for the record.
    RingFull,
    /// Lost: `IN_FLIGHT` had no room at the start of the span.
    InFlightFull,
    /// Lost: the goroutine's identity could not be read at the start of the span.
    NoGoroutine,
    /// Lost: the request could not be read at the start of the span.
    NoRequest,
    /// Lost: found open when something proved it dead, so that its end was missed; or a stream of gRPC for which there is no room
    /// beside the call that began it.
    Abandoned,
    /// Ends without a start: it came before the probes, was lost, or there was none (a 417 for an unknown `Expect`, a 431
    /// for HTTP/2 headers that are too large, an answer to the preface of HTTP/2 where that is not served), or a gRPC status
    /// that is written a second time or by another goroutine than that of the handler.
    EndWithoutStart,
    /// Requests of a protocol that is not watched: HTTP/3, or HTTP/2 by a server that is not known or whose end is not.
    UnknownProtocol,
    /// Hits whose cookie names another binary than the process's: the file is attached twice.
    ForeignBinary,
    /// Hits of a kind that the programs do not know.
    UnknownSite,
    /// Hits in processes that are not selected; counted in element 0.
    UnselectedProcess,
    /// Hits of the optional site that reads routes of copied requests, each one trap more.
    RouteSite,
    /// Hits of the optional sites that read the routes of routers, each one trap more.
    RouterSite,
    /// Spans whose route was found at the site for copied requests: their own request has none.
    RouteOfCopy,
    /// Spans without a route and without an error status: what makes that site worth a try.
    WithoutRoute,
    /// HTTP/2 requests of Go 1.27 and later that were collected as garbage before they ended, and their route with them. The
    /// site for routes of copied requests sees these, too.
    RequestGone,
    /// Attributes left out because memory could not be read.
    ReadFault,
    /// Reads that had to wait for a page that was not present. Where programs may not wait they are faults.
    PageWaits,
    /// Attributes left out because the memory read does not look as it must (a request line in two pieces).
    Unexpected,
    /// Bounds reached in header maps: a `traceparent`, or a header that a rule lists, may have been
    /// overlooked.
    HeaderBound,
    /// Incoming `traceparent` headers ignored as W3C Trace Context demands.
    BadTraceparent,
    /// Incoming `tracestate` headers dropped, too long or with too many values.
    TracestateDropped,
    /// Strings cut at their limit.
    CutString,
    /// Lost: the goroutine has as many open spans as are followed, one within the other.
    TooDeep,
    /// Context chains that were longer than is followed: a parent may have been overlooked.
    ContextBound,
    /// Contexts of open spans that were dropped for newer ones: parents may have been overlooked.
    ContextEvicted,
    /// Callers of clients that could not be noted, for there are too many.
    CallersFull,
    /// Client spans ended by the return of a call around them: their own caller was not known yet, or only hands on what it gets.
    EndedByOuter,
    /// Hits of HTTP client functions within a client span that is open already: one span for both.
    NestedClient,
    /// Streams of gRPC clients that an interceptor has hidden behind a type of its own: their end cannot be told, and each is
    /// also counted as abandoned.
    HiddenStream,
    /// Requests to which a trace context was added for the service that is called.
    Propagated,
    /// Requests that had one from the program itself: nothing was added.
    PropagationOwn,
    /// Requests without one because the buffer that they were written to had no room left.
    PropagationNoRoom,
    /// Requests without one because an open one has the same header map and URL: nobody could tell whose it is.
    PropagationShared,
    /// Requests without one because they belong to no open span: proxies are asked to connect, or a program writes a request itself.
    PropagationUnknown,
    /// Requests without one because what was found in memory is not what was proven, or could not be read or written.
    PropagationUnproven,
    /// Requests to which the `tracestate`, too, was added of the request on whose behalf they are sent.
    PropagatedStates,
    /// Requests with a trace context to which that was not added, for it is malformed, or the buffer had no room left.
    PropagationStateDropped,
    /// Served requests whose `tracestate` was dropped for newer ones before they ended: requests on their behalf may have gone without it.
    PropagationStateEvicted,
    /// Hits of the optional sites that tell the connections of what clients send, each one trap more.
    JoinSite,
    /// Requests and calls of clients that are not joined with the service that is called: their connection is none of TCP or TLS as they
    /// were proven, or could not be read, or was forgotten before their end.
    JoinUnproven,
    /// Hits at which the kernel ran no program, as far as it tells: spans may be missing. The agent reads it from the kernel; in
    /// element 0.
    RecursionMisses,
    /// Hits of a stack check that fails, for the stack must grow or Go preempts the goroutine, each one trap more: the function
    /// starts over. Only sites on arm64 are there.
    StackChecksFailed,
    /// Times the reader was woken because the ring buffer filled.
    Wakeups,
    /// Reads of the process's memory; counted only when the object's global `COUNT_READS` is 1, in
    /// tests and benchmarks.
    UserReads,
    /// Processes that executed a program or ended, and new callers of clients, while nobody could be told, for the agent was held up: the
    /// sweep that follows at once finds them. In element 0.
    ProcessEventsFull,
}

/// The counts of one process on one processor, indexed by [`Counter`]. They only grow, and wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counters(pub [u64; Counters::CAPACITY]);

impl Counters {
    /// A power of two not less than the number of counters.
    pub const CAPACITY: usize = 64;
}

const _: () = assert!(Counter::ALL.len() <= Counters::CAPACITY && size_of::<Counters>() == 512);
