use super::*;
use crate::counters::SessionCounter;
use crate::record::{Connection, GrpcClient, GrpcServer, ParentRule, Segment};

const LOCAL: &str = "127.0.0.1:40000";

/// A record of process `id`, whose span and trace have that number.
fn record(id: u8, (start, end): (u64, u64), operation: &Operation<'static>) -> Record<'static> {
    Record {
        pid: id.into(),
        start,
        end,
        trace_id: [id; 16],
        span_id: [id; 8],
        parent: None,
        flags: 1,
        trace_state: None,
        segment: None,
        operation: *operation,
    }
}

/// A call of `/a` that had its connection 2 after its start.
fn call_to(
    peer: &str,
    id: u8,
    times: (u64, u64),
    change: impl FnOnce(&mut HttpClient<'_>),
) -> Record<'static> {
    let (local, peer) = (LOCAL.parse().unwrap(), peer.parse().unwrap());
    let mut call = HttpClient {
        path: "/a",
        status: Some(200),
        has_body: true,
        connection: Some(Connection { since: times.0 + 2, local, peer, stream: 0 }),
        ..HttpClient::default()
    };
    change(&mut call);
    record(id, times, &Operation::HttpClient(call))
}

fn call(id: u8, times: (u64, u64)) -> Record<'static> {
    call_to("127.0.0.1:80", id, times, |_| ())
}

