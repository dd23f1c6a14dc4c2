//! What is known of a connection is kept from request to request.

use lightfoot_probes_abi::in_flight::state;
use lightfoot_probes_abi::{Counter, InFlight, InFlightKey, Process, Text};
use lightfoot_tests::live::{Client, assert_settles};
use lightfoot_tests::probes::HttpSpan;

use crate::watch::{Options, Watch};
use crate::{ALWAYS_ON, BINARY, alone, selected, usual_go, watched};
use crate::{layout::End, send};

/// How many connections wait for their next request, and of how many something is kept.
fn idle_and_kept(watch: &mut Watch) -> (usize, usize) {
    let entries = watch.hash::<InFlightKey, InFlight>("IN_FLIGHT");
    let idle = entries.iter().filter(|entry| entry.as_ref().unwrap().1.state & state::IDLE != 0).count();
    (idle, watch.hash::<InFlightKey, u32>("KEPT").keys().count())
}

fn get(number: usize) -> Vec<u8> {
    let host = "h".repeat(number % 7 + 1);
    format!("GET /body/{number} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// Spans have what their own request came with, and nothing of the one before.
#[test]
fn requests_of_one_connection_after_the_other() {
    let _alone = alone();
    let Some((mut watch, server)) = watched(Options::default(), ALWAYS_ON) else { return };
    let requests = [
        "GET /body/1 HTTP/1.1\r\nHost: first\r\nUser-Agent: one\r\ntraceparent: 00-0000000000000000000000000000000a-000000000000000b-00\r\ntracestate: a=1\r\n\r\n",
        "GET /body/2 HTTP/1.1\r\nHost: second.example\r\n\r\n",
        "POST /body/3 HTTP/1.1\r\nHost: c\r\nUser-Agent: three\r\nContent-Length: 0\r\n\r\n",
    ];
    let (records, ()) = watch.collect(2 * (requests.len() - 1), || {
        for _ in 0..2 {
            let mut client = Client::tcp(server.address);
            for request in requests {
                client.exchange(request.as_bytes()).unwrap().expect("a response");
            }
        }
    });
    let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
    let texts: Vec<_> = spans
        .iter()
        .map(|span| {
            let of = |text| span.text(text).to_owned();
            [Text::Host, Text::UserAgent, Text::Tracestate, Text::RequestLine].map(of)
        })
        .collect();
    // The first is not sampled, for its parent was not.
    let expected = [["second.example", "", "", "GET /body/2"], ["c", "three", "", "POST /body/3"]];
    assert_eq!(texts, [expected, expected].concat());
    let peers: Vec<_> = spans.iter().map(|span| span.text(Text::Peer)).collect();
    assert!(peers[0].starts_with("127.0.0.1:"), "{peers:?}");
    assert!(peers[0] == peers[1] && peers[1] != peers[2] && peers[2] == peers[3], "{peers:?}");
    assert!(spans.iter().all(|span| span.fixed.header.parent_span_id == 0));
    assert_eq!(watch.counters(), [(Counter::Started, 6), (Counter::Ended, 4), (Counter::Unsampled, 2)]);
    drop(server.stop());
}

#[test]
fn a_connection_is_forgotten_when_it_ends() {
    let _alone = alone();
    let Some((mut watch, server)) = watched(Options::default(), ALWAYS_ON) else { return };
    let mut clients: Vec<_> = (0..5).map(|_| Client::tcp(server.address)).collect();
    for round in 1..4 {
        for client in &mut clients {
            client.exchange(&get(round)).unwrap();
        }
        assert_eq!((watch.open_spans(), idle_and_kept(&mut watch)), (0, (5, 5)));
    }
    clients.truncate(2);
    // A server notices the end of a connection a moment later.
    assert_settles(&(0, (2, 2)), || (watch.open_spans(), idle_and_kept(&mut watch)));
    drop(clients);
    assert_settles(&(0, 0), || idle_and_kept(&mut watch));
    assert_eq!(watch.counter(Counter::Ended), 15);
    drop(server.stop());
}

/// Connections that do nothing take at most half of the room for spans, and none of their requests is lost.
#[test]
fn more_connections_than_there_is_room_for() {
    let _alone = alone();
    let Some((mut watch, server)) = watched(Options { in_flight: 8, ..Options::default() }, ALWAYS_ON) else {
        return;
    };
    let mut clients: Vec<_> = (0..20).map(|_| Client::tcp(server.address)).collect();
    let (records, ()) = watch.collect(60, || {
        for number in 0..60 {
            clients[number % 20].exchange(&get(number)).unwrap();
        }
    });
    assert_eq!((records.len(), watch.open_spans(), idle_and_kept(&mut watch)), (60, 0, (4, 4)));
    assert_eq!(watch.counters(), [(Counter::Started, 60), (Counter::Ended, 60)]);
    drop(clients);
    assert_settles(&(0, 0), || idle_and_kept(&mut watch));
    drop(server.stop());
}

/// Where the end of a connection is not probed nothing would ever be forgotten.
#[test]
fn nothing_is_kept_where_connections_end_unseen() {
    let _alone = alone();
    let Some(mut watch) = Watch::load(Options::default()) else { return };
    let (server, facts) = selected(&mut watch, usual_go(), End::FinishRequest, ALWAYS_ON);
    let process = Process { binary: BINARY, layout: BINARY, sampler: ALWAYS_ON, ..Process::default() };
    watch.select(server.pid(), process);
    watch.attach(&server.binary, server.pid(), &facts.sites[..2]);
    let (records, _) = watch.collect(40, || send(server.address, 4, 10, get));
    assert_eq!((records.len(), idle_and_kept(&mut watch)), (40, (0, 0)));
    drop(server.stop());
}
