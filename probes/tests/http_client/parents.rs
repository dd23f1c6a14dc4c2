//! The parents of clients' spans. The handler of `/front/MODE/N` requests `/back/MODE/N`, so the paths tell who belongs to
//! whom.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use lightfoot_probes_abi::in_flight::state;
use lightfoot_probes_abi::process::process_flags::{CHILDREN, INFER_PARENTS};
use lightfoot_probes_abi::record::http_flags;
use lightfoot_probes_abi::{Counter, InFlight, InFlightKey, ParentRule, Text};
use lightfoot_tests::go::VERSIONS;
use lightfoot_tests::live::Client;
use lightfoot_tests::probes::HttpSpan;

use crate::watch::Options;
use crate::{Watched, alone, usual_go};

/// What the handler does, and which rule finds the parent of its request.
const MODES: [(&str, ParentRule); 17] = [
    ("context", ParentRule::Context),
    ("derived", ParentRule::Context),
    ("pointer", ParentRule::Context),
    ("value", ParentRule::Context),
    ("gin", ParentRule::Context),
    ("deep", ParentRule::Context),
    ("client-timeout", ParentRule::Context),
    ("pool", ParentRule::Context),
    ("late", ParentRule::Context),
    ("spawned-with-context", ParentRule::Context),
    ("goroutine", ParentRule::Goroutine),
    ("grown", ParentRule::Goroutine),
    ("spawned", ParentRule::ParentGoroutine),
    ("spawned-twice", ParentRule::Root),
    ("pool-background", ParentRule::Root),
    // A worker that a request has started works for the next one on the same connection.
    ("start-worker", ParentRule::Root),
    ("feed-worker", ParentRule::Root),
];

/// A target with all sites.
fn watched(options: Options) -> Option<Watched> {
    let mut watched = Watched::clients(options)?;
    watched.attach_server();
    Some(watched)
}

/// Requests each of these over one connection and returns the spans. `wanted` is their number, once the last is there.
fn requested(watched: &mut Watched, paths: &[String], headers: &str, wanted: usize) -> Vec<HttpSpan> {
    let Watched { watch, target, .. } = watched;
    let (records, ()) = watch.collect(wanted, || {
        let mut client = Client::tcp(target.address);
        for path in paths {
            assert_eq!(client.status(path, headers).unwrap(), 200, "{path}");
        }
        target.ask("wait");
    });
    records.iter().map(|record| HttpSpan::parse(record)).collect()
}

/// The client's spans of requests for `/back/…`, and the server's span of `/front/…` for each that has one.
fn pairs(spans: &[HttpSpan]) -> Vec<(&HttpSpan, Option<&HttpSpan>)> {
    let is_front = |span: &&HttpSpan| !span.is_client() && span.target().starts_with("/front/");
    let fronts: HashMap<_, _> = spans
        .iter()
        .filter(is_front)
        .map(|span| (span.target().replacen("front", "back", 1), span))
        .collect();
    let clients = spans.iter().filter(|span| span.is_client());
    clients.map(|client| (client, fronts.get(client.path()).copied())).collect()
}

/// No parent is better than a wrong one.
fn assert_right(client: &HttpSpan, front: Option<&HttpSpan>) {
    match client.rule() {
        ParentRule::Root => assert_eq!(client.fixed.header.parent_span_id, 0),
        _ => assert!(front.is_some_and(|front| client.is_child_of(front)), "{client:#?} {front:#?}"),
    }
}

#[test]
fn every_rule_in_every_go() {
    let _alone = alone();
    let everywhere = VERSIONS.into_iter().map(|version| (version, false));
    for (version, position_independent) in everywhere.chain([(usual_go(), true)]) {
        let options = Options::default();
        let Some(mut watched) = Watched::new(options, version, position_independent) else { return };
        watched.attach_clients();
        watched.attach_server();
        every_rule(&mut watched, &version.to_string());
    }
}

