//! What Lightfoot knows of the libraries that it watches: tables only, no code that acts.
//!
//! A library has one file here, and files of the same name in the other layers. A table names functions, Go
//! signatures and struct fields; where they lie in a given program is for [`crate::inspect`] to find and for
//! [`crate::plan`] to prove.

use lightfoot_symbolizer::go_abi::{GoType, Signature};

pub mod connect;
pub mod contexts;
pub mod go_runtime;
pub mod grpc;
pub mod http2;
pub mod net_http;
pub mod own_instrumentation;
pub mod routers;

/// Every library, in the order in which people read about them.
pub const LIBRARIES: &[&Library] = &[
    &net_http::LIBRARY,
    &http2::LIBRARY,
    &grpc::LIBRARY,
    &connect::LIBRARY,
    &routers::GIN_LIBRARY,
    &routers::CHI_LIBRARY,
    &routers::ECHO_LIBRARY,
    &routers::GORILLA_LIBRARY,
];

/// A Go library whose calls become spans, or that knows more of them.
#[derive(Debug)]
pub struct Library {
    /// Its import path.
    pub name: &'static str,
    /// The module that provides it; `None` for the standard library.
    pub module: Option<&'static str>,
    /// The operations that become spans or add to them.
    pub operations: &'static [Operation],
}

/// An operation of a library; each time it happens is one span, or adds to the one that is open ([`Role::Router`], [`Role::Told`]).
#[derive(Debug)]
pub struct Operation {
    /// What a person calls it.
    pub title: &'static str,
    /// A function that only one of several implementations has, and what can be said of a program without it.
    pub only_with: Option<(&'static str, &'static str)>,
    /// What the functions that mark its start do, where the compiler inlined them.
    pub inlined: Option<&'static Inlined>,
    /// Where it starts, ends and may end otherwise.
    pub points: &'static [Point],
    /// What is read from memory at these points.
    pub layouts: &'static [&'static Layout],
    /// The maps among the fields.
    pub maps: &'static [MapField],
}

/// Functions that do nothing but call another one, in which the operation really happens. They are inlined into whoever calls
/// them directly, and their own entries are passed by calls through interfaces alone. The call of the other function takes
/// their place then: a start before it, an end behind it.
#[derive(Debug)]
pub struct Inlined {
    /// These functions.
    pub functions: &'static [&'static str],
    /// What they call, newest first.
    pub callees: &'static [&'static str],
    /// The results of either.
    pub results: &'static [GoType<'static>],
    /// Functions into which they are inlined that are called in the course of another such operation, whose span is then
    /// open.
    pub except: &'static [&'static str],
}

/// A moment of an operation that needs a probe.
#[derive(Debug)]
pub struct Point {
    /// Which moment.
    pub role: Role,
    /// The places that mark it, best first; the first that a program has and that can be proven is taken.
    pub ways: &'static [Way],
}

/// What a probe marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The start of a span: one trap each.
    Start,
    /// The ordinary end of a span: one trap each.
    End,
    /// The end of a connection: one trap for each, which also ends spans whose handler panicked.
    ConnectionEnd,
    /// The start of operations that do not pass the ordinary one, for it was inlined ([`Inlined`]): before a call.
    InlinedStart,
    /// Their end: behind that call, or where its caller returns what it got from it.
    InlinedEnd,
    /// An end that each operation passes, but at a higher price. It stands in until the ordinary one is known to be passed
    /// as well.
    StandIn,
    /// The route of a request that a middleware copied: one trap more for each that passes. Optional, and placed only
    /// where spans lack a route (`crate::watch`).
    Route,
    /// A moment between start and end at which a span goes on as that of something else: one trap each.
    Opened,
    /// An end on a path that only errors take: one trap for each.
    ErrorEnd,
    /// The status of a call, for the span that is open: one trap each.
    Status,
    /// A message was sent: one trap more for each, only if asked for.
    Sent,
    /// A message was received: one trap more for each, only if asked for.
    Received,
    /// The pattern that a router has matched, for the span that is open: one trap more for each request that it serves.
    /// Optional, and placed in programs that have the router and an HTTP server.
    Router,
    /// The connection of a request is known, for the span that is open: one trap more for each. Only if asked for.
    Connected,
    /// The headers of a request are about to end: one trap more for each. Only if asked for, for a header is written there.
    Written,
    /// The headers of a request are known to its own goroutine, and another one will write them: one trap more for each. Only if asked
    /// for.
    Listed,
    /// Nothing: what is read of a request for its span tells that it is such an operation.
    Told,
}

