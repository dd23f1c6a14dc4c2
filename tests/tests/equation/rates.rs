//! Spans that come as fast as this machine can make them, by requests that are sent before the one before them is answered, into the
//! smallest ring that is of any use: almost all find it full, while the agent works and while it does not run at all.
//!
//! A million a second, as one may wish for, is beyond two processors that also serve the requests; it says what was reached.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::{Agent, Folder, Target, lightfoot, slowness};
use rustix::process::Signal;

use crate::balance::Truth;
use crate::endpoint::Endpoint;
use crate::scene::accepted;

/// Connections, and requests of each that are under way.
const CLIENTS: u64 = 4;
const AT_ONCE: u64 = 256;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n";

#[test]
fn what_finds_the_ring_full_at_the_highest_rate_is_counted_to_the_span() {
    let Some(folder) = Folder::for_test("the highest rate") else { return };
    let target = Target::start(&folder.server().unwrap()).unwrap();
    let server = target.address().unwrap();
    let endpoint = Endpoint::start(|_| Some("200 OK"));
    let mut command = Command::new(lightfoot());
    command.args(["run", "--pid", &target.pid().to_string(), "--ring-size", "64"]);
    // Whatever has found room in the ring has some in the queue.
    command.args(["--queue-size", "256", "--flush-timeout", "60"]);
    command.args(["--protocol", "http/protobuf", "--endpoint", &endpoint.address]);
    let agent = Agent::spawn(command, &[("OTEL_BSP_MAX_QUEUE_SIZE", "1000000")]).unwrap();
    agent.watches(target.pid()).unwrap();
    let each = Extent::of_environment().pick(80, 4_000) * AT_ONCE;
    let mut truth = Truth::default();
    for (round, what) in (0..).zip(["while the agent works", "while it does not run"]) {
        if round == 1 {
            agent.signal(Signal::STOP);
        }
        let began = Instant::now();
        let asked: BTreeSet<u64> = (0..CLIENTS)
            .map(|client| (round * CLIENTS + client) << 32)
            .map(|first| thread::spawn(move || flood(server, first..first + each)))
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        let rate = u128::from(CLIENTS * each) * 1_000 / began.elapsed().as_millis();
        println!("{what}: {rate} spans a second, of two traps each");
        truth.certain.extend(asked);
    }
    agent.signal(Signal::CONT);
    let outcome = agent.stop().unwrap();
    let lost = outcome.count("ring_full");
    truth.assert_balanced("the highest rate", &accepted(&endpoint, |_| true), &outcome, &["ring_full"]);
    assert!(lost > CLIENTS * each, "more than half of all: {lost}");
}

/// Asks all of these, and waits for all answers.
fn flood(server: SocketAddr, numbers: Range<u64>) -> Range<u64> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30) * slowness())).unwrap();
    let mut input = vec![0; 1 << 16];
    for first in numbers.clone().step_by(usize::try_from(AT_ONCE).unwrap()) {
        let mut requests = String::new();
        for number in first..first + AT_ONCE {
            write!(requests, "GET /plain/{number} HTTP/1.1\r\nHost: host.test\r\n\r\n").unwrap();
        }
        stream.write_all(requests.as_bytes()).unwrap();
        // An answer may come in two parts.
        let (mut answered, mut rest) = (0, 0);
        while answered < AT_ONCE {
            let length = rest + stream.read(&mut input[rest..]).unwrap();
            assert!(length > rest, "it has closed");
            let text = &input[..length];
            answered += memchr::memmem::find_iter(text, ANSWER).count() as u64;
            // What may be the beginning of one more.
            let kept = memchr::memrchr(b'H', text).filter(|at| length - at < ANSWER.len());
            let kept = kept.unwrap_or(length);
            rest = length - kept;
            input.copy_within(kept..length, 0);
        }
    }
    numbers
}
