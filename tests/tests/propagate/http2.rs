//! What each kind of request over HTTP/2 is like on the wire, and what is counted for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::watched::{NO_CALLER_IS_LATE, documented};
use lightfoot_tests::live::{Driven, Span, Watched};

use super::cases::{as_documented, counted};
use super::frames::{Proxy, compare, ends};
use super::refusal::is_refused;
use super::tried;

/// A case with what is counted, in the order of [`super::cases::COUNTERS`].
const CASES: [(&str, [u64; 6]); 24] = [
    ("get", [1, 0, 0, 0, 0, 0]),
    ("post", [1, 0, 0, 0, 0, 0]),
    ("chunked", [1, 0, 0, 0, 0, 0]),
    ("head", [1, 0, 0, 0, 0, 0]),
    ("trailers", [1, 0, 0, 0, 0, 0]),
    ("expect", [1, 0, 0, 0, 0, 0]),
    ("kept", [3, 0, 0, 0, 0, 0]),
    ("redirect", [2, 0, 0, 0, 0, 0]),
    ("connect", [1, 0, 0, 0, 0, 0]),
    ("own", [0, 1, 0, 0, 0, 0]),
    ("own-lower", [0, 1, 0, 0, 0, 0]),
    ("own-upper", [0, 1, 0, 0, 0, 0]),
    ("own-mixed", [0, 1, 0, 0, 0, 0]),
    ("own-empty", [0, 1, 0, 0, 0, 0]),
    ("own-twice", [0, 1, 0, 0, 0, 0]),
    // A name without a value is not sent.
    ("own-none", [1, 0, 0, 0, 0, 0]),
    ("own-state", [1, 0, 0, 0, 0, 0]),
    ("many", [1, 0, 0, 0, 0, 0]),
    ("too-many", [0, 0, 0, 0, 0, 1]),
    ("alike", [0, 0, 0, 0, 0, 1]),
    ("some", [1, 0, 0, 0, 0, 0]),
    // One before, with its own, in the next three.
    ("long", [0, 1, 1, 0, 0, 0]),
    ("shared", [0, 1, 0, 2, 0, 0]),
    ("limited", [0, 1, 1, 0, 0, 0]),
];

/// Their headers come in the order of a Go map, which is another each time.
const IN_ANY_ORDER: [&str; 3] = ["many", "too-many", "alike"];

/// With golang.org/x/net 0.35, 0.55 and 0.62, which has nothing of its own any more.
const BUILDS: [(u32, Mode); 4] =
    [(26, Mode::Plain), (21, Mode::Plain), (24, Mode::PieStripped), (27, Mode::Plain)];

/// The HTTP/2 clients that a program has.
pub(crate) const CLIENTS: [&str; 2] = ["net/http", "x/net"];

/// What nobody watches: a program that serves, and proxies that keep what it gets.
pub(crate) struct Served {
    pub(crate) server: Driven,
    /// By the server's limit of headers; what the clients are told to call.
    ways: Vec<(Proxy, [String; 2])>,
}

#[test]
fn a_request_over_http2_differs_from_the_one_without_us_in_the_header_alone() {
    for &(minor, mode) in tried(&BUILDS) {
        let mut served = Served::start(minor, mode);
        let mut bare = BTreeMap::new();
        let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
        let watched = Watched::start_with(Program::PropagationHttp2, minor, mode, &arguments, |program| {
            for (client, (case, _)) in runs() {
                bare.insert((client, case), served.run(program, case, client));
            }
            Ok(())
        });
        let Some(mut watched) = watched.unwrap() else { return };
        assert_eq!(watched.program.ask("list").unwrap(), CASES.map(|(case, _)| case));
        let mut results = Vec::new();
        for (client, (case, expected)) in runs() {
            let (counted, sent) = counted(&mut watched, |program| served.run(program, case, client));
            results.push((client, case, expected, counted, sent));
        }
        let (build, (_, outcome)) = (watched.build, watched.end().unwrap());
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        let mut failed = Vec::new();
        for (client, case, expected, counted, (frames, seen)) in &results {
            println!("{build} {client} {case}: {counted:?}");
            if counted != expected {
                failed.push(format!("{client} {case}: counted {counted:?}, not {expected:?}"));
            }
            let (bare_frames, bare_seen) = &bare[&(*client, *case)];
            let compared = if IN_ANY_ORDER.contains(case) {
                ends(bare_frames, frames)
            } else {
                compare(bare_frames, frames)
            };
            let wrong = match compared {
                Ok(added) => check(&added, expected[0], bare_seen, seen, &outcome.spans),
                Err(why) => vec![why],
            };
            failed.extend(wrong.into_iter().map(|why| format!("{client} {case}: {why}")));
        }
        assert!(failed.is_empty(), "{build}: {}\n{}", failed.join("\n"), outcome.messages);
    }
}

