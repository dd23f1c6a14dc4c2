//! Links between the spans of a call and of the request that it was for the service that is called, where both are watched on this host.
//!
//! The two have a connection in common: its end at the client is the peer of the server. A connection of HTTP/1 serves one request at a
//! time, so of those on it the request belongs to the call that got the connection last before the request began. Over HTTP/2, and so by
//! gRPC, each has a stream of its own, whose id both sides know. Method and path must be the same on both sides. Where it could be more
//! than one there is no link.
//!
//! Nothing waits: the span that comes later gets the link to the one that came earlier. All is decided by what records say, none of it
//! by when they are read, so that a recording gives the same links.

use std::hash::{BuildHasher as _, BuildHasherDefault};
use std::net::{IpAddr, SocketAddr};

use lightfoot_probes_abi::segment;
use rustc_hash::FxHasher;
use smallvec::SmallVec;

use crate::counters::SessionCounter;
use crate::describe;
use crate::record::{
    GrpcClient, GrpcServer, HttpClient, HttpServer, Operation, Parent, PathForm, Record, SpanId, TraceId,
};

mod side;

use side::Side;

/// At most so many calls wait for the request that they were, and as many requests for their call.
pub const MAX_WAITING: usize = 8_192;
/// Of one connection at most so many of each wait.
const MAX_ON_CONNECTION: usize = 8;
/// How long each waits: a request may go on when its call has its response, and a call of gRPC until it has read all that its server has sent. In
/// nanoseconds.
const WAITS: u64 = 60_000_000_000;
/// How much later than a call was given up its request may begin.
const LATE: u64 = 5_000_000_000;

/// A span of another process, or at least of another operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// Its trace flags.
    pub flags: u8,
}

/// What became of those that were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Got a link.
    pub joined: u64,
    /// Could have had several.
    pub ambiguous: u64,
    /// Calls that waited in vain.
    pub unmatched: u64,
    /// Calls that were forgotten for newer ones before their time was over.
    pub full: u64,
}

impl Tally {
    /// The same by the counters that it adds to.
    pub fn counts(self) -> [(SessionCounter, u64); 4] {
        [
            (SessionCounter::Joined, self.joined),
            (SessionCounter::JoinAmbiguous, self.ambiguous),
            (SessionCounter::JoinUnmatched, self.unmatched),
            (SessionCounter::JoinFull, self.full),
        ]
    }
}

/// Finds links.
#[derive(Debug, Default)]
pub struct Joiner {
    calls: Side,
    requests: Side,
    /// The latest end of a record.
    now: u64,
    tally: Tally,
}

/// The client's end of a connection, and the id of a stream of it, which is 0 over HTTP/1. Loopback addresses are told by their network
/// namespace.
type Key = (Option<u64>, SocketAddr, u32);

/// A span that waits for the other side's.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    link: Link,
    /// The id that its children have as their parent: that of the first of its pieces, if it was told of in pieces.
    own_id: SpanId,
    parent: Option<Parent>,
    pid: u32,
    /// A request: when it began. A call: since when it had the connection, or 0 if that is not known of a call in pieces.
    since: u64,
    end: u64,
    /// A call: until when its connection can have been its own.
    until: Until,
    /// Where a call goes.
    peer: Option<SocketAddr>,
    /// Of method and path; nothing if they are not known as they were sent.
    line: Option<u64>,
}

/// Until when a request can be that of a call.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// It has ended when the call ends: then the connection may serve the next one.
    Over,
    /// It has begun by then.
    Begun,
    /// It has begun soon after that: the call was given up, and nothing else has its stream.
    GivenUp,
}

/// The method of HTTP that calls of gRPC have.
const GRPC_METHOD: &str = "POST";

impl Joiner {
    /// Takes a record of a process in a network namespace. Returns the link of its span, if there is one. Of a span in pieces the last one may have it.
    pub fn offer(&mut self, record: &Record<'_>, namespace: Option<u64>) -> Option<Link> {
        if record.segment.is_some_and(|segment| segment.is_open) {
            return None;
        }
        let (key, waiting) = match &record.operation {
            Operation::HttpClient(call) => of_call(record, call, namespace)?,
            Operation::HttpServer(request) => of_request(record, request, namespace)?,
            Operation::GrpcClient(call) => of_grpc_call(record, call, namespace)?,
            Operation::GrpcServer(request) => of_grpc_request(record, request, namespace)?,
        };
        self.now = self.now.max(record.end);
        self.tally.unmatched += self.calls.expire(self.now, WAITS);
        self.requests.expire(self.now, WAITS);
        let is_call = waiting.peer.is_some();
        let others = if is_call { &self.requests } else { &self.calls };
        let found: SmallVec<[_; 2]> = others
            .on(key)
            .filter(|(_, other)| if is_call { waiting.was(other) } else { other.was(&waiting) })
            .collect();
        match the_one(&found, is_call) {
            Some((number, other)) => {
                let side = if is_call { &mut self.requests } else { &mut self.calls };
                side.take(key, number);
                let (call, request) = if is_call { (&waiting, &other) } else { (&other, &waiting) };
                let is_known = request.link.trace_id == call.link.trace_id
                    && request.parent.is_some_and(|parent| parent.span_id == call.own_id);
                self.tally.joined += u64::from(!is_known);
                (!is_known).then_some(other.link)
            }
            None if found.is_empty() => {
                let side = if is_call { &mut self.calls } else { &mut self.requests };
                let dropped = side.wait(key, waiting);
                if is_call {
                    self.tally.unmatched += dropped.of_connection;
                    self.tally.full += dropped.for_room;
                }
                None
            }
            None => {
                self.tally.ambiguous += 1;
                None
            }
        }
    }

