//! What the sites of routers cost and how they fail, with real Go servers. Needs root and uprobe_multi (Linux 6.6).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, too"
)]

mod layout;
#[expect(dead_code, reason = "some of it is for other tests")]
#[path = "../http_server/watch.rs"]
mod watch;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use aya::sys::{Stats, enable_stats};
use lightfoot_probes_abi::layout::Router;
use lightfoot_probes_abi::limits::ROUTE_PARTS;
use lightfoot_probes_abi::user::Record;
use lightfoot_probes_abi::{Counter, Layout, Process, Sampler, SamplerKind, Text};
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::{Client, Server, wait_for};

use layout::{Facts, inspect};
use watch::{Options, Watch};

const ALWAYS_ON: Sampler = Sampler { kind: SamplerKind::AlwaysOn as u32, parent_based: 1, threshold: 0 };
const BINARY: u32 = 7;
const REQUESTS: u64 = 200;

/// Each test loads programs of its own, but their probes would all fire at once.
static ALONE: Mutex<()> = Mutex::new(());

/// A server that is watched, at first without the site of its router.
struct Scene {
    watch: Watch,
    server: Server,
    facts: Facts,
    build: Build,
    binary: PathBuf,
}

impl Scene {
    /// `None` with a message where that is not possible.
    fn set(program: Program, minor: u32, change: impl FnOnce(&mut Layout)) -> Option<Self> {
        let mut watch = Watch::load(Options { count_reads: true, ..Options::default() })?;
        let build = Build::here(program, GoVersion::of_minor(minor).unwrap(), Mode::Plain);
        let server = Server::start(&build.path().unwrap()).unwrap();
        let binary = PathBuf::from(format!("/proc/{}/exe", server.pid()));
        let mut facts = inspect(&binary, BINARY);
        change(&mut facts.layout);
        watch.add_layout(BINARY, &facts.layout);
        let process = Process { binary: BINARY, layout: BINARY, sampler: ALWAYS_ON, ..Process::default() };
        watch.select(server.pid(), process);
        watch.attach(&binary, server.pid(), &facts.sites);
        Some(Self { watch, server, facts, build, binary })
    }

    fn attach_router(&mut self) {
        self.watch.attach(&self.binary, self.server.pid(), &[self.facts.router]);
    }

    /// Sends requests over one connection. Returns the routes of the records, and how many traps and reads of the program's
    /// memory they took, but for the end of the connection.
    fn send(&mut self, path: &str) -> (Vec<String>, u64, u64) {
        let costs = |watch: &Watch| (watch.runs().0, watch.counter(Counter::UserReads));
        let before = costs(&self.watch);
        let request = format!("GET {path} HTTP/1.1\r\nHost: host.test\r\n\r\n");
        let mut client = Client::tcp(self.server.address);
        let wanted = usize::try_from(REQUESTS).unwrap();
        let (records, ()) = self.watch.collect(wanted, || {
            for _ in 0..REQUESTS {
                client.exchange(request.as_bytes()).unwrap().unwrap();
            }
        });
        let after = costs(&self.watch);
        drop(client);
        // A server notices the end of a connection a moment later, which takes a read, and is a run where these are counted.
        let is_run = || after.0 == before.0 || self.watch.runs().0 > after.0;
        let is_over = || is_run() && self.watch.counter(Counter::UserReads) > after.1;
        wait_for("the end of the connection", || is_over().then_some(())).unwrap();
        let route = |record: &Vec<u8>| match Record::parse(record).unwrap() {
            Record::HttpServer(_, texts) => String::from_utf8(texts.get(Text::Route).to_vec()).unwrap(),
            other => panic!("no server's: {other:?}"),
        };
        (records.iter().map(route).collect(), after.0 - before.0, after.1 - before.1)
    }
}

/// One trap, and so many reads of the program's memory more. One of these tells the goroutine, and one fetches the text of
/// the pattern; since Go 1.22 the request's own is not asked for, which saves one.
#[test]
fn one_trap_and_few_reads_a_request() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _statistics = enable_stats(Stats::RunTime);
    let programs = [
        (Program::Gin, "/plain/:number", 3),
        (Program::Echo, "/plain/:number", 3),
        (Program::Chi, "/plain/{number}", 4),
        (Program::Gorilla, "/plain/{number}", 4),
    ];
    for (program, route, reads) in programs {
        for (minor, saved) in [(21, 0), (26, 1)] {
            let Some(mut scene) = Scene::set(program, minor, |_| ()) else { return };
            let (routes, traps, reads_without) = scene.send("/plain/7");
            assert_eq!((routes, traps), (vec![String::new(); 200], 2 * REQUESTS), "{}", scene.build);
            scene.attach_router();
            let (routes, traps, reads_with) = scene.send("/plain/7");
            assert_eq!((routes, traps), (vec![route.to_owned(); 200], 3 * REQUESTS), "{}", scene.build);
            let more = reads_with - reads_without;
            // A bucket of a classic map overflows now and then.
            let expected = (reads - saved) * REQUESTS;
            assert!(more.abs_diff(expected) < 40, "{}: {more} reads more, not {expected}", scene.build);
            assert_eq!(scene.watch.counter(Counter::RouterSite), REQUESTS, "{}", scene.build);
        }
    }
}

/// Without its route, nothing of the span is lost.
#[test]
fn a_route_that_cannot_be_read_is_left_out() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for program in [Program::Gin, Program::Chi, Program::Gorilla] {
        let change = |layout: &mut Layout| {
            for router in layout.routers.iter_mut().filter(|router| **router != Router::UNKNOWN) {
                router.at = 1 << 60;
            }
        };
        let Some(mut scene) = Scene::set(program, 26, change) else { return };
        scene.attach_router();
        assert_eq!(scene.send("/plain/7").0, vec![String::new(); 200], "{}", scene.build);
        let count = |counter| scene.watch.counter(counter);
        assert_eq!([Counter::ReadFault, Counter::Ended].map(count), [REQUESTS; 2], "{}", scene.build);
    }
}

/// More routers within each other than are followed.
#[test]
fn pieces_beyond_the_limit_are_left_out() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut scene) = Scene::set(Program::Chi, 26, |_| ()) else { return };
    scene.attach_router();
    let (routes, ..) = scene.send("/deep/deep/deep/deep/deep/deep/deep/deep/deep/7");
    assert_eq!(routes, vec!["/deep/*".repeat(ROUTE_PARTS); 200]);
    assert_eq!(scene.watch.counter(Counter::CutString), REQUESTS);
}
