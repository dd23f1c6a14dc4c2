//! What a call's span costs: traps and reads of user memory.

use aya::sys::{Stats, enable_stats};
use lightfoot_probes_abi::process::process_flags::{CHILDREN, INFER_PARENTS};
use lightfoot_probes_abi::{Counter, Sampler};
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::assert_settles;

use crate::watch::{Options, Watch};
use crate::{Watched, alone};

const CALLS: usize = 100;

/// Of each layout of a server's stream one: `transport.Stream`, `ServerStream` with a pointer to it, and with it.
fn builds() -> [Build; 3] {
    [(Program::OldRpc, 21), (Program::OldRpc, 25), (Program::Rpc, 27)]
        .map(|(program, minor)| Build::here(program, GoVersion::of_minor(minor).unwrap(), Mode::Plain))
}

#[test]
fn the_verifier_takes_all_programs() {
    for program in ["on_site_grpc_multi", "on_site_grpc", "on_site_grpc_by_address"] {
        Watch::load(Options { program, ..Options::default() });
    }
}

#[test]
fn traps() {
    let _alone = alone();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    for build in builds() {
        let Some(mut watched) = Watched::new(build, Options::default()) else { return };
        watched.attach(|facts| &facts.server);
        // Server streams end with a status, errors with another.
        for kind in ["unary", "stream", "error"] {
            let (before, _) = watched.watch.runs();
            assert_eq!(watched.served(CALLS, kind).len(), CALLS, "{build}, {kind}");
            assert_eq!(watched.watch.runs().0 - before, 2 * CALLS as u64, "{build}, {kind}");
        }
        assert_eq!(watched.watch.open_spans(), 0);
        let Some(mut watched) = Watched::new(build, Options::default()) else { return };
        watched.attach(|facts| &facts.client);
        for (kind, traps) in [("unary", 2), ("error", 2), ("stream", 3)] {
            let (before, _) = watched.watch.runs();
            assert_eq!(watched.made(CALLS, kind).len(), CALLS, "{build}, {kind}");
            assert_eq!(watched.watch.runs().0 - before, traps * CALLS as u64, "{build}, {kind}");
        }
        assert_eq!(watched.watch.open_spans(), 0);
    }
}

/// A stream goes on where its call was begun, which takes room for one more. What there is none for is a loss, and not open for ever.
#[test]
fn a_stream_for_which_there_is_no_room_is_counted() {
    let _alone = alone();
    let build = Build::here(Program::Rpc, GoVersion::of_minor(27).unwrap(), Mode::Plain);
    let Some(mut watched) = Watched::new(build, Options { in_flight: 1, ..Options::default() }) else {
        return;
    };
    watched.attach(|facts| &facts.client);
    let Watched { watch, target, other, .. } = &mut watched;
    let command = format!("call {} 3 stream", other.url("grpc").unwrap());
    assert!(target.ask(&command).unwrap().is_empty());
    let expected = vec![(Counter::Started, 3), (Counter::Abandoned, 3), (Counter::EndWithoutStart, 3)];
    assert_settles(&expected, || watch.counters());
    assert_eq!(watch.open_spans(), 0);
}

/// How often the target's memory is read for a call.
fn reads(watched: &mut Watched, calls: impl Fn(&mut Watched)) -> u64 {
    // Itabs are looked into once.
    calls(watched);
    let before = watched.watch.counter(Counter::UserReads);
    calls(watched);
    let reads = watched.watch.counter(Counter::UserReads) - before;
    assert_eq!(reads % CALLS as u64, 0, "the same for each call");
    reads / CALLS as u64
}

/// Served, at the start: the transport's type, goroutine, its structure, the ids of younger ones (3), stream, context with
/// metadata, the map of that and what it has (5), three generations of contexts, method, peer (4). At the end: goroutine, status
/// (2), stack. An error has a message. A stream behind a pointer takes one more.
///
/// Made, at the start: goroutine, its structure, return address, the goroutine that created it, method, target (2), where the stream
/// will be. At the end: goroutine, its stack, what the call left there, the stream's type, attempt, transport, peer (4). An
/// error's status takes four, its message one. A stream within another, as since 1.85, takes two more.
#[test]
fn reads_of_user_memory() {
    let _alone = alone();
    let options = Options { count_reads: true, ..Options::default() };
    let of_builds = [[24, 18, 21], [25, 18, 21], [24, 20, 23]];
    for (build, [served, made, made_stream]) in builds().into_iter().zip(of_builds) {
        let Some(mut watched) = Watched::new(build, options) else { return };
        watched.attach(|facts| &facts.server);
        let served_of =
            |kind| move |watched: &mut Watched| assert_eq!(watched.served(CALLS, kind).len(), CALLS);
        assert_eq!(reads(&mut watched, served_of("unary")), served, "{build}");
        assert_eq!(reads(&mut watched, served_of("error")), served + 1, "{build}");
        watched.select(Sampler::default(), CHILDREN | INFER_PARENTS);
        let command = format!("call {} {CALLS} unary", watched.target.url("grpc").unwrap());
        let unsampled = |watched: &mut Watched| {
            watched.other.ask(&command).unwrap();
        };
        assert_eq!(reads(&mut watched, unsampled), served - 7, "{build}: not recorded");
        let Some(mut watched) = Watched::new(build, options) else { return };
        watched.attach(|facts| &facts.client);
        for (kind, expected) in [("unary", made), ("error", made + 5), ("stream", made_stream)] {
            let made = reads(&mut watched, |watched| assert_eq!(watched.made(CALLS, kind).len(), CALLS));
            assert_eq!(made, expected, "{build}, {kind}");
        }
    }
}

/// The run time of the programs for a call, the least of many rounds: the machine is never as idle as it seems.
#[test]
#[ignore = "a measurement, for an idle machine"]
fn time() {
    let _alone = alone();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let [.., build] = builds();
    for (side, sites) in [("served", true), ("made", false)] {
        let Some(mut watched) = Watched::new(build, Options::default()) else { return };
        watched.attach(|facts| if sites { &facts.server } else { &facts.client });
        let mut times: Vec<_> = (0..30)
            .map(|_| {
                let (_, before) = watched.watch.runs();
                let records =
                    if sites { watched.served(CALLS, "unary") } else { watched.made(CALLS, "unary") };
                assert_eq!(records.len(), CALLS);
                watched.watch.runs().1.checked_sub(before).unwrap() / u32::try_from(CALLS).unwrap()
            })
            .collect();
        times.sort();
        println!("{side}: BPF run time of a call {:?} at best, {:?} the median", times[0], times[15]);
    }
}
