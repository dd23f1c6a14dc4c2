//! What happens at the documented bounds.

use lightfoot_probes_abi::{Counter, Text, limits};
use lightfoot_tests::live::Client;
use lightfoot_tests::probes::{HttpSpan, hex};

use crate::watch::{Options, Watch};
use crate::{ALWAYS_ON, alone, traceparent, watched};

/// Sends the requests over one connection and returns their spans in order.
fn spans(requests: &[String]) -> Option<(Vec<HttpSpan>, Watch)> {
    let (mut watch, server) = watched(Options::default(), ALWAYS_ON)?;
    let (records, ()) = watch.collect(requests.len(), || {
        let mut client = Client::tcp(server.address);
        for request in requests {
            client.exchange(request.as_bytes()).unwrap().expect("a response");
        }
    });
    drop(server.stop());
    Some((records.iter().map(|record| HttpSpan::parse(record)).collect(), watch))
}

#[test]
fn long_strings_are_cut_and_flagged() {
    let _alone = alone();
    let target = format!("/body/{}", "p".repeat(8192));
    let (agent, host, method) = ("a".repeat(257), "h".repeat(300), "M".repeat(2000));
    let kept = "u".repeat(Text::UserAgent.limit());
    let fitting = format!("/body/{}", "f".repeat(Text::RequestLine.limit() - "GET /body/".len()));
    let head = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
    let Some((spans, watch)) = spans(&[
        head(&target, "short") + "\r\n",
        head("/body/agent", "short") + &format!("User-Agent: {agent}\r\n\r\n"),
        head("/body/kept", "short") + &format!("User-Agent: {kept}\r\n\r\n"),
        head("/body/host", &host) + "\r\n",
        format!("{method} /body/method HTTP/1.1\r\nHost: short\r\n\r\n"),
        head(&fitting, "short") + "\r\n",
    ]) else {
        return;
    };
    let [long, agents, kept_agent, hosts, methods, fits] = &spans[..] else { panic!("{}", spans.len()) };
    assert_eq!(long.text(Text::RequestLine), &format!("GET {target}")[..Text::RequestLine.limit()]);
    assert_eq!((long.method(), long.fixed.header.cut), ("GET", 1 << Text::RequestLine as u8));
    assert_eq!(agents.text(Text::UserAgent), &agent[..Text::UserAgent.limit()]);
    assert_eq!(agents.fixed.header.cut, 1 << Text::UserAgent as u8);
    assert_eq!((kept_agent.text(Text::UserAgent), kept_agent.fixed.header.cut), (kept.as_str(), 0));
    assert_eq!(hosts.text(Text::Host), &host[..Text::Host.limit()]);
    assert_eq!(hosts.fixed.header.cut, 1 << Text::Host as u8);
    assert_eq!(methods.method(), &method[..Text::RequestLine.limit()]);
    assert_eq!(methods.fixed.header.cut, 1 << Text::RequestLine as u8);
    assert_eq!((fits.target(), fits.fixed.header.cut), (fitting.as_str(), 0));
    assert_eq!(watch.counter(Counter::CutString), 4);
    // All limits at once fit into one record: nothing cut one string for another's sake.
    assert!(spans.iter().all(|span| span.text(Text::Peer).starts_with("127.0.0.1:")));
}

#[test]
fn a_tracestate_is_kept_whole_or_dropped() {
    let _alone = alone();
    let request = |states: &[String]| {
        let states: String = states.iter().map(|state| format!("tracestate: {state}\r\n")).collect();
        format!("GET /body/1 HTTP/1.1\r\nHost: a\r\ntraceparent: {}\r\n{states}\r\n", traceparent(1))
    };
    let of_length = |length: usize| format!("a={}", "x".repeat(length - 2));
    let most = Text::Tracestate.limit();
    let table = [
        (vec![of_length(most)], true),
        (vec![of_length(most + 1)], false),
        (vec![of_length(most / 2), of_length(most / 2 - 1)], true),
        (vec![of_length(most / 2), of_length(most / 2)], false),
        (vec!["a=1".to_owned(); limits::TRACESTATE_VALUES], true),
        (vec!["a=1".to_owned(); limits::TRACESTATE_VALUES + 1], false),
    ];
    let requests: Vec<_> = table.iter().map(|(states, _)| request(states)).collect();
    let Some((spans, watch)) = spans(&requests) else { return };
    assert_eq!(spans.len(), table.len());
    for (span, (states, is_kept)) in spans.iter().zip(&table) {
        let expected = if *is_kept { states.join(",") } else { String::new() };
        assert_eq!(span.text(Text::Tracestate), expected);
        assert_eq!(span.fixed.header.cut != 0, !is_kept);
        assert_eq!(
            hex(span.fixed.header.parent_span_id),
            "0000000000000002",
            "the parent is kept all the same"
        );
    }
    assert_eq!(watch.counter(Counter::TracestateDropped), 3);
}

#[test]
fn many_headers_are_searched_up_to_a_bound() {
    let _alone = alone();
    let request = |headers: usize, name: &str| {
        let headers: String = (0..headers).map(|number| format!("{name}{number:04}: x\r\n")).collect();
        format!("GET /body/1 HTTP/1.1\r\nHost: a\r\n{headers}traceparent: {}\r\n\r\n", traceparent(1))
    };
    let table = [
        (request(100, "X-Some-Header-"), true),
        (request(limits::HEADER_CANDIDATES - 1, "X-Len-"), true),
        // Go gives these maps more groups, or more names of ten letters, than are read.
        (request(400, "X-Some-Header-"), false),
        (request(100, "X-Len-"), false),
    ];
    let requests: Vec<_> = table.iter().map(|(request, _)| request.clone()).collect();
    let Some((spans, watch)) = spans(&requests) else { return };
    assert_eq!(spans.len(), table.len());
    for (span, (_, is_certain)) in spans.iter().zip(&table) {
        // Beyond the bound it may be found or not: the order in a map is random.
        assert!(!is_certain || span.fixed.header.parent_span_id != 0);
    }
    assert!(watch.counter(Counter::HeaderBound) >= 2);
    assert_eq!(watch.counter(Counter::Ended), 4);
}
