//! Calls of connect by the RPC semantic conventions 1.44 (docs/rpc/connect-rpc.md, docs/rpc/grpc.md): what is added to the
//! span of the HTTP request that each is.
//!
//! | attribute | value |
//! |---|---|
//! | span name | `{rpc.method}`; where that is `_OTHER`, that of the HTTP request |
//! | `rpc.system.name` | `connectrpc` for Connect's own protocol, `grpc` for gRPC and gRPC-Web |
//! | `rpc.method` | the last two parts of the path; on servers `_OTHER` if no method has answered |
//! | `rpc.method_original` | these two parts, in place of which `_OTHER` stands |
//! | `rpc.response.status_code` | of calls by Connect's protocol, where the HTTP status tells it whoever gave it |

use super::Description;
use super::grpc::{Names, OTHER};
use crate::record::{HttpClient, HttpServer, Protocol};
use crate::semconv as name;

/// What connect and its specification call an error of these HTTP statuses, be it one of a call or of somebody before it, as
/// middleware: `connectCodeToHTTP` and `httpToCode` of connect agree (protocol_connect.go, protocol.go; connect 1.21). Of other
/// statuses they do not, or several codes have the same.
const CODES: [(u16, &str); 3] = [(401, "unauthenticated"), (403, "permission_denied"), (503, "unavailable")];

/// Bytes of the shortest error of a call, `{"code":"not_found"}`. `http.NotFound` writes 19.
const SHORTEST_ERROR: u64 = 20;

/// A request that was served.
pub(super) fn server<'a>(
    description: Description<'a>,
    request: &HttpServer<'a>,
    names: Names,
) -> Description<'a> {
    let Some(protocol) = request.rpc else { return description };
    let (path, has_query) = match request.target.split_once('?') {
        Some((path, _)) => (path, true),
        None => (request.target, false),
    };
    let is_whole = has_query || !request.cut.contains(&"target");
    // Errors of other protocols are told behind a 200.
    let is_unknown = request.status == Some(404)
        && (protocol != Protocol::ConnectUnary || request.response_size < SHORTEST_ERROR);
    let status = request.status.filter(|_| !request.has_panicked);
    add(description, Call { protocol, path: path_of(path, is_whole), is_unknown, status }, names)
}

/// A request of a client.
pub(super) fn client<'a>(
    description: Description<'a>,
    request: &HttpClient<'a>,
    names: Names,
) -> Description<'a> {
    let Some(protocol) = request.rpc else { return description };
    let is_whole = !request.cut.contains(&"target");
    let path = path_of(request.path, is_whole);
    add(description, Call { protocol, path, is_unknown: false, status: request.status }, names)
}

/// A call, as its request tells it.
#[derive(Clone, Copy)]
struct Call<'a> {
    protocol: Protocol,
    /// Service and method; `None` where the path has no such parts.
    path: Option<(&'a str, &'a str)>,
    is_unknown: bool,
    status: Option<u16>,
}

/// The last two parts of a path: handlers may be mounted anywhere (`extractProtoPath`, connect.go).
fn path_of(path: &str, is_whole: bool) -> Option<(&str, &str)> {
    let (rest, method) = path.rsplit_once('/').filter(|_| is_whole)?;
    let start = rest.rfind('/')? + 1;
    let service = rest.get(start..)?;
    let full = path.get(start..)?;
    (!service.is_empty() && !method.is_empty()).then_some((full, service))
}

fn add<'a>(mut description: Description<'a>, call: Call<'a>, names: Names) -> Description<'a> {
    let Some((full, service)) = call.path else { return description };
    let method = full.get(service.len() + 1..).unwrap_or_default();
    let is_connect = call.protocol != Protocol::Grpc;
    let code = call.status.and_then(|status| code(call.protocol, status));
    let mut add = |key, value: &'a str| description.attributes.push((key, value).into());
    if names != Names::Old {
        add(name::RPC_SYSTEM_NAME, if is_connect { "connectrpc" } else { "grpc" });
        if call.is_unknown {
            add(name::RPC_METHOD, OTHER);
            add(name::RPC_METHOD_ORIGINAL, full);
        } else {
            add(name::RPC_METHOD, full);
        }
        if let Some(code) = code {
            add(name::RPC_RESPONSE_STATUS_CODE, code);
        }
    }
    if names != Names::New {
        add(name::OLD_RPC_SYSTEM, if is_connect { "connect_rpc" } else { "grpc" });
        add(name::OLD_RPC_SERVICE, service);
        if names == Names::Old {
            add(name::RPC_METHOD, method);
        }
        if let Some(code) = code.filter(|code| *code != OK) {
            add(name::OLD_RPC_CONNECT_ERROR_CODE, code);
        }
    }
    if !call.is_unknown {
        description.name = full;
    }
    description
}

/// What stands for no error.
const OK: &str = "OK";

fn code(protocol: Protocol, status: u16) -> Option<&'static str> {
    match (protocol, status) {
        (Protocol::ConnectUnary, 200) => Some(OK),
        (Protocol::Grpc, _) => None,
        _ => CODES.iter().find(|(of, _)| *of == status).map(|(_, code)| *code),
    }
}

#[cfg(test)]
mod tests;