impl Operation {
    /// The ways to catch its start, or the one moment that it has; a program without any of their functions does not have
    /// it.
    pub fn starts(&self) -> impl Iterator<Item = &'static Way> {
        self.points.iter().filter(|point| point.role.is_start()).flat_map(|point| point.ways)
    }
}

impl Role {
    /// Whether it is the operation's start, or the one moment that it has.
    pub fn is_start(self) -> bool {
        matches!(
            self,
            Self::Start
                | Self::Router
                | Self::Status
                | Self::Sent
                | Self::Received
                | Self::Connected
                | Self::Written
                | Self::Told
        )
    }

    /// Whether the operation cannot be watched without it.
    pub fn is_required(self) -> bool {
        self.is_start() || matches!(self, Self::Opened | Self::End | Self::Listed)
    }
}

/// A place in a program that marks a moment.
#[derive(Debug)]
pub struct Way {
    /// The function whose code is probed.
    pub function: &'static str,
    /// Where in its code.
    pub place: Place,
}

/// Where in a function's code a probe goes.
#[derive(Debug)]
pub enum Place {
    /// Where it is entered, once per call.
    Entry {
        /// Its parameters and results, receiver first.
        signature: Signature<'static>,
        /// The parameters, by index, that must still be readable.
        needs: &'static [usize],
        /// A function that must contain a direct call of it: proof that it was not inlined where it matters.
        called_from: Option<&'static str>,
    },
    /// Its one direct call of another function, before the call is made.
    CallOf(&'static str),
    /// All its direct calls of another function, before they are made.
    CallsOf(&'static str),
    /// The direct call of a function that follows that of another one in memory, before it is made.
    CallBehind {
        /// The other function.
        first: &'static str,
        /// The function.
        callee: &'static str,
    },
    /// The same, where an argument is the address of a struct.
    CallWith {
        /// The function that is called.
        callee: &'static str,
        /// Its parameters, receiver first.
        parameters: &'static [GoType<'static>],
        /// Which one is or, as an interface, holds the address.
        argument: usize,
    },
    /// Its one direct call of another function, before it is made, where an argument lies on the stack for want of registers, and may
    /// be changed there.
    CallOnStack {
        /// The function that is called.
        callee: &'static str,
        /// Its parameters, receiver first.
        parameters: &'static [GoType<'static>],
        /// Which one lies on the stack.
        argument: usize,
    },
    /// Behind its direct calls of another function, where some of the results are still in registers.
    AfterCallOf {
        /// The function that is called.
        callee: &'static str,
        /// Its results.
        results: &'static [GoType<'static>],
        /// The results, by index, that must still be readable.
        kept: &'static [usize],
    },
    /// Behind its calls of a method of an interface, where the results are still in registers. Which of the calls reach
    /// the operation is learned while it runs.
    AfterInterfaceCalls {
        /// The method: where an itab has its address, in bytes. The first of an interface's stands at 24, and they are
        /// sorted by name (`abi.ITab.Fun`, internal/abi/iface.go).
        itab_offset: u64,
        /// The parameters of the method, receiver first.
        parameters: &'static [GoType<'static>],
        /// Its results.
        results: &'static [GoType<'static>],
    },
    /// A place behind calls that is as another one, where the function still has its receiver at the place that Go's ABI has for it
    /// on the stack.
    WithReceiver(&'static Self),
    /// The same where the function still has another argument of 8 bytes, too, at its place.
    WithArgument {
        /// The other place.
        place: &'static Self,
        /// The argument's register, by index in the ABI's sequence.
        register: u8,
        /// Its place: so many bytes above the stack pointer at the entry.
        home: u64,
    },
    /// Its return instructions.
    Returns,
    /// No place: that the program has the function is what matters.
    Nowhere {
        /// A function that it must not have, and what can be said of a program that has.
        unless: Option<(&'static str, &'static str)>,
    },
    /// Its return instructions on an architecture where the kernel emulates them; elsewhere no place at all.
    EmulatedReturns,
}

impl Place {
    /// The place without what is asked of it besides.
    pub fn itself(&self) -> &Self {
        match self {
            Self::WithReceiver(place) | Self::WithArgument { place, .. } => place,
            place => place,
        }
    }
}

/// The fields of a struct that probes read.
#[derive(Debug)]
pub struct Layout {
    /// The struct.
    pub name: &'static str,
    /// Fields without which the operation cannot be watched.
    pub required: &'static [&'static str],
    /// Fields that only some versions have, or that one attribute needs.
    pub optional: &'static [&'static str],
    /// Whether only some versions have the struct itself.
    pub is_optional: bool,
}

/// A field that is a map, whose entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MapField {
    /// The struct.
    pub structure: &'static str,
    /// Its field.
    pub field: &'static str,
}
