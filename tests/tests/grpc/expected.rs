//! What spans must say of a call, told from the program's truth by the semantic conventions alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use lightfoot_tests::live::rpc::code;
use lightfoot_tests::live::span::Attributes;
use lightfoot_tests::live::{Called, Handled, Span};
use serde_json::{Value as Json, json};

use crate::pairs::{CLIENT, SERVER};

const UNSET: u64 = 0;
const ERROR: u64 = 2;

/// How much of a long method and of a long message is kept at least; the last characters may need more than one byte.
const CUT: usize = 250;
const CUT_MESSAGE: usize = 125;

/// What a server is to blame for.
const SERVER_ERRORS: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// Streams whose error grpc-go has made itself, after the transport had its status, which is the one that spans have.
const OWN_ERRORS: [&str; 2] = ["stream-left-early", "stream-connection-closed"];

/// A unary call that an interceptor makes leads nowhere.
const INTERCEPTED: [&str; 3] = ["client-interceptor", "client-interceptor-http", "retried-by-interceptor"];

/// Where all servers are that are reached by TCP.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// Whether a call is unary and has reached a server.
fn is_unary(called: &Called) -> bool {
    called.messages.is_none() && called.peer.is_some()
}

/// A failed call cannot prove that it has set its stream if that has the address of the one that stood there before, which the
/// collector has freed meanwhile: this may be so of a few calls of all.
fn is_excused() -> bool {
    static EXCUSED: AtomicUsize = AtomicUsize::new(0);
    EXCUSED.fetch_add(1, Ordering::Relaxed) < 3
}

/// Fails unless a client's span says all that it must and nothing else, besides times and parents. `has_grown` is whether the
/// goroutine's stack may have grown during the call: one that fails then may lack its peer.
pub(crate) fn assert_client(span: &Span, called: &Called, reached: bool, has_grown: bool) {
    let mut said = span.attributes.clone();
    let is_own = OWN_ERRORS.contains(&called.case.as_str());
    // The row says what else there may be.
    let code = if is_own { span.text("rpc.response.status_code").to_owned() } else { code(called.code) };
    assert_method(&mut said, &called.method, &span.name, false);
    let mut wanted = Attributes::new();
    wanted.insert("rpc.system.name".into(), "grpc".into());
    wanted.insert("rpc.response.status_code".into(), code.as_str().into());
    if code != "OK" {
        let kind = if called.error.is_empty() { &code } else { &called.error };
        wanted.insert("error.type".into(), kind.as_str().into());
    }
    let (address, port) = server(&called.target);
    wanted.insert("server.address".into(), address.into());
    if let Some(port) = port {
        wanted.insert("server.port".into(), port.into());
    }
    // A call leads to its connection, once it has one.
    let peer = said.remove("network.peer.address");
    let peer = peer.as_ref().map(|peer| peer.as_str().unwrap());
    let peer_port = said.remove("network.peer.port");
    if INTERCEPTED.contains(&called.case.as_str()) {
        assert_eq!((peer, &peer_port), (None, &None), "{called:?}");
    } else if peer.is_none() && called.code != 0 && (has_grown || is_unary(called) && is_excused()) {
        assert_eq!(peer_port, None, "{called:?}");
    } else if let Some(truth) = &called.peer {
        let parts = socket(truth).map(|(address, port)| (address, Some(port)));
        let (address, port) = parts.unwrap_or((truth, None));
        assert_eq!((peer.unwrap_or_default(), peer_port), (address, port.map(Json::from)), "{called:?}");
    } else if peer_port.is_some() {
        assert!(LOOPBACK.contains(&peer.unwrap()), "{called:?}");
        assert!(port.is_none_or(|port| peer_port == Some(port.into())), "{peer_port:?} {called:?}");
    } else {
        assert!(!reached || port.is_none(), "no peer: {called:?}");
        assert!(peer.is_none_or(|peer| peer == address), "{called:?}");
    }
    if !called.rule.is_empty() {
        let is_inferred = called.rule == "parent_goroutine";
        if is_inferred && span.parent_span_id.is_empty() {
            // It may be missed.
        } else {
            wanted.insert("lightfoot.parent.rule".into(), called.rule.as_str().into());
            if is_inferred {
                wanted.insert("lightfoot.parent.inferred".into(), true.into());
            }
        }
    }
    assert_eq!(said, wanted, "{called:?}");
    assert_eq!(span.kind, CLIENT);
    // A stream that ended with its connection says why in words of the connection's.
    let of_connection = is_stream(called) && code == "UNAVAILABLE" && reached;
    // What goes around a status adds to what is read of it.
    let is_inner = called.case == "retried-in-vain" && called.message.ends_with(&span.status_message);
    let is_other = of_connection || is_own || is_inner;
    let message = if is_other { &span.status_message } else { &called.message };
    assert!(!is_other || !message.is_empty() || code == "OK", "{called:?}");
    assert_status(span, code != "OK", message);
    assert_common(span);
}