/// The entries of the calls that a connection's goroutine makes are kept, too, and all go with the connection, also where that
/// ends within a call.
#[test]
fn calls_from_the_handlers_of_one_connection() {
    let _alone = alone();
    let Some(mut watched) = watched(Options::default()) else { return };
    let idle_and_kept = |watched: &mut Watched| {
        let entries = watched.watch.hash::<InFlightKey, InFlight>("IN_FLIGHT");
        let idle = entries.iter().filter(|entry| entry.as_ref().unwrap().1.state & state::IDLE != 0).count();
        (idle, watched.watch.hash::<InFlightKey, u32>("KEPT").keys().count())
    };
    let mut client = Client::tcp(watched.target.address);
    let Watched { watch, .. } = &mut watched;
    let (records, ()) = watch.collect(9, || {
        for number in 0..3 {
            assert_eq!(client.status(&format!("/front/goroutine/{number}"), "").unwrap(), 200);
        }
    });
    let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
    let pairs = pairs(&spans);
    assert_eq!(pairs.len(), 3);
    for (client, front) in pairs {
        assert_eq!(client.rule(), ParentRule::Goroutine);
        assert_right(client, front);
    }
    // This connection, the call in it, and the connection of the target's own client.
    assert_eq!(idle_and_kept(&mut watched), (3, 3));
    let (records, ()) = watched.watch.collect(1, || {
        assert!(client.get("/front/panicking/1", "").is_ok_and(|response| response.is_none()));
    });
    let [panicked] = &records.iter().map(|record| HttpSpan::parse(record)).collect::<Vec<_>>()[..] else {
        panic!()
    };
    assert!(panicked.has(http_flags::PANICKED));
    assert_eq!(idle_and_kept(&mut watched), (1, 1));
    watched.assert_counts(&[(Counter::Started, 11), (Counter::Ended, 10), (Counter::Abandoned, 1)]);
}

/// A hook for the states of connections may send requests itself: between two requests, on the goroutine that serves them.
#[test]
fn a_call_between_two_requests_of_a_connection() {
    let _alone = alone();
    let Some(mut watched) = watched(Options::default()) else { return };
    let Watched { watch, target, .. } = &mut watched;
    target.ask("report");
    let (records, ()) = watch.collect(4, || {
        let mut client = Client::tcp(target.address);
        for path in ["/first", "/second"] {
            assert_eq!(client.status(path, "User-Agent: one\r\n").unwrap(), 200, "{path}");
            // The hook runs behind the answer.
            thread::sleep(Duration::from_millis(200));
        }
    });
    let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
    let of = |target: &str, is_client| {
        let mut found = spans.iter().filter(|span| span.is_client() == is_client && span.target() == target);
        found.next().unwrap_or_else(|| panic!("{target} in {spans:#?}"))
    };
    let (first, second) = (of("/first", false), of("/second", false));
    let reported = "/a-path-that-is-longer-than-an-address";
    let (call, served) = (of(reported, true), of(reported, false));
    assert_eq!(call.rule(), ParentRule::Root);
    assert_eq!(call.fixed.header.goid, first.fixed.header.goid);
    assert_eq!(second.fixed.header.goid, first.fixed.header.goid);
    assert_eq!(second.text(Text::Peer), first.text(Text::Peer));
    assert_ne!(second.text(Text::Peer), served.text(Text::Peer));
    let agents = [first, second].map(|span| span.text(Text::UserAgent));
    assert_eq!(agents, ["one", "one"]);
    watched.assert_counts(&[(Counter::Started, 4), (Counter::Ended, 4)]);
}

#[test]
fn older_ways_to_attach() {
    let _alone = alone();
    for program in ["on_site", "on_site_by_address"] {
        let Some(mut watched) = watched(Options { program, ..Options::default() }) else { continue };
        every_rule(&mut watched, program);
    }
}