fn request_with(id: u8, times: (u64, u64), change: impl FnOnce(&mut HttpServer<'_>)) -> Record<'static> {
    let mut request =
        HttpServer { method: "GET", target: "/a?b", peer: LOCAL, protocol: (1, 1), ..HttpServer::default() };
    change(&mut request);
    record(id, times, &Operation::HttpServer(request))
}

fn request(id: u8, times: (u64, u64)) -> Record<'static> {
    request_with(id, times, |_| ())
}

/// The numbers of the spans that each got a link to, 0 for none, and what was counted.
fn links(records: &[Record<'static>]) -> (Vec<u8>, Tally) {
    let mut joiner = Joiner::default();
    let link = |record: &Record<'_>| joiner.offer(record, Some(7)).map_or(0, |link| link.span_id[0]);
    let links = records.iter().map(link).collect();
    (links, joiner.tally())
}

#[test]
fn the_later_one_has_the_link_to_the_earlier_one() {
    let (call, request) = (call(1, (10, 50)), request(2, (20, 30)));
    let joined = Tally { joined: 1, ..Tally::default() };
    assert_eq!(links(&[call, request]), (vec![0, 1], joined));
    assert_eq!(links(&[request, call]), (vec![0, 2], joined));
    // It is taken: another one finds nothing.
    assert_eq!(links(&[request, call, call]), (vec![0, 2, 0], joined));
}

#[test]
fn times_are_those_of_one_request_on_a_connection() {
    type Change = fn(&mut HttpClient<'_>);
    type Times = (u64, u64);
    let is_joined = |call_times, change: Change, request_times| {
        let pair = [call_to("127.0.0.1:80", 1, call_times, change), request(2, request_times)];
        let there = links(&pair).0[1] == 1;
        assert_eq!(links(&[pair[1], pair[0]]).0[1] == 2, there, "in either order");
        there
    };
    let cases: [(Times, Change, Times, bool); 10] = [
        ((10, 50), |_| (), (12, 30), true),
        // Before the call had the connection; after its end.
        ((10, 50), |_| (), (11, 30), false),
        ((10, 50), |_| (), (51, 60), false),
        ((10, 50), |_| (), (50, 60), true),
        // The response goes on when its headers are there.
        ((10, 50), |_| (), (12, 90), true),
        // Without a body the connection may serve the next one by then.
        ((10, 50), |call| call.has_body = false, (12, 90), false),
        ((10, 50), |call| call.has_body = false, (12, 50), true),
        // An upgraded connection and one that was given up serve no other.
        ((10, 50), |call| (call.has_body, call.status) = (false, Some(101)), (12, 90), true),
        ((10, 50), |call| (call.has_body, call.status) = (false, None), (12, 90), true),
        ((10, 50), |call| call.connection = None, (12, 30), false),
    ];
    for (index, (call, change, request, expected)) in cases.into_iter().enumerate() {
        assert_eq!(is_joined(call, change, request), expected, "case {index}");
    }
}

#[test]
fn a_connection_serves_one_after_the_other() {
    // The first call's goroutine had to wait: the second one has the connection already, and its request comes first.
    let (first, second) = (call(1, (10, 50)), call(2, (15, 60)));
    let requests = [request(3, (13, 16)), Record { pid: 3, ..request(4, (20, 30)) }];
    assert_eq!(links(&[requests[0], requests[1], first, second]).0, [0, 0, 3, 4]);
    assert_eq!(links(&[requests[0], requests[1], second, first]).0, [0, 0, 4, 3]);
    let second = Record { pid: 1, ..second };
    assert_eq!(links(&[first, second, requests[1]]).0, [0, 0, 2], "the last one before it");
}

#[test]
fn what_fits_several_has_no_link() {
    let elsewhere = call_to("10.0.0.9:443", 2, (10, 50), |_| ());
    let ambiguous = Tally { ambiguous: 1, ..Tally::default() };
    assert_eq!(links(&[call(1, (10, 50)), elsewhere, request(3, (20, 30))]), (vec![0; 3], ambiguous));
    assert_eq!(
        links(&[request(3, (20, 30)), request(4, (20, 30)), call(1, (10, 50))]),
        (vec![0; 3], ambiguous)
    );
    // Method and path tell them apart.
    let posted = call_to("10.0.0.9:443", 2, (10, 50), |call| call.method = "POST");
    assert_eq!(links(&[call(1, (10, 50)), posted, request(3, (20, 30))]).0, [0, 0, 1]);
}

#[test]
fn methods_and_paths_are_compared_as_they_were_meant() {
    type Change = fn(&mut HttpClient<'_>);
    let cases: [(Change, &str, &str, bool); 11] = [
        (|_| (), "GET", "/a", true),
        (|_| (), "HEAD", "/a", false),
        (|_| (), "GET", "/b", false),
        (|_| (), "GET", "http://shop/a", true),
        (|call| call.method = "GET", "GET", "/a?x=1", true),
        (|call| call.path = "", "GET", "/", true),
        (|call| (call.path, call.path_form) = ("/\u{e4} b", PathForm::Decoded), "GET", "/%C3%A4%20b", true),
        (|call| call.path = "/a%2fb", "GET", "/a%2Fb", true),
        (|call| (call.path, call.path_form) = ("/a%2fb", PathForm::Decoded), "GET", "/a%2Fb", false),
        // What is not known as it was sent is not compared.
        (|call| (call.path, call.path_form) = ("//x/y", PathForm::Opaque), "GET", "/z", true),
        (|call| (call.path, call.cut) = ("/lon", &["target"]), "GET", "/long", true),
    ];
    for (index, (change, method, target, expected)) in cases.into_iter().enumerate() {
        let call = call_to("127.0.0.1:80", 1, (10, 50), change);
        let request =
            request_with(2, (20, 30), |request| (request.method, request.target) = (method, target));
        assert_eq!(links(&[call, request]).0[1] == 1, expected, "case {index}");
    }
}

#[test]
fn addresses_are_those_of_one_network() {
    let cases = [
        ("127.0.0.1:40000", "127.0.0.1:40000", Some(7), true),
        ("127.0.0.1:40000", "127.0.0.1:40000", Some(8), false),
        ("127.0.0.1:40000", "127.0.0.1:40000", None, false),
        ("[::1]:40000", "[::1]:40000", Some(8), false),
        ("[fe80::1]:40000", "[fe80::1]:40000", Some(8), false),
        ("10.1.2.3:40000", "10.1.2.3:40000", Some(8), true),
        ("10.1.2.3:40000", "10.1.2.3:40000", None, true),
        ("10.1.2.3:40000", "10.1.2.3:40001", Some(7), false),
        ("[::ffff:10.1.2.3]:40000", "10.1.2.3:40000", Some(7), true),
        ("[2001:db8::1]:40000", "[2001:db8::1]:40000", Some(8), true),
    ];
    for (local, peer, namespace, expected) in cases {
        let mut joiner = Joiner::default();
        let local = local.parse().unwrap();
        let sent =
            call_to("10.0.0.1:80", 1, (10, 50), |call| call.connection.as_mut().unwrap().local = local);
        let got = request_with(2, (20, 30), |request| request.peer = peer);
        assert_eq!(joiner.offer(&sent, Some(7)), None);
        assert_eq!(joiner.offer(&got, namespace).is_some(), expected, "{local} {peer} {namespace:?}");
    }
    let changes: [fn(&mut HttpServer<'_>); 2] =
        [|request| request.peer = "@", |request| request.protocol = (2, 0)];
    for change in changes {
        assert_eq!(links(&[call(1, (10, 50)), request_with(2, (20, 30), change)]).0, [0, 0]);
    }
}

/// Over HTTP/2: on a stream.
fn stream(id: u8, stream: u32, times: (u64, u64)) -> Record<'static> {
    call_to("127.0.0.1:80", id, times, |call| call.connection.as_mut().unwrap().stream = stream)
}

fn served(id: u8, stream: u32, times: (u64, u64)) -> Record<'static> {
    request_with(id, times, |request| (request.protocol, request.stream) = ((2, 0), stream))
}

#[test]
fn a_stream_is_of_one_request() {
    // All at once, on one connection.
    let calls = [1, 2, 3].map(|id| stream(id, u32::from(id) * 2 - 1, (10, 50)));
    let requests = [3, 1, 2].map(|id| served(id + 10, u32::from(id) * 2 - 1, (20, 70)));
    assert_eq!(links(&[calls, requests].concat()).0, [0, 0, 0, 3, 1, 2]);
    assert_eq!(links(&[requests, calls].concat()).0, [0, 0, 0, 11, 12, 13]);
    // Not what came before the call, nor another method, nor what has no stream.
    assert_eq!(links(&[stream(1, 1, (10, 50)), served(2, 1, (11, 70))]).0, [0, 0]);
    let posted = request_with(2, (20, 30), |request| {
        (request.protocol, request.stream, request.method) = ((2, 0), 1, "POST");
    });
    assert_eq!(links(&[stream(1, 1, (10, 50)), posted]).0, [0, 0]);
    assert_eq!(links(&[stream(1, 0, (10, 50)), served(2, 0, (20, 30))]).0, [0, 0]);
    assert_eq!(links(&[stream(1, 1, (10, 50)), request(2, (20, 30))]).0, [0, 0]);
}

#[test]
fn an_address_may_have_been_that_of_another_connection() {
    // Whichever comes first: the request of an answered call has begun by its end.
    let (old, new, request) = (stream(1, 1, (10, 11)), stream(2, 1, (30, 50)), served(3, 1, (40, 45)));
    assert_eq!(links(&[old, new, request]).0, [0, 0, 2]);
    assert_eq!(links(&[old, request, new]).0, [0, 0, 3]);
    // That of one that was given up may come a little later.
    let given_up = |times| {
        call_to("127.0.0.1:80", 1, times, |call| {
            call.status = None;
            call.connection.as_mut().unwrap().stream = 1;
        })
    };
    assert_eq!(links(&[given_up((10, 11)), served(3, 1, (11 + LATE, 12 + LATE))]).0, [0, 1]);
    assert_eq!(links(&[given_up((10, 11)), served(3, 1, (12 + LATE, 13 + LATE))]).0, [0, 0]);
    // Two clients of one address, as of two hosts behind something that hides them.
    let elsewhere = call_to("10.0.0.9:443", 2, (10, 50), |call| call.connection.as_mut().unwrap().stream = 1);
    let ambiguous = Tally { ambiguous: 1, ..Tally::default() };
    assert_eq!(links(&[stream(1, 1, (10, 50)), elsewhere, served(3, 1, (20, 30))]), (vec![0; 3], ambiguous));
}

/// A stream that is open for long is told of in pieces, of which the last one has the link.
#[test]
fn of_a_call_in_pieces_the_last_one_is_linked() {
    let (local, peer) = (LOCAL.parse().unwrap(), "127.0.0.1:80".parse().unwrap());
    let connection = Some(Connection { since: 60, local, peer, stream: 3 });
    let piece = |id, times, number, is_open, parent, operation: &Operation<'static>| Record {
        segment: Some(Segment { number, is_open, before: None }),
        parent,
        ..record(id, times, operation)
    };
    let call = GrpcClient { method: "/a/B", code: Some(0), connection, ..GrpcClient::default() };
    let call = |times, number, is_open| piece(1, times, number, is_open, None, &Operation::GrpcClient(call));
    let served = GrpcServer { method: "/a/B", stream: 3, peer: LOCAL.parse().ok(), ..GrpcServer::default() };
    let served = |times, number, is_open, parent| {
        piece(2, times, number, is_open, parent, &Operation::GrpcServer(served))
    };
    // The pieces of both sides need not be cut at the same times.
    let pieces = [
        served((12, 20), 1, true, None),
        call((10, 22), 1, true),
        served((20, 60), 2, false, None),
        call((22, 61), 2, false),
    ];
    assert_eq!(links(&pieces).0, [0, 0, 0, 2]);
    let mut own = [0; 8];
    own.copy_from_slice(&segment::id(u64::from_ne_bytes([1; 8]), 2).to_ne_bytes());
    let mut child = served((20, 60), 2, false, Some(Parent { span_id: own, rule: ParentRule::Incoming }));
    child.trace_id = [1; 16];
    assert_eq!(links(&[child, call((22, 61), 2, false)]), (vec![0, 0], Tally::default()));
}

#[test]
fn a_call_of_grpc_is_a_request_of_http2() {
    let connection = |stream| {
        let (local, peer) = (LOCAL.parse().unwrap(), "127.0.0.1:80".parse().unwrap());
        Some(Connection { since: 49, local, peer, stream })
    };
    let of = |id, stream, method| {
        let call = GrpcClient { method, connection: connection(stream), ..GrpcClient::default() };
        record(id, (10, 50), &Operation::GrpcClient(call))
    };
    let at = |id, stream, method| {
        let request = GrpcServer { method, stream, peer: LOCAL.parse().ok(), ..GrpcServer::default() };
        record(id, (20, 30), &Operation::GrpcServer(request))
    };
    assert_eq!(
        links(&[of(1, 3, "/a/B"), of(2, 5, "/a/B"), at(3, 5, "/a/B"), at(4, 3, "/a/B")]).0,
        [0, 0, 2, 1]
    );
    assert_eq!(links(&[at(3, 5, "/a/B"), of(2, 5, "/a/B")]).0, [0, 3]);
    let by_net_http = request_with(2, (20, 30), |request| {
        (request.protocol, request.stream, request.method, request.target) = ((2, 0), 3, "POST", "/a/B");
    });
    assert_eq!(links(&[of(1, 3, "/a/B"), by_net_http]).0, [0, 1]);
    assert_eq!(links(&[of(1, 3, "/a/B"), at(2, 3, "/a/C")]).0, [0, 0]);
    assert_eq!(links(&[of(1, 0, "/a/B"), at(2, 0, "/a/B")]), (vec![0, 0], Tally::default()));
}

#[test]
fn a_parent_needs_no_link() {
    let mut child = request(2, (20, 30));
    (child.trace_id, child.parent) = ([1; 16], Some(Parent { span_id: [1; 8], rule: ParentRule::Incoming }));
    assert_eq!(links(&[call(1, (10, 50)), child]), (vec![0, 0], Tally::default()));
    child.parent = Some(Parent { span_id: [9; 8], rule: ParentRule::Incoming });
    assert_eq!(links(&[call(1, (10, 50)), child]).0, [0, 1]);
}

#[test]
fn what_is_ambiguous_or_in_vain_is_counted() {
    let other = |id, port: u16, times| {
        let local = SocketAddr::new([10, 0, 0, 1].into(), port);
        call_to("10.0.0.2:80", id, times, |call| call.connection.as_mut().unwrap().local = local)
    };
    let mut joiner = Joiner::default();
    for port in 0..u16::try_from(MAX_WAITING).unwrap() + 3 {
        assert_eq!(joiner.offer(&other(1, port, (10, 50)), None), None);
    }
    assert_eq!(joiner.waiting(), MAX_WAITING as u64);
    let counted = [0, 0, 0, 3];
    let counters = [
        SessionCounter::Joined,
        SessionCounter::JoinAmbiguous,
        SessionCounter::JoinUnmatched,
        SessionCounter::JoinFull,
    ];
    assert_eq!(joiner.tally().counts(), std::array::from_fn(|index| (counters[index], counted[index])));
    // A minute later all are forgotten; the one that comes waits.
    joiner.offer(&other(1, 1, (60 + WAITS, 70 + WAITS)), None);
    assert_eq!((joiner.tally().unmatched, joiner.waiting()), (MAX_WAITING as u64, 1));
    // Of one connection only the last few wait.
    for start in 0..20 {
        joiner.offer(&other(1, 1, (start + WAITS, 70 + WAITS)), None);
    }
    assert_eq!((joiner.tally().unmatched, joiner.waiting()), (13, MAX_ON_CONNECTION as u64));
    let (_, tally) =
        links(&[call(1, (10, 50)), call_to("10.9.9.9:1", 2, (10, 50), |_| ()), request(3, (20, 30))]);
    assert_eq!(tally.counts()[1], (SessionCounter::JoinAmbiguous, 1));
}

/// A table that is full of what was joined is none.
#[test]
fn pairs_take_no_room() {
    let mut joiner = Joiner::default();
    for at in 0..5 * MAX_WAITING as u64 {
        let start = 100 * at;
        assert_eq!(joiner.offer(&call(1, (start, start + 50)), Some(7)), None);
        assert!(joiner.offer(&request(2, (start + 20, start + 30)), Some(7)).is_some(), "{at}");
    }
    assert_eq!(joiner.tally(), Tally { joined: 5 * MAX_WAITING as u64, ..Tally::default() });
    assert!(joiner.calls.order.len() <= 2 * MAX_WAITING);
}
