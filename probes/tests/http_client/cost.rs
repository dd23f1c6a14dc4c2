//! What a client's span costs: traps, reads of user memory, time.

use aya::sys::{Stats, enable_stats};
use lightfoot_probes_abi::layout::{Connect, Layout, Request};
use lightfoot_probes_abi::process::process_flags::{CHILDREN, CONNECTIONS, INFER_PARENTS};
use lightfoot_probes_abi::{Counter, Sampler};
use lightfoot_tests::go::VERSIONS;
use lightfoot_tests::live::{Client, wait_for};

use crate::watch::Options;
use crate::{ALWAYS_ON, BINARY, Watched, alone, usual_go};

/// A target whose `http.Client` ends behind its call of the transport.
fn with_known_caller(options: Options) -> Option<Watched> {
    let return_address = {
        let mut watched = Watched::clients(Options::default())?;
        watched.spans(1, &["many 1"]);
        watched.callers()
    };
    let mut watched = Watched::new(options, usual_go(), false)?;
    let sites = [watched.facts.start, watched.facts.call("net/http.send", &return_address)];
    watched.attach(&sites);
    Some(watched)
}

#[test]
fn two_traps_a_request() {
    let _alone = alone();
    let Some(mut watched) = with_known_caller(Options::default()) else { return };
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let (before, _) = watched.watch.runs();
    watched.spans(1000, &["many 1000"]);
    assert_eq!(watched.watch.runs().0 - before, 2 * 1000);
}

/// How often the target's memory is read by a command that is repeated.
fn reads(watched: &mut Watched, spans: usize, command: &str) -> u64 {
    // Itabs are looked into once.
    watched.spans(spans, &[command]);
    let before = watched.watch.counter(Counter::UserReads);
    watched.spans(spans, &[command]);
    watched.watch.counter(Counter::UserReads) - before
}

/// At the start: goroutine, its structure, return address, request, the goroutine that created it, URL, host, method, path,
/// scheme. At the end: goroutine, its stack, response. A span that is not recorded needs seven of these.
#[test]
fn reads_of_user_memory() {
    let _alone = alone();
    for version in VERSIONS {
        let options = Options { count_reads: true, ..Options::default() };
        let Some(mut watched) = Watched::new(options, version, false) else { return };
        watched.attach_clients();
        assert_eq!(reads(&mut watched, 100, "many 100"), 100 * 13, "{version}");
        watched.set_flags(0);
        assert_eq!(reads(&mut watched, 100, "many 100"), 100 * 12, "{version}: without parents");
        watched.process.sampler = Sampler::default();
        watched.set_flags(CHILDREN | INFER_PARENTS);
        assert_eq!(reads(&mut watched, 0, "many 100"), 100 * 7, "{version}: not recorded");
    }
}

/// Whether connect made a request is one read more, where that is asked for.
#[test]
fn reads_of_a_call() {
    let _alone = alone();
    let options = Options { count_reads: true, ..Options::default() };
    let Some(mut watched) = Watched::new(options, usual_go(), false) else { return };
    watched.attach_clients();
    let before = reads(&mut watched, 100, "many 100");
    // Of a field that is there, and leads to no function of connect.
    let layout = watched.facts.layout;
    let request = Request { get_body: layout.request.url, ..layout.request };
    let connect = Connect { of_message: 1, of_nothing: 1 };
    watched.watch.add_layout(BINARY, &Layout { request, connect, ..layout });
    assert_eq!(reads(&mut watched, 100, "many 100"), before + 100);
}

/// A server's span costs three reads more where it may have children, and three more where goroutines may tell.
/// Its child through the context costs one less than others: nobody asks who created the goroutine.
#[test]
fn reads_for_parents() {
    let _alone = alone();
    let options = Options { count_reads: true, ..Options::default() };
    let Some(mut watched) = Watched::new(options, usual_go(), false) else { return };
    watched.attach_server();
    let reads_with = |watched: &mut Watched, path: &str, flags: u64| {
        watched.set_flags(flags);
        let mut client = Client::tcp(watched.target.address);
        // The headers that the target's own client sends.
        let headers = "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n";
        let mut send = || assert_eq!(client.status(path, headers).unwrap(), 200);
        send();
        let before = watched.watch.counter(Counter::UserReads);
        (0..100).for_each(|_| send());
        let after = watched.watch.counter(Counter::UserReads);
        drop(client);
        // The end of the connection takes a read, too, which is not among those of the next one.
        let is_over = || watched.watch.counter(Counter::UserReads) > after;
        wait_for("the end of the connection", || is_over().then_some(())).unwrap();
        after - before
    };
    let none = reads_with(&mut watched, "/x", 0);
    assert_eq!(reads_with(&mut watched, "/x", CHILDREN) - none, 300);
    assert_eq!(reads_with(&mut watched, "/x", CHILDREN | INFER_PARENTS) - none, 600);
    // All requests of a connection have the peer's address in common, and what two of the three reads bring.
    assert_eq!(reads_with(&mut watched, "/x", CHILDREN | INFER_PARENTS | CONNECTIONS) - none, 300);
    watched.attach_clients();
    let with_child = reads_with(&mut watched, "/front/context/1", CHILDREN | INFER_PARENTS);
    // The request's server is this one.
    assert_eq!(with_child, 2 * (none + 600) + 100 * 13);
}

/// The median run time of a request with each of these settings, taken in turns: the machine is never as idle as it seems.
fn print_times(watched: &mut Watched, settings: &[(&str, Sampler, u64)]) {
    const REQUESTS: u32 = 2000;
    let mut times = vec![Vec::new(); settings.len()];
    for _ in 0..15 {
        for ((_, sampler, flags), times) in settings.iter().zip(&mut times) {
            watched.process.sampler = *sampler;
            watched.set_flags(*flags);
            let wanted = if sampler.kind == ALWAYS_ON.kind { REQUESTS as usize } else { 0 };
            let (_, before) = watched.watch.runs();
            watched.spans(wanted, &[&format!("many {REQUESTS}")]);
            times.push(watched.watch.runs().1.checked_sub(before).unwrap() / REQUESTS);
        }
    }
    for ((name, ..), mut times) in settings.iter().zip(times) {
        times.sort();
        println!("{name}: BPF run time of a request {:?} at best, {:?} the median", times[0], times[7]);
    }
}

#[test]
#[ignore = "a measurement, for an idle machine and a release build"]
fn time() {
    let _alone = alone();
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let both = CHILDREN | INFER_PARENTS;
    let Some(mut watched) = with_known_caller(Options::default()) else { return };
    let settings =
        [("client, recorded", ALWAYS_ON, both), ("client, not recorded", Sampler::default(), both)];
    print_times(&mut watched, &settings);
    let Some(mut watched) = Watched::new(Options::default(), usual_go(), false) else { return };
    watched.attach_server();
    let settings = [
        ("its server", ALWAYS_ON, both),
        ("its server, contexts alone", ALWAYS_ON, CHILDREN),
        ("its server, no children", ALWAYS_ON, 0),
    ];
    print_times(&mut watched, &settings);
}