fn every_rule(watched: &mut Watched, name: &str) {
    const EACH: usize = 10;
    let paths: Vec<_> =
        (0..EACH).flat_map(|number| MODES.map(|(mode, _)| format!("/front/{mode}/{number}"))).collect();
    // One request makes a span, and unless it only starts a worker two more, of the client and of its server.
    let wanted = EACH * (1 + 3 * (MODES.len() - 1));
    let spans = requested(watched, &paths, "", wanted);
    assert_eq!(spans.len(), wanted, "{name}");
    let pairs = pairs(&spans);
    assert_eq!(pairs.len(), EACH * (MODES.len() - 1), "{name}");
    let mut inferred = 0;
    for (client, front) in &pairs {
        assert_right(client, *front);
        let mode = client.path().split('/').nth(2).unwrap();
        let (_, rule) = *MODES.iter().find(|(name, _)| *name == mode).unwrap();
        if rule == ParentRule::ParentGoroutine {
            // A goroutine may have moved to another processor, whose ids prove nothing.
            inferred += usize::from(client.rule() == rule);
        } else {
            assert_eq!(client.rule(), rule, "{name}: {mode}");
        }
    }
    assert!(inferred > EACH / 2, "{name}: {inferred} of {EACH} children were proven younger");
    let is_back = |span: &&HttpSpan| !span.is_client() && span.target().starts_with("/back/");
    assert!(spans.iter().filter(is_back).all(|span| span.rule() == ParentRule::Root), "{name}");
    let expected = [(Counter::Started, wanted as u64), (Counter::Ended, wanted as u64)];
    let mut counters = watched.watch.counters();
    // See the tests of servers: maps whose last slots lie on a page that was never touched.
    counters.retain(|(counter, _)| *counter != Counter::ReadFault || name.starts_with('1'));
    assert_eq!(counters, expected, "{name}");
}

#[test]
fn rules_that_are_switched_off() {
    let _alone = alone();
    let Some(mut watched) = watched(Options::default()) else { return };
    let rules = |watched: &mut Watched, number: usize| {
        let modes = ["context", "pool", "goroutine", "spawned"];
        let paths = modes.map(|mode| format!("/front/{mode}/{number}"));
        let spans = requested(watched, &paths, "", 3 * modes.len());
        let rules: Vec<_> = pairs(&spans)
            .into_iter()
            .map(|(client, front)| {
                assert_right(client, front);
                client.rule()
            })
            .collect();
        rules
    };
    watched.set_flags(CHILDREN);
    let found = rules(&mut watched, 1);
    assert_eq!(found, [ParentRule::Context, ParentRule::Context, ParentRule::Goroutine, ParentRule::Root]);
    watched.set_flags(INFER_PARENTS);
    let found = rules(&mut watched, 2);
    assert_eq!(found, [ParentRule::Goroutine, ParentRule::Root, ParentRule::Goroutine, ParentRule::Root]);
}

/// A trace goes on from a caller through the server to its own calls, and so does the decision to record it.
#[test]
fn a_remote_parent() {
    let _alone = alone();
    let Some(mut watched) = watched(Options::default()) else { return };
    let traceparent = |flags: &str| format!("traceparent: 00-{:032x}-{:016x}-{flags}\r\n", 0x77, 0x88);
    let path = ["/front/context/1".to_owned()];
    let spans = requested(&mut watched, &path, &traceparent("01"), 3);
    let [(client, Some(front))] = pairs(&spans)[..] else { panic!("{spans:#?}") };
    assert_right(client, Some(front));
    assert_eq!(client.rule(), ParentRule::Context);
    let header = &client.fixed.header;
    assert_eq!((header.trace_id, header.trace_flags), ([0, 0x77_u64.to_be()], 1));
    assert_eq!(front.fixed.header.parent_span_id, 0x88_u64.to_be());

    for mode in ["context", "pool", "goroutine", "spawned-off"] {
        let mut is_left_out = |number: usize| {
            let before = watched.watch.counter(Counter::Unsampled);
            let path = [format!("/front/{mode}/{number}")];
            // The request that is sent carries no header, so its server starts a trace.
            let spans = requested(&mut watched, &path, &traceparent("00"), 1);
            let calls: Vec<_> = spans.iter().filter(|span| span.is_client()).collect();
            assert!(calls.iter().all(|call| call.rule() == ParentRule::Root), "{mode} {spans:#?}");
            let unsampled = watched.watch.counter(Counter::Unsampled) - before;
            println!("{mode}: {} calls, {unsampled} unsampled", calls.len());
            calls.is_empty() && unsampled == 2
        };
        // What is inferred may be missed (docs/parents.md): a goroutine that has moved to another processor proves nothing by its id.
        let tries = if mode == "spawned-off" { 5 } else { 1 };
        assert!((2..2 + tries).any(&mut is_left_out), "{mode}");
    }
}