    /// What became of those that were offered since this was asked last.
    pub fn tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// The calls that wait, at the end.
    pub fn waiting(&self) -> u64 {
        self.calls.len() as u64
    }
}

impl Waiting {
    /// Whether this call can have been that request.
    fn was(&self, request: &Self) -> bool {
        let is_in_time = match self.until {
            Until::Over => request.end <= self.end,
            Until::Begun => request.since <= self.end,
            Until::GivenUp => request.since <= self.end.saturating_add(LATE),
        };
        self.since <= request.since
            && is_in_time
            && self.line.zip(request.line).is_none_or(|(sent, got)| sent == got)
    }
}

/// Of several the last call before a request, or the first request of a call, if all are on one connection.
fn the_one(found: &[(u64, Waiting)], are_requests: bool) -> Option<(u64, Waiting)> {
    let (_, first) = found.first()?;
    if found.iter().any(|(_, other)| (other.pid, other.peer) != (first.pid, first.peer)) {
        return None;
    }
    let since = |(_, waiting): &&(u64, Waiting)| waiting.since;
    let one = if are_requests { found.iter().min_by_key(since) } else { found.iter().max_by_key(since) };
    one.copied()
}

fn of_call(record: &Record<'_>, call: &HttpClient<'_>, namespace: Option<u64>) -> Option<(Key, Waiting)> {
    let connection = call.connection?;
    let method = if call.method.is_empty() { "GET" } else { call.method };
    let is_whole = call.path_form != PathForm::Opaque && !call.cut.contains(&"target");
    let path = if call.path.is_empty() { "/" } else { call.path };
    let is_decoded = call.path_form == PathForm::Decoded;
    // A response that has no body frees the connection before its call returns.
    let is_over_at_end = call.status.is_some_and(|status| status != 101) && !call.has_body;
    let waiting = Waiting {
        since: connection.since,
        until: match (connection.stream != 0, is_over_at_end) {
            (true, _) if call.status.is_none() => Until::GivenUp,
            (false, true) => Until::Over,
            _ => Until::Begun,
        },
        peer: Some(connection.peer),
        line: is_whole.then(|| line(method, path, is_decoded)),
        ..waiting(record)
    };
    Some((key(connection.local, connection.stream, namespace)?, waiting))
}

/// Nothing without a stream: a call by something else than HTTP/2 is none.
fn of_grpc_call(
    record: &Record<'_>,
    call: &GrpcClient<'_>,
    namespace: Option<u64>,
) -> Option<(Key, Waiting)> {
    let connection = call.connection.filter(|connection| connection.stream != 0)?;
    let is_whole = !call.cut.contains(&"method");
    let waiting = Waiting {
        since: if record.segment.is_some() { 0 } else { record.start },
        until: if call.code == Some(0) { Until::Begun } else { Until::GivenUp },
        peer: Some(connection.peer),
        line: is_whole.then(|| line(GRPC_METHOD, call.method, false)),
        ..waiting(record)
    };
    Some((key(connection.local, connection.stream, namespace)?, waiting))
}

fn of_request(
    record: &Record<'_>,
    request: &HttpServer<'_>,
    namespace: Option<u64>,
) -> Option<(Key, Waiting)> {
    let peer = request.peer.parse().ok().filter(|_| (request.protocol.0 == 1) == (request.stream == 0))?;
    let (_, path) = describe::kind_and_path(&record.operation);
    let path = path.filter(|path| !path.is_empty() && !request.cut.contains(&"target"));
    let line = path.map(|path| line(request.method, path, false));
    Some((key(peer, request.stream, namespace)?, Waiting { line, ..waiting(record) }))
}

fn of_grpc_request(
    record: &Record<'_>,
    request: &GrpcServer<'_>,
    namespace: Option<u64>,
) -> Option<(Key, Waiting)> {
    let peer = request.peer.filter(|_| request.stream != 0)?;
    let is_whole = !request.cut.contains(&"method");
    let line = is_whole.then(|| line(GRPC_METHOD, request.method, false));
    Some((key(peer, request.stream, namespace)?, Waiting { line, ..waiting(record) }))
}

/// What both have.
fn waiting(record: &Record<'_>) -> Waiting {
    let Record { pid, start, end, trace_id, span_id, parent, flags, .. } = *record;
    let link = Link { trace_id, span_id, flags };
    let number = record.segment.map_or(1, |segment| segment.number);
    let own_id = segment::id(u64::from_ne_bytes(span_id), number).to_ne_bytes();
    Waiting { link, own_id, parent, pid, since: start, end, until: Until::Begun, peer: None, line: None }
}

/// Nothing if it cannot be told whose loopback address it is.
fn key(address: SocketAddr, stream: u32, namespace: Option<u64>) -> Option<Key> {
    let ip = address.ip().to_canonical();
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    let namespace = if is_local { Some(namespace?) } else { None };
    Some((namespace, SocketAddr::new(ip, address.port()), stream))
}

/// The method and the path that it is without its escapes, which a client has in another form than they are sent in.
fn line(method: &str, path: &str, is_decoded: bool) -> u64 {
    let hasher = BuildHasherDefault::<FxHasher>::default();
    if is_decoded {
        return hasher.hash_one((method, path.as_bytes()));
    }
    let decoded: SmallVec<[u8; 128]> = percent_encoding::percent_decode_str(path).collect();
    hasher.hash_one((method, &decoded[..]))
}

#[cfg(test)]
mod tests;
