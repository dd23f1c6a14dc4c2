//! From a record to a span, by the semantic conventions: one file per watched library.
//!
//! What is said here is said of every span: ids, times, parent and scope.

use std::ffi::OsString;

use bumpalo::Bump;
use opentelemetry::trace::SpanKind;

use crate::clock::Clock;
use crate::discover::rules::SpanKind as SpanKindOfRule;
use crate::record::{Operation, ParentRule, Record};
use crate::semconv as name;
use crate::span::{Attributes, Span, Status};

mod attributes;
mod connect;
pub mod grpc;
pub mod net_http;
mod target;
mod trace_state;

/// What the user decides about attributes.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How HTTP requests are described.
    pub http: net_http::Settings,
    /// By which names gRPC calls are described.
    pub rpc: grpc::Names,
}

impl Settings {
    /// The settings that the standard variables ask for, read by `variable` (as `std::env::var_os`).
    pub fn from_env(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let methods = variable(net_http::KNOWN_METHODS_VARIABLE).unwrap_or_default();
        let stability = variable(grpc::STABILITY_VARIABLE).unwrap_or_default();
        Self {
            http: net_http::Settings::default().with_known_methods(&methods.to_string_lossy()),
            rpc: grpc::Names::opted_in(&stability.to_string_lossy()),
        }
    }
}

/// Turns records into spans.
pub struct Describer {
    settings: Settings,
}

/// What a library says of an operation; the rest is the same for all.
struct Description<'a> {
    scope: &'static str,
    kind: SpanKind,
    name: &'a str,
    status: Status<'a>,
    attributes: Attributes<'a>,
}

impl Describer {
    /// A describer with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The span of a record. `clock` turns its times into times of day. Texts that are not in the record as they are go
    /// into `arena`.
    pub fn span<'a>(&self, record: &Record<'a>, clock: &Clock, arena: &'a Bump) -> Span<'a> {
        let Description { scope, kind, name, status, mut attributes } = match &record.operation {
            Operation::HttpServer(request) => {
                let description = net_http::server(request, &self.settings.http, arena);
                connect::server(description, request, self.settings.rpc)
            }
            Operation::HttpClient(request) => {
                let description = net_http::client(request, &self.settings.http, arena);
                connect::client(description, request, self.settings.rpc)
            }
            Operation::GrpcServer(call) => grpc::server(call, self.settings.rpc, arena),
            Operation::GrpcClient(call) => grpc::client(call, self.settings.rpc, arena),
        };
        if let Some(parent) = record.parent {
            attributes.push((name::PARENT_RULE, parent.rule.name()).into());
            if parent.rule == ParentRule::ParentGoroutine {
                attributes.push((name::PARENT_INFERRED, true).into());
            }
        }
        if let Some(segment) = record.segment {
            attributes.push((name::SEGMENT, i64::from(segment.number)).into());
            if segment.is_open {
                attributes.push((name::SEGMENT_OPEN, true).into());
            }
        }
        // As W3C Trace Context has it, a state that cannot be parsed is discarded and the rest of the context holds.
        let state = record.trace_state.and_then(|state| trace_state::normal(state, arena));
        let (start_time, end_time) = clock.times(record.start, record.end);
        Span {
            trace_id: record.trace_id,
            span_id: record.span_id,
            parent: record.parent,
            continues: record.segment.and_then(|segment| segment.before),
            joined: None,
            flags: record.flags,
            trace_state: state.unwrap_or_default().into(),
            scope,
            kind,
            name: name.into(),
            start_time,
            end_time,
            attributes,
            dropped_attributes: 0,
            status,
        }
    }
}

/// What a span is of, and the path of a request that was served, as rules have them.
pub fn kind_and_path<'a>(operation: &Operation<'a>) -> (SpanKindOfRule, Option<&'a str>) {
    match operation {
        Operation::HttpServer(request) => {
            let target = target::Target::parse(request.target, request.method);
            (SpanKindOfRule::HttpServer, Some(target.path))
        }
        Operation::HttpClient(_) => (SpanKindOfRule::HttpClient, None),
        Operation::GrpcServer(call) => (SpanKindOfRule::GrpcServer, Some(call.method)),
        Operation::GrpcClient(_) => (SpanKindOfRule::GrpcClient, None),
    }
}

#[cfg(test)]
mod tests;