/// Many at once, while the garbage collector runs, contexts are dropped for newer ones and spans are lost.
#[test]
fn nothing_is_linked_wrongly() {
    let _alone = alone();
    for options in [
        Options::default(),
        Options { contexts: 8, ..Options::default() },
        Options { in_flight: 24, ..Options::default() },
    ] {
        let Some(mut watched) = watched(options) else { return };
        let (clients, each) = (24, 40);
        let Watched { watch, target, .. } = &mut watched;
        let address = target.address;
        let (mut records, ()) = watch.collect(0, || {
            thread::scope(|scope| {
                for number in 0..clients {
                    scope.spawn(move || {
                        let mut client = Client::tcp(address);
                        for request in 0..each {
                            // Not those that start a worker, which one at a time can do.
                            let (mode, _) = MODES[(number + request) % (MODES.len() - 2)];
                            let path = format!("/front/{mode}/{}", number * each + request);
                            assert_eq!(client.status(&path, "").unwrap(), 200);
                        }
                    });
                }
                for _ in 0..20 {
                    target.ask("gc");
                }
            });
            target.ask("wait");
        });
        // A server notices a moment later that it is done.
        thread::sleep(Duration::from_millis(200));
        watch.drain(&mut records);
        let spans: Vec<_> = records.iter().map(|record| HttpSpan::parse(record)).collect();
        let pairs = pairs(&spans);
        let mut found = HashMap::<_, usize>::new();
        for (client, front) in &pairs {
            let parent = client.fixed.header.parent_span_id;
            if parent != 0 && front.is_none_or(|front| front.fixed.header.span_id != parent) {
                let of_parent = |span: &&HttpSpan| span.fixed.header.span_id == parent;
                println!("its parent is {:#?}", spans.iter().find(of_parent));
            }
            assert_right(client, *front);
            *found.entry(client.fixed.header.parent_rule).or_default() += 1;
        }
        let count = |counter| watched.watch.counter(counter);
        println!(
            "{} spans of clients by rule {found:?}; {} contexts dropped, {} spans lost",
            pairs.len(),
            count(Counter::ContextEvicted),
            count(Counter::InFlightFull)
        );
        assert_eq!(count(Counter::Started), spans.len() as u64 + count(Counter::RingFull));
        assert_eq!(watched.watch.open_spans(), 0);
        let requests = clients * each;
        if options.in_flight == Options::default().in_flight {
            assert_eq!(pairs.len(), requests);
        } else {
            assert!(count(Counter::InFlightFull) > 0);
        }
        assert_eq!(count(Counter::ContextEvicted) > 0, options.contexts < 4096);
        if options.contexts == 4096 && options.in_flight == 1024 {
            let rules =
                |of: &[ParentRule]| -> usize { of.iter().filter_map(|rule| found.get(&(*rule as u8))).sum() };
            // Ten of fifteen have a context, two more their goroutine.
            let sure = rules(&[ParentRule::Context, ParentRule::Goroutine]);
            assert!(sure * 15 >= requests * 12 - 15 * 15, "{found:?}");
        }
    }
}
