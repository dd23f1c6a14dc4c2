//! `tracestate` over HTTP/2 and by gRPC: what a request or a call came with goes out with those on its behalf.

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::watched::NO_CALLER_IS_LATE;
use lightfoot_tests::live::{Driven, Watched};

use super::grpc::served;
use super::http2::{CLIENTS, Served};
use super::refusal::is_refused;
use super::states::{PARENT, request};

const COUNTED: [&str; 3] = ["propagated", "propagated_states", "propagation_state_dropped"];

/// What a request or a call comes with in its `tracestate`, one value a header, and what goes out.
struct Case {
    came: Vec<String>,
    sent: Option<String>,
    is_dropped: bool,
}

fn cases() -> Vec<Case> {
    let handed_on = |came: &[&str], value: &str| Case {
        came: came.iter().map(|&value| value.to_owned()).collect(),
        sent: Some(value.to_owned()),
        is_dropped: false,
    };
    let dropped = |value: &str| Case { came: vec![value.to_owned()], sent: None, is_dropped: true };
    // HPACK has the length of a value in one byte, in two, in three.
    let lengths = [3, 126, 127, 254, 255, 256, 512].map(|length| {
        let first = length.min(256);
        let rest =
            if length > first { format!(",b={}", "y".repeat(length - first - 3)) } else { String::new() };
        format!("a={}{rest}", "x".repeat(first - 2))
    });
    let members =
        |count: usize| (0..count).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",");
    let mut cases: Vec<_> = lengths.iter().map(|value| handed_on(&[value], value)).collect();
    cases.extend([
        handed_on(&["foo=1", "bar=2"], "foo=1,bar=2"),
        handed_on(&["foo=1,", ""], "foo=1,,"),
        handed_on(&[&members(32)], &members(32)),
        Case { came: Vec::new(), sent: None, is_dropped: false },
        dropped(&members(33)),
        dropped("foo=bar=baz"),
    ]);
    cases
}

/// What comes over HTTP/2 may have blanks at its ends, which no value may have that goes out over it.
fn blanks() -> Vec<Case> {
    let case = |value: &str, sent: Option<&str>| Case {
        came: vec![value.to_owned()],
        sent: sent.map(str::to_owned),
        is_dropped: sent.is_none(),
    };
    vec![
        case("foo=1", Some("foo=1")),
        case("foo=1 , bar=2", Some("foo=1 , bar=2")),
        case(" foo=1", None),
        case("foo=1 ", None),
        case("\tfoo=1", None),
        case("foo=1,bar=2\t", None),
    ]
}

