//! gRPC by the RPC semantic conventions 1.44 (docs/rpc/grpc.md, docs/rpc/rpc-spans.md).
//!
//! | attribute | value |
//! |---|---|
//! | span name | `{rpc.method}`; `grpc` where that is `_OTHER` |
//! | `rpc.system.name` | `grpc` |
//! | `rpc.method` | the method without its first slash; on servers `_OTHER` if there is no such method |
//! | `rpc.method_original` | the method as it came, in place of which `_OTHER` stands |
//! | `rpc.response.status_code` | the name of the code, `OK` and so on; a number if it has no name |
//! | `error.type` | the same: on clients of each code but OK, on servers of those that are the server's fault; the type of an error that has no code; `panic` |
//! | `server.address`, `.port` | of clients: from the target that was dialled |
//! | `network.peer.address`, `.port` | the connection's other end; for unix sockets the name, if it has one, and no port |
//! | `lightfoot.rpc.messages.sent`, `.received` | of streams, if they were counted |
//! | span status | Error with `error.type`, and the status's message |

mod target;

use std::net::SocketAddr;

use bumpalo::Bump;
use opentelemetry::trace::SpanKind;

use super::Description;
use super::attributes::Described;
use super::net_http::PANIC;
use crate::record::{GrpcClient, GrpcServer};
use crate::semconv as name;
use crate::span::Status;

/// The variable that chooses between names of attributes, a list with commas.
pub const STABILITY_VARIABLE: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";

/// By which names calls are described.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Those of the conventions 1.44.
    #[default]
    New,
    /// Those up to 1.37, in which `rpc.method` is the last part alone.
    Old,
    /// The first, and of the second those that are other keys.
    Both,
}

const SCOPE: &str = "lightfoot/google.golang.org/grpc";
const SYSTEM: &str = "grpc";
/// What stands for methods that are not known.
pub(super) const OTHER: &str = "_OTHER";

/// The codes by number (google.golang.org/grpc/codes; spelled as `google/rpc/code.proto` has them).
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const UNKNOWN: u32 = 2;
const UNIMPLEMENTED: u32 = 12;
/// Those that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
const SERVER_ERRORS: [u32; 6] = [UNKNOWN, 4, UNIMPLEMENTED, 13, 14, 15];
/// How grpc-go tells that nothing handles a method (`handleStream`, server.go).
const NO_METHOD: [&str; 3] = ["unknown service ", "unknown method ", "malformed method name: "];

impl Names {
    /// What `OTEL_SEMCONV_STABILITY_OPT_IN` asks for. `rpc/old` is ours: the conventions leave old names to what had them.
    pub fn opted_in(list: &str) -> Self {
        let has = |value| list.split(',').any(|item| item.trim() == value);
        if has("rpc/dup") {
            Self::Both
        } else if has("rpc/old") && !has("rpc") {
            Self::Old
        } else {
            Self::New
        }
    }
}

/// A call served.
pub(super) fn server<'a>(call: &GrpcServer<'a>, names: Names, arena: &'a Bump) -> Description<'a> {
    let is_unknown = call.code == Some(UNIMPLEMENTED)
        && NO_METHOD.iter().any(|beginning| call.message.starts_with(beginning));
    let mut described = Described::new(call.cut, arena);
    let span_name = method(&mut described, call.method, is_unknown, names);
    let code_name = call.code.map(|code| add_code(&mut described, code, names, arena));
    add_peer(&mut described, call.peer, call.peer_name, arena);
    add_messages(&mut described, call.messages);
    let is_fault = |code: u32| SERVER_ERRORS.contains(&code) || code as usize >= CODES.len();
    let status = if call.has_panicked {
        described.add(name::ERROR_TYPE, PANIC);
        Status::Error("the handler panicked".into())
    } else if call.code.is_some_and(is_fault)
        && let Some(code_name) = code_name
    {
        described.add(name::ERROR_TYPE, code_name);
        Status::Error(call.message.into())
    } else {
        Status::Unset
    };
    Description {
        scope: SCOPE,
        kind: SpanKind::Server,
        name: span_name,
        status,
        attributes: described.finish(),
    }
}

