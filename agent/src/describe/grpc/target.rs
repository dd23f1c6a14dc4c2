//! Targets that gRPC clients dial (docs/naming.md of grpc/grpc).

use super::super::target::host_and_port;

/// The schemes whose endpoint is a host, with the port that stands for none.
const HOSTS: [(&str, Option<u16>); 2] = [("dns", Some(443)), ("passthrough", None)];
/// Those whose endpoint is the path or the name of a unix socket.
const SOCKETS: [&str; 2] = ["unix", "unix-abstract"];

/// The server's address and port that a target tells: `host`, `host:port`, `scheme:endpoint` or `scheme://authority/endpoint`.
/// The whole target is the address where the scheme has a resolver of its own.
pub(super) fn server(target: &str) -> (&str, Option<u16>) {
    let Some((scheme, rest)) = target.split_once(':') else { return (target, None) };
    if let Some((_, default)) = HOSTS.iter().find(|(of, _)| *of == scheme) {
        let (host, port) = host_and_port(endpoint(rest));
        return (host, port.or(*default));
    }
    if SOCKETS.contains(&scheme) {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        return (path, None);
    }
    // `localhost:50051` has no scheme; `[::1]:50051` has none either.
    let is_host = !rest.starts_with("//") && host_and_port(target).1.is_some();
    if is_host || target.starts_with('[') { host_and_port(target) } else { (target, None) }
}

/// What follows the authority, or all if there is none.
fn endpoint(rest: &str) -> &str {
    match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map_or("", |(_, endpoint)| endpoint),
        None => rest,
    }
}