/// The same of a server's span; what handlers saw is not known of all calls.
pub(crate) fn assert_server(span: &Span, called: &Called, handled: Option<&Handled>) {
    let mut said = span.attributes.clone();
    let is_known = called.method.starts_with("/truth.") || called.method.starts_with("/grpc.");
    let is_unknown =
        !is_known || called.method.contains("Unknown") || called.method.starts_with("/truth.Long");
    assert_method(&mut said, &called.method, &span.name, is_unknown);
    assert_eq!(said.remove("rpc.system.name"), Some("grpc".into()), "{called:?}");
    // What handlers return need not be what is sent; the rows say what is.
    let status = said.remove("rpc.response.status_code");
    let status = status.as_ref().map(|status| status.as_str().unwrap());
    let is_error =
        status.is_some_and(|status| SERVER_ERRORS.contains(&status) || status.parse::<u32>().is_ok());
    let panicked = handled.is_some_and(|handled| handled.panicked) && status.is_none();
    let kind = if panicked { Some("panic") } else { status.filter(|_| is_error) };
    assert_eq!(said.remove("error.type"), kind.map(Json::from), "{called:?}");
    let mut wanted = Attributes::new();
    if let Some(handled) = handled {
        assert_eq!(handled.panicked && status.is_none(), panicked);
        if let Some((address, port)) = socket(&handled.peer) {
            wanted.insert("network.peer.address".into(), address.into());
            wanted.insert("network.peer.port".into(), port.into());
        } else if handled.peer.starts_with('/') {
            wanted.insert("network.peer.address".into(), handled.peer.as_str().into());
        }
        if handled.remote.is_some() {
            wanted.insert("lightfoot.parent.rule".into(), "incoming".into());
        }
        assert_eq!(said, wanted, "{called:?} {handled:?}");
    } else {
        for key in ["network.peer.address", "network.peer.port"] {
            said.remove(key);
        }
        assert_eq!(said, wanted, "{called:?}");
    }
    assert_eq!(span.kind, SERVER);
    let message =
        handled.filter(|_| status.is_some()).map_or(called.message.as_str(), |it| it.message.as_str());
    if panicked {
        assert_eq!(span.status_code, ERROR, "{called:?}");
    } else if handled.is_none_or(|handled| status == Some(&code(handled.code))) {
        assert_status(span, is_error, message);
    } else {
        // What nobody wrote down was sent in place of what the handler wanted.
        assert_eq!(span.status_code, if is_error { ERROR } else { UNSET }, "{called:?}");
    }
    assert_common(span);
}

/// Checks the method and what is cut of it.
fn assert_method(said: &mut Attributes, method: &str, name: &str, is_unknown: bool) {
    let method = method.strip_prefix('/').unwrap_or(method);
    let key = if is_unknown { "rpc.method_original" } else { "rpc.method" };
    if is_unknown {
        assert_eq!(said.remove("rpc.method"), Some("_OTHER".into()), "{method}");
    }
    let value = said.remove(key);
    let value = value.as_ref().and_then(Json::as_str).unwrap_or_else(|| panic!("{method} has no {key}"));
    if let Some(cut) = said.remove("lightfoot.truncated") {
        assert_eq!(cut, json!([key]), "{method}");
        assert!(method.starts_with(value) && value.len() < method.len() && value.len() >= CUT, "{value}");
    } else {
        assert_eq!(value, method);
    }
    assert_eq!(name, if is_unknown { "grpc" } else { value });
}

fn assert_status(span: &Span, is_error: bool, message: &str) {
    assert_eq!(span.status_code, if is_error { ERROR } else { UNSET }, "{span:?}");
    let said = span.status_message.as_str();
    if is_error {
        let is_cut = said.len() >= CUT_MESSAGE && message.starts_with(said);
        assert!(said == message || is_cut, "{said:?} is not {message:?}");
    } else {
        assert_eq!(said, "");
    }
}

fn assert_common(span: &Span) {
    assert_eq!((span.span_id.len(), span.trace_id.len()), (16, 32));
    assert!(span.span_id.bytes().any(|digit| digit != b'0'));
    assert_eq!(span.scope, "lightfoot/google.golang.org/grpc");
    assert_eq!(span.schema_url, "https://opentelemetry.io/schemas/1.44.0");
    assert!(span.start <= span.end);
}

/// Whether a call is a stream.
pub(crate) fn is_stream(called: &Called) -> bool {
    ["Stream", "/grpc.health.v1.Health/Watch", "ServerReflectionInfo"]
        .iter()
        .any(|part| called.method.contains(part))
        || called.case == "stream-of-proxy"
}

/// What `server.address` and `server.port` say of a target that a program dialled.
fn server(target: &str) -> (&str, Option<u16>) {
    let endpoint = match target.split_once(":///") {
        Some(("dns" | "passthrough", endpoint)) => endpoint,
        Some(_) => return (target, None),
        None => match target.strip_prefix("unix:") {
            Some(path) => return (path, None),
            None => target,
        },
    };
    let is_dns = target.starts_with("dns:");
    socket(endpoint).map_or((endpoint, is_dns.then_some(443)), |(address, port)| (address, Some(port)))
}

/// The two parts of `ADDRESS:PORT`; an address of IPv6 has brackets.
fn socket(text: &str) -> Option<(&str, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    Some((address.trim_matches(['[', ']']), port.parse().ok()?))
}