#[test]
fn what_a_request_came_with_goes_out_over_http2() {
    for &minor in Extent::of_environment().some_of(&[21, 27, 26]) {
        let mut served = Served::start(minor, Mode::Plain);
        let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
        let watched =
            Watched::start_with(Program::PropagationHttp2, minor, Mode::Plain, &arguments, |_| Ok(()));
        let Some(mut watched) = watched.unwrap() else { return };
        let address = watched.program.ask("serve").unwrap().remove(0);
        let mut results = Vec::new();
        for client in CLIENTS {
            let to = served.address(client, false).to_owned();
            // With a header as long as this the connection's buffer for headers has no room, and they are moved.
            for fill in [0, 150] {
                let path = format!("/on?client={client}&address={to}&fill={fill}");
                for case in cases() {
                    let lines: Vec<_> =
                        case.came.iter().map(|value| format!("tracestate: {value}")).collect();
                    let lines = [&[PARENT.to_owned()], &lines[..]].concat();
                    let counted = counted(&watched, || request(&address, &path, &lines));
                    results.push((
                        format!("{client} {fill}"),
                        case,
                        counted,
                        served.server.ask("seen").unwrap(),
                    ));
                }
            }
            let path = format!("/on?client={client}&address={to}");
            for case in blanks() {
                let counted = counted(&watched, || ask(&mut served.server, &address, &path, &case.came));
                results.push((
                    format!("{client} over HTTP/2"),
                    case,
                    counted,
                    served.server.ask("seen").unwrap(),
                ));
            }
            // Its own is all that goes out.
            let came = ["foo=1".to_owned()];
            let path = format!("{path}&own=1");
            let own = counted(&watched, || ask(&mut served.server, &address, &path, &came));
            let sent = Case { came: came.to_vec(), sent: Some("own=1".to_owned()), is_dropped: false };
            results.push((
                format!("{client} own"),
                sent,
                [own[0], own[1] + 2, own[2]],
                served.server.ask("seen").unwrap(),
            ));
        }
        let (build, (_, outcome)) = (watched.build, watched.end().unwrap());
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        for (what, case, counted, seen) in results {
            let what = format!("{build} {what} {:?}: {seen:?}", case.came);
            let wanted = case.sent.as_ref().map(|value| format!(" tracestate={value} user-agent="));
            assert_eq!(seen.len(), 2, "{what}");
            for line in &seen {
                let is_sent = match &wanted {
                    Some(wanted) => line.contains(wanted),
                    None => !line.contains("tracestate"),
                };
                let (_, context) = line.split_once(" traceparent=").unwrap_or_else(|| panic!("{what}"));
                let context = context.split(' ').next().unwrap();
                let span = outcome
                    .spans
                    .iter()
                    .find(|span| context == format!("00-{}-{}-01", span.trace_id, span.span_id));
                let is_its = span.is_some_and(|span| span.kind == 3 && PARENT.contains(&span.trace_id));
                let filled = line.contains(&format!(" x-fill={}", "x".repeat(150)));
                assert!(is_sent && is_its && line.contains(" accept-encoding=gzip"), "{what}");
                assert_eq!(filled, what.contains(" 150 "), "{what}");
            }
            assert_eq!(
                counted,
                [2, 2 * u64::from(case.sent.is_some()), 2 * u64::from(case.is_dropped)],
                "{what}"
            );
        }
    }
}

#[test]
fn what_a_call_came_with_goes_out_by_grpc() {
    for &minor in Extent::of_environment().some_of(&[26, 27, 21]) {
        // By default since grpc-go 1.83: the header of a connection's first call does not always find room.
        let shares_buffers = minor > 25;
        let (mut server, to) = served(minor, Mode::Plain);
        let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
        let watched =
            Watched::start_with(Program::PropagationGrpc, minor, Mode::Plain, &arguments, |_| Ok(()));
        let Some(mut watched) = watched.unwrap() else { return };
        let address = watched.program.ask("serve").unwrap().remove(0);
        let mut results = Vec::new();
        for (case, own) in cases().into_iter().zip([false; 32]).chain([(cases().remove(0), true)]) {
            let mut pairs = vec![format!("to={to}"), PARENT.replace(": ", "=")];
            pairs.extend(case.came.iter().map(|value| format!("tracestate={value}")));
            if own {
                pairs.push("own=own=1".to_owned());
            }
            let counted = counted(&watched, || {
                server.ask(&format!("ask {address} {}", pairs.join(" "))).unwrap();
            });
            let (seen, states) = (server.ask("seen").unwrap(), server.ask("states").unwrap());
            results.push((case, own, counted, seen, states));
        }
        let (build, (_, outcome)) = (watched.build, watched.end().unwrap());
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        let mut handed_on = 0;
        for (case, own, [propagated, states, dropped], seen, got) in results {
            let what = format!("{build} {:?} {own}: {seen:?} {got:?}", case.came);
            println!("{propagated} {states} {dropped} {what}");
            let has_context: Vec<_> = seen.iter().map(|line| line.contains(" 00-")).collect();
            assert_eq!(has_context.len(), 2, "{what}");
            assert_eq!(propagated, has_context.iter().map(|&has| u64::from(has)).sum::<u64>(), "{what}");
            assert!(has_context[1] && (has_context[0] || shares_buffers), "{what}");
            let lines = got.iter().map(String::as_str).zip(has_context);
            let mut expected = [0, 0];
            for (got, has_context) in lines {
                let sent = match &case.sent {
                    _ if own => "own=1",
                    Some(sent) if has_context => {
                        expected[0] += 1;
                        sent
                    }
                    _ => "",
                };
                expected[1] += u64::from(has_context && case.is_dropped);
                // Without room for it, that is counted.
                if shares_buffers && got.is_empty() && !sent.is_empty() {
                    expected = [expected[0] - 1, expected[1] + 1];
                } else {
                    assert_eq!(got, sent, "{what}");
                }
            }
            assert_eq!([states, dropped], expected, "{what}");
            handed_on += states;
        }
        assert!(handed_on > 0, "{build}");
    }
}

