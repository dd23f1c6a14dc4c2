//! Types that the BPF programs and the agent share: same bytes on both sides, nothing that needs `std`.
//!
//! # Rules
//! - Every struct is `#[repr(C)]`, of fixed-size integers, without hidden padding; its size is asserted here.
//! - All zero is a valid value of every type: the kernel hands out zeroed map elements.
//! - Numbers may change between builds. The agent embeds the object that it was built with.
//!
//! The maps of the object, by name:
//!
//! | map | kind | key | value | written by |
//! |---|---|---|---|---|
//! | `SETTINGS` | array | 0 | [`Settings`] | agent |
//! | `PROCESSES` | hash | process id (`u32`) | [`Process`] | agent |
//! | `WANTED_HEADERS` | array | [`Process::counters`] | [`WantedHeaders`] | agent, before the process asks for them |
//! | `LAYOUTS` | array | [`Process::layout`] | [`Layout`] | agent, before any process refers to it |
//! | `KEPT` | hash | [`InFlightKey`] | 0, for each element of `IN_FLIGHT` that is [`in_flight::state::KEPT`] | BPF; the agent removes what an ended process left |
//! | `CONTEXTS` | array, of `CONTEXTS_MASK` elements and one | [`ContextKey::set`] | [`ContextSet`] | BPF |
//! | `HOLDERS` | hash | [`HolderKey`] | [`Holder`] | agent, before any process refers to the binary |
//! | `ITABS` | LRU hash | [`ContextKey`] | [`Holder`] | BPF |
//! | `CALLERS` | hash | [`Site`] | the [`SiteKind`] of the sites behind such calls (`u64`) | BPF; the agent removes what an ended process left |
//! | `STREAM_ENDS` | LRU hash | [`ContextKey`] of a gRPC client's stream | nanoseconds since boot (`u64`) | BPF |
//! | `SITES` | hash | [`Site`] | cookie (`u64`) | agent, only where the kernel has no cookies |
//! | `IN_FLIGHT` | hash | [`InFlightKey`] | [`InFlight`] | BPF; the agent removes what an ended process left |
//! | `COUNTERS` | array per processor | [`Process::counters`] | [`Counters`] | BPF |
//! | `CONNECTED` | LRU hash | [`ConnectedKey`] | [`Connected`] | BPF; of one element unless programs that join are placed |
//! | `CONNECTING` | hash | the id of a thread, its process above it (`u64`) | [`Connected`] | BPF, for the time of one program |
//! | `PENDING` | LRU hash | [`PendingKey`] | [`Pending`] | BPF; only in the object that writes |
//! | `TRACE_STATES` | LRU hash | [`TraceStateKey`] | [`TraceState`] | BPF; only in the object that writes |
//! | `EVENTS` | ring buffer | | records | BPF |
//! | `PROCESS_EVENTS` | ring buffer | | [`ProcessEvent`] | BPF |
//!
//! An element of `IN_FLIGHT` takes 3 KiB, and the kernel allocates all at once: the number of elements is for the agent to
//! choose, as are the size of `EVENTS` and the number of processes.
//!
//! The programs `on_site_multi` (Linux 6.6), `on_site` (5.15) and `on_site_by_address` (5.10) do the same; one of them is
//! loaded and attached to all sites of HTTP, and of `on_site_grpc_multi` and so on the same one to those of gRPC
//! ([`SiteKind::is_grpc`]). An object of its own has the same programs, and `on_site_propagate_multi` and so on for sites at which
//! something is written ([`SiteKind::is_propagation`]). `on_exec` and `on_exit`, at
//! raw tracepoints, tell of processes. The globals that the agent sets before:
//!
//! | global | type | meaning |
//! |---|---|---|
//! | `MAY_SLEEP` | `u32` | 1 if `on_site_multi` and the others so named are the ones, else 0 |
//! | `PID_NAMESPACE` | [`PidNamespace`] | whose process ids the maps hold |
//! | `COUNT_READS` | `u32` | 1 in tests and benchmarks that count reads of user memory |
//!
//! Modules, in reading order:
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod connected;
pub mod context;
pub mod cookie;
pub mod counters;
pub mod grpc;
pub mod huffman;
pub mod in_flight;
pub mod layout;
pub mod limits;
pub mod process;
pub mod propagation;
pub mod record;
pub mod segment;
pub mod trace_context;
pub mod trace_state;

#[cfg(feature = "user")]
pub mod user;

pub use connected::{Connected, ConnectedKey};
pub use context::{CONTEXT_WAYS, ContextKey, ContextSet, Holder, HolderKey, SpanContext};
pub use cookie::{Cookie, Site, SiteKind};
pub use counters::{Counter, Counters};
pub use grpc::{Grpc, GrpcText};
pub use in_flight::{InFlight, InFlightKey};
pub use layout::Layout;
pub use process::{PidNamespace, Process, ProcessEvent, Sampler, SamplerKind, Settings, WantedHeaders};
pub use propagation::{Pending, PendingKey, PendingState, TraceState, TraceStateKey};
pub use record::{Http, ParentRule, RecordHeader, RecordKind, Text};
#[cfg(feature = "user")]
pub use user::{GrpcTexts, HeaderValue, Record, RecordError, Texts};
