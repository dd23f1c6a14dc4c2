//! What each kind of request is like on the wire, and what is counted for it.

use std::collections::BTreeMap;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::watched::{NO_CALLER_IS_LATE, documented};
use lightfoot_tests::live::{Driven, Span, Watched};

use super::refusal::is_refused;
use super::tried;
use super::wire::Wire;

/// The counters, in the order of the columns below.
pub(crate) const COUNTERS: [&str; 6] = [
    "propagated",
    "propagation_own",
    "propagation_no_room",
    "propagation_shared",
    "propagation_unknown",
    "propagation_unproven",
];

/// A case with what is counted. A header is in so many messages as the first column says, which are the first.
const CASES: [(&str, [u64; 6]); 33] = [
    ("get", [1, 0, 0, 0, 0, 0]),
    ("post", [1, 0, 0, 0, 0, 0]),
    ("chunked", [1, 0, 0, 0, 0, 0]),
    ("head", [1, 0, 0, 0, 0, 0]),
    ("trailers", [1, 0, 0, 0, 0, 0]),
    ("expect", [1, 0, 0, 0, 0, 0]),
    ("upgrade", [1, 0, 0, 0, 0, 0]),
    ("kept", [3, 0, 0, 0, 0, 0]),
    ("close", [1, 0, 0, 0, 0, 0]),
    ("redirect", [2, 0, 0, 0, 0, 0]),
    ("direct", [1, 0, 0, 0, 0, 0]),
    ("proxy", [1, 0, 0, 0, 0, 0]),
    ("connect", [0, 0, 0, 0, 1, 0]),
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
    // More than are searched.
    ("too-many", [0, 0, 0, 0, 0, 1]),
    // More with names that are as long than are looked at.
    ("alike", [0, 0, 0, 0, 0, 1]),
    // The program writes the request of the next four to a buffer of its own first, to know its size.
    ("long", [1, 0, 0, 0, 1, 0]),
    ("room", [1, 0, 0, 0, 1, 0]),
    ("no-room", [0, 0, 1, 0, 1, 0]),
    ("full", [0, 0, 1, 0, 1, 0]),
    ("small-buffer", [1, 0, 0, 0, 0, 0]),
    ("tiny-buffer", [0, 0, 1, 0, 0, 0]),
    ("shared", [0, 0, 0, 2, 0, 0]),
    ("dumped", [1, 0, 0, 0, 0, 1]),
    ("by-hand", [0, 0, 0, 0, 1, 0]),
];

const BUILDS: [(u32, Mode); 4] =
    [(26, Mode::Plain), (21, Mode::Plain), (25, Mode::PieStripped), (27, Mode::Plain)];

#[test]
fn a_message_differs_from_the_one_without_us_in_the_header_alone() {
    // What is written to depends on how it was built.
    for &(minor, mode) in tried(&BUILDS) {
        let wire = Wire::start();
        let address = wire.address;
        let mut bare = BTreeMap::new();
        let arguments = [&NO_CALLER_IS_LATE[..], &["--propagate"]].concat();
        let watched = Watched::start_with(Program::Propagation, minor, mode, &arguments, |program| {
            for (case, _) in CASES {
                program.ask(&format!("run {case} {address}"))?;
                bare.insert(case, wire.take());
            }
            Ok(())
        });
        let Some(mut watched) = watched.unwrap() else { return };
        assert_eq!(watched.program.ask("list").unwrap(), CASES.map(|(case, _)| case));
        let mut results = Vec::new();
        for (case, expected) in CASES {
            let run = |program: &mut Driven| program.ask(&format!("run {case} {address}")).unwrap();
            let (counted, _) = counted(&mut watched, run);
            results.push((case, expected, counted, wire.take()));
        }
        let (build, (_, outcome)) = (watched.build, watched.end().unwrap());
        if is_refused(&outcome) {
            println!("skipped: this kernel lets no program write");
            return;
        }
        let mut failed = Vec::new();
        for (case, expected, counted, messages) in &results {
            if counted != expected {
                failed.push(format!("{case}: counted {counted:?}, not {expected:?}"));
            }
            let added = usize::try_from(expected[0]).unwrap();
            let differences = compare(&bare[case], messages, added, &outcome.spans);
            failed.extend(differences.into_iter().map(|why| format!("{case}: {why}")));
        }
        assert!(failed.is_empty(), "{build}: {}\n{}", failed.join("\n"), outcome.messages);
    }
}

/// What is counted while the program does something.
pub(crate) fn counted<T>(watched: &mut Watched, run: impl FnOnce(&mut Driven) -> T) -> ([u64; 6], T) {
    let before = watched.agent.counts().unwrap();
    let done = run(&mut watched.program);
    let after = watched.agent.counts().unwrap();
    let count = |counts: &BTreeMap<String, u64>, name| counts.get(name).copied().unwrap_or_default();
    (COUNTERS.map(|name| count(&after, name) - count(&before, name)), done)
}

#[test]
fn the_document_says_what_is_tested() {
    let rows = documented("propagation.md").unwrap();
    let of_http = rows.iter().filter(|row| row.len() == 3 && !row[0].contains(' '));
    let said: Vec<_> = of_http.map(|row| (&*row[0], row[2].clone())).collect();
    assert_eq!(said, CASES.map(|(case, counts)| (case, as_documented(counts))));
}

/// What the document says of such counts.
pub(crate) fn as_documented(counts: [u64; 6]) -> String {
    let named = COUNTERS.into_iter().zip(counts).filter(|(_, count)| *count != 0);
    let parts =
        named.map(|(name, count)| if count == 1 { name.to_owned() } else { format!("{name} {count}") });
    parts.collect::<Vec<_>>().join(" ")
}

/// What is wrong with messages, of which the first so many have a header more than those without us.
fn compare(bare: &[Vec<u8>], messages: &[Vec<u8>], added: usize, spans: &[Span]) -> Vec<String> {
    if bare.len() != messages.len() {
        return vec![format!("{} messages, not {}", messages.len(), bare.len())];
    }
    let mut wrong = Vec::new();
    for (number, (bare, message)) in bare.iter().zip(messages).enumerate() {
        let (without, header) = split(message);
        let shown = String::from_utf8_lossy(message).chars().take(600).collect::<String>();
        let is_added = number < added;
        if is_added && without != *bare || !is_added && message != bare {
            wrong.push(format!("message {number} is\n{shown}"));
        } else if is_added {
            let target = String::from_utf8_lossy(bare).split(' ').nth(1).unwrap().to_owned();
            let is_of =
                |span: &&Span| header == format!("traceparent: 00-{}-{}-01\r\n", span.trace_id, span.span_id);
            match spans.iter().filter(is_of).collect::<Vec<_>>()[..] {
                [span] if span.kind == 3 && span.text("url.full").ends_with(&target) => {}
                ref other => wrong.push(format!("{header:?} is that of {other:?}")),
            }
        }
    }
    wrong
}

/// A message without the last line of its head, and that line.
fn split(message: &[u8]) -> (Vec<u8>, String) {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 2;
    let start = message[..end - 2].windows(2).rposition(|bytes| bytes == b"\r\n").unwrap() + 2;
    let without = [&message[..start], &message[end..]].concat();
    (without, String::from_utf8_lossy(&message[start..end]).into_owned())
}