/// To the byte: what both add to the list of headers is their names, their values, and 32 bytes each (RFC 9113, section 6.5.2). The
/// `tracestate` is left out where its longest would not go in, however long it is.
#[test]
fn a_call_has_no_more_headers_than_its_server_takes() {
    const CONTEXT: usize = 11 + 55 + 32;
    const STATE: usize = 10 + 512 + 32;
    let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
    let watched = Watched::start_with(Program::PropagationGrpc, 21, Mode::Plain, &arguments, |_| Ok(()));
    let Some(mut watched) = watched.unwrap() else { return };
    let (mut server, _) = served(21, Mode::Plain);
    let address = watched.program.ask("serve").unwrap().remove(0);
    let mut once = |limit: usize| {
        let to = server.ask(&format!("serve {limit}")).unwrap().remove(0);
        let pairs = format!("to={to} {} tracestate=a=b", PARENT.replace(": ", "="));
        let counted = counted(&watched, || {
            server.ask(&format!("ask {address} {pairs}")).unwrap();
        });
        let seen = server.ask("seen").unwrap();
        let contexts =
            seen.iter().filter(|line| line.starts_with("/case.on/") && line.contains(" 00-")).count();
        let states = server.ask("states").unwrap().iter().filter(|line| *line == "a=b").count();
        (contexts, states, counted)
    };
    // The first call of a connection may be made before grpc-go knows of a limit (`http2Client.reader`: onPrefaceReceipt comes before
    // handleSettings); then it is not as the second one.
    let mut sent = |limit| {
        let tries = (0..5).map(|_| once(limit));
        tries.into_iter().find(|(contexts, states, _)| *contexts != 1 && *states != 1).unwrap()
    };
    // More than the call's own headers take, and less than that with one more.
    let (mut too_few, mut enough) = (400, 400 + CONTEXT);
    while enough - too_few > 1 {
        let limit = usize::midpoint(too_few, enough);
        if sent(limit).0 == 2 { enough = limit } else { too_few = limit }
    }
    let results = [too_few, enough, enough + STATE - 1, enough + STATE].map(sent);
    let (_, outcome) = watched.end().unwrap();
    if is_refused(&outcome) {
        println!("skipped: this kernel lets no program write");
        return;
    }
    println!("{CONTEXT} bytes of {enough} are ours: {results:?}");
    assert_eq!(results, [(0, 0, [0, 0, 0]), (2, 0, [2, 0, 2]), (2, 0, [2, 0, 2]), (2, 2, [2, 2, 0])]);
}

/// What is counted while something runs, of [`COUNTED`].
fn counted(watched: &Watched, run: impl FnOnce()) -> [u64; 3] {
    let before = watched.agent.counts().unwrap();
    run();
    let after = watched.agent.counts().unwrap();
    COUNTED.map(|name| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0))
}

/// Has a program that nobody watches send a request over HTTP/2 with these values.
fn ask(program: &mut Driven, address: &str, path: &str, states: &[String]) {
    let escaped = |value: &String| value.replace(' ', "%20").replace('\t', "%09");
    let headers: Vec<_> = states.iter().map(|value| format!("tracestate={}", escaped(value))).collect();
    program
        .ask(&format!("ask {address} {path} {} {}", PARENT.replace(": ", "="), headers.join(" ")))
        .unwrap();
}