/// A call made.
pub(super) fn client<'a>(call: &GrpcClient<'a>, names: Names, arena: &'a Bump) -> Description<'a> {
    let mut described = Described::new(call.cut, arena);
    let span_name = method(&mut described, call.method, false, names);
    let (address, port) = target::server(call.target);
    if !address.is_empty() {
        described.add_made_of(&["target"], name::SERVER_ADDRESS, address);
        if let Some(port) = port {
            described.add(name::SERVER_PORT, port);
        }
    }
    // `status.Code` makes the same of an error that has none.
    let code = call.code.or(call.error.is_some().then_some(UNKNOWN));
    let code_name = code.map(|code| add_code(&mut described, code, names, arena));
    add_peer(&mut described, call.peer, call.peer_name, arena);
    add_messages(&mut described, call.messages);
    let error_type = match call.error {
        Some(error) => Some(error.type_name.unwrap_or(OTHER)),
        None => code_name.filter(|_| code != Some(0)),
    };
    let status = match error_type {
        Some(error_type) => {
            described.add(name::ERROR_TYPE, error_type);
            Status::Error(call.message.into())
        }
        None => Status::Unset,
    };
    Description {
        scope: SCOPE,
        kind: SpanKind::Client,
        name: span_name,
        status,
        attributes: described.finish(),
    }
}

/// Adds what is said of the method; returns the span's name.
fn method<'a>(described: &mut Described<'a>, method: &'a str, is_unknown: bool, names: Names) -> &'a str {
    const METHOD: &[&str] = &["method"];
    let full = method.strip_prefix('/').unwrap_or(method);
    if names != Names::Old {
        described.add(name::RPC_SYSTEM_NAME, SYSTEM);
        if is_unknown {
            described.add(name::RPC_METHOD, OTHER);
            described.add_made_of(METHOD, name::RPC_METHOD_ORIGINAL, full);
        } else {
            described.add_made_of(METHOD, name::RPC_METHOD, full);
        }
    }
    if names != Names::New {
        let (service, last) = full.rsplit_once('/').unwrap_or(("", full));
        described.add(name::OLD_RPC_SYSTEM, SYSTEM);
        described.add_made_of(METHOD, name::OLD_RPC_SERVICE, service);
        if names == Names::Old {
            described.add_made_of(METHOD, name::RPC_METHOD, last);
        }
    }
    if is_unknown && names != Names::Old { SYSTEM } else { full }
}

/// Adds a code; returns its name.
fn add_code<'a>(described: &mut Described<'a>, code: u32, names: Names, arena: &'a Bump) -> &'a str {
    let code_name = match CODES.get(code as usize) {
        Some(name) => name,
        None => bumpalo::format!(in arena, "{}", code).into_bump_str(),
    };
    if names != Names::Old {
        described.add(name::RPC_RESPONSE_STATUS_CODE, code_name);
    }
    if names != Names::New {
        described.add(name::OLD_RPC_GRPC_STATUS_CODE, i64::from(code));
    }
    code_name
}

fn add_peer<'a>(described: &mut Described<'a>, peer: Option<SocketAddr>, socket: &'a str, arena: &'a Bump) {
    if let Some(peer) = peer {
        let address = bumpalo::format!(in arena, "{}", peer.ip()).into_bump_str();
        described.add(name::NETWORK_PEER_ADDRESS, address);
        described.add(name::NETWORK_PEER_PORT, peer.port());
    } else if !matches!(socket, "" | "@") {
        // Go calls one without a name "@" (net.UnixAddr).
        described.add_made_of(&["peer_name"], name::NETWORK_PEER_ADDRESS, socket);
    }
}

fn add_messages(described: &mut Described<'_>, messages: Option<(u64, u64)>) {
    if let Some((sent, received)) = messages {
        described.add(name::MESSAGES_SENT, i64::try_from(sent).unwrap_or(i64::MAX));
        described.add(name::MESSAGES_RECEIVED, i64::try_from(received).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
