//! Served HTTP/1 requests, from a real Go server through the kernel to records. Needs root and uprobe_multi (Linux 6.6).
//!
//! Modules, in reading order:
//! - [`target`]: the Go server and its truth; [`layout`]: what is known of its binary; [`watch`]: the loaded programs; [`compare`]: records against the truth.
//! - [`requests`], [`traces`], [`connections`], [`headers`], [`limits`], [`losses`], [`cost`]: the tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, too"
)]
#![expect(clippy::format_push_string, clippy::format_collect, reason = "requests read best as they are sent")]

mod compare;
mod layout;
mod target;
mod watch;

mod connections;
mod cost;
mod headers;
mod limits;
mod losses;
mod requests;
mod traces;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use lightfoot_probes_abi::process::process_flags;
use lightfoot_probes_abi::{Process, Sampler, SamplerKind};
use lightfoot_tests::go::GoVersion;
use lightfoot_tests::live::Client;
use lightfoot_tests::probes::Target;

use layout::{End, Facts, inspect};
use target::build;
use watch::{Options, Watch};

const ALWAYS_ON: Sampler = Sampler { kind: SamplerKind::AlwaysOn as u32, parent_based: 1, threshold: 0 };
const BINARY: u32 = 7;

/// Each test loads programs of its own, but their probes would all fire at once.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The Go that most tests use.
fn usual_go() -> GoVersion {
    GoVersion::of_minor(26).unwrap()
}

/// How the agent selects a process whose spans have no children.
fn process(sampler: Sampler) -> Process {
    let flags = process_flags::CONNECTIONS;
    Process { binary: BINARY, layout: BINARY, sampler, flags, ..Process::default() }
}

/// Starts a server and selects it; nothing is attached yet.
fn selected(watch: &mut Watch, version: GoVersion, end: End, sampler: Sampler) -> (Target, Facts) {
    let binary = build(version);
    let facts = inspect(&binary, BINARY, end);
    let server = Target::start(binary);
    watch.add_layout(BINARY, &facts.layout);
    watch.select(server.pid(), process(sampler));
    (server, facts)
}

/// Starts a server of the usual Go and watches it. `None` with a message where that is not possible.
fn watched(options: Options, sampler: Sampler) -> Option<(Watch, Target)> {
    let mut watch = Watch::load(options)?;
    let (server, facts) = selected(&mut watch, usual_go(), End::FinishRequest, sampler);
    watch.attach(&server.binary, server.pid(), &facts.sites);
    Some((watch, server))
}

/// Sends `each` requests over each of `clients` connections at once. Returns how many connections were opened.
fn send(address: SocketAddr, clients: usize, each: usize, request: impl Fn(usize) -> Vec<u8> + Sync) -> u64 {
    thread::scope(|scope| {
        let request = &request;
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = Client::tcp(address);
                    for number in 0..each {
                        connection.exchange(&request(client * each + number)).unwrap();
                    }
                    connection.connections
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// A valid `traceparent` that no other number has.
fn traceparent(number: usize) -> String {
    format!("00-{:032x}-{:016x}-01", number as u128 * 0x1_0000_0001_0000_0001 + 1, number + 1)
}