#[test]
fn the_document_says_what_is_tested_of_http2() {
    let rows = documented("propagation.md").unwrap();
    let of_http2 = rows.iter().filter(|row| row.len() == 3 && row[0].starts_with("http2 "));
    let said: Vec<_> = of_http2.map(|row| (row[0].clone(), row[2].clone())).collect();
    assert_eq!(said, CASES.map(|(case, counts)| (format!("http2 {case}"), as_documented(counts))));
}

fn runs() -> impl Iterator<Item = (&'static str, (&'static str, [u64; 6]))> {
    CLIENTS.into_iter().flat_map(|client| CASES.map(|case| (client, case)))
}

/// The frames on each connection, and what the server has seen of each request.
type Sent = (Vec<Vec<super::frames::Frame>>, Vec<String>);

impl Served {
    pub(crate) fn start(minor: u32, mode: Mode) -> Self {
        let build = Build::here(Program::PropagationHttp2, GoVersion::of_minor(minor).unwrap(), mode);
        let mut server = Driven::start(&build.path().unwrap()).unwrap();
        let ways = [1 << 20, 4096].map(|limit| {
            let address: SocketAddr = server.ask(&format!("serve {limit}")).unwrap()[0].parse().unwrap();
            let proxy = Proxy::start(address);
            let relay = server.ask(&format!("relay {}", proxy.address)).unwrap().remove(0);
            let addresses = [relay, proxy.address.to_string()];
            (proxy, addresses)
        });
        Self { server, ways: ways.into() }
    }

    /// What a client is to call.
    pub(crate) fn address(&self, client: &str, is_limited: bool) -> &str {
        &self.ways[usize::from(is_limited)].1[CLIENTS.iter().position(|name| *name == client).unwrap()]
    }

    fn run(&mut self, program: &mut Driven, case: &str, client: &str) -> Sent {
        let is_limited = case == "limited";
        program.ask(&format!("run {case} {client} {}", self.address(client, is_limited))).unwrap();
        (self.ways[usize::from(is_limited)].0.take(), self.server.ask("seen").unwrap())
    }
}

/// What is wrong with the headers that were added: each is that of a span of its own, and the server has got all as without us but for them.
fn check(added: &[String], expected: u64, bare: &[String], seen: &[String], spans: &[Span]) -> Vec<String> {
    let mut wrong = Vec::new();
    if added.len() as u64 != expected {
        wrong.push(format!("{} headers were added, not {expected}", added.len()));
    }
    let mut without = seen.to_vec();
    for value in added {
        let is_of = |span: &&Span| *value == format!("00-{}-{}-01", span.trace_id, span.span_id);
        let of: Vec<_> = spans.iter().filter(is_of).collect();
        let header = format!(" traceparent={value}");
        match (without.iter_mut().find(|line| line.contains(&header)), &of[..]) {
            (Some(line), [span]) if span.kind == 3 => {
                let path = line.split(' ').next().unwrap();
                if !span.text("url.full").ends_with(path) {
                    wrong.push(format!("{value} of {path} is that of {span:?}"));
                }
                *line = line.replace(&header, "");
            }
            (line, spans) => wrong.push(format!("{value} is that of {spans:?}, and the server saw {line:?}")),
        }
    }
    if without != bare {
        wrong.push(format!("the server has seen {seen:?}, not {bare:?}"));
    }
    wrong
}
