//! The table of docs/grpc.md, row by row: what it says is what spans say.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::watched::documented;
use lightfoot_tests::live::{Span, Watched, wall_offset};

use crate::expected::{assert_client, assert_server, is_stream};
use crate::pairs::{Call, Calls};
use crate::{LOSSES, USUAL, all, parents};

/// Calls on behalf of something that is served: what is documented is how they are linked.
const RELATED: [&str; 3] = ["served-", "streamed-", "web-"];

/// `net/http` has given up before the handler returns.
const GIVEN_UP: &str = "handler-cancelled";

/// What handlers return there is not what is sent.
const ELSEWHERE: [&str; 6] = [
    GIVEN_UP,
    "deadline-ignored",
    "cancelled-ignored",
    "connection-cut-ignored",
    "panic-recovered",
    "stream-panic-recovered",
];

/// By how much a span's time of day may be off, in nanoseconds, besides the uncertainty of the comparison here.
const CLOCK: u64 = 10_000;

#[test]
fn spans_say_what_the_document_says() {
    let rows: BTreeMap<String, [String; 2]> = documented("grpc.md")
        .unwrap()
        .into_iter()
        .map(|row| (row[0].clone(), [row[2].clone(), row[3].clone()]))
        .collect();
    let mut failed = Vec::new();
    let extent = Extent::of_environment();
    for &(program, minor, mode) in extent.some_of(&extent.pick(USUAL.to_vec(), all())) {
        let Some(mut watched) = Watched::start(program, minor, mode).unwrap() else { return };
        let cases = watched.program.ask("list").unwrap();
        let (related, cases): (Vec<_>, Vec<_>) =
            cases.into_iter().partition(|case| RELATED.iter().any(|prefix| case.starts_with(prefix)));
        let names: BTreeSet<&String> = cases.iter().collect();
        assert_eq!(names, rows.keys().collect(), "each case is documented, and each row is tested");
        for case in cases.iter().chain(&related) {
            watched.program.ask(&format!("run {case}")).unwrap();
        }
        let (build, (offset, uncertainty)) = (watched.build, wall_offset());
        let (facts, outcome) = watched.end().unwrap();
        // Shown if something fails below; the rows that fail are listed in the end.
        println!("{build}: {}", outcome.messages);
        let calls = Calls::of(&facts, &outcome.spans, [offset, uncertainty + CLOCK]);
        let mut check = |what: &str, check: &dyn Fn()| {
            println!("{build}: {what}");
            if catch_unwind(AssertUnwindSafe(check)).is_err() {
                failed.push(format!("{build}: {what}"));
            }
        };
        for case in &cases {
            check(case, &|| check_row(&calls, case, &rows[case]));
        }
        check("times", &|| calls.all.iter().for_each(|call| check_times(call, offset, uncertainty + CLOCK)));
        check("related", &|| parents::judge(&facts, &outcome, &calls));
        check("no other spans", &|| assert!(calls.rest.is_empty(), "spans of no call: {:#?}", calls.rest));
        check("nothing lost", &|| {
            for name in LOSSES {
                // The goroutine of goexit is gone without a word.
                let open = u64::from(name == "spans_open_at_end");
                assert_eq!(outcome.count(name), open, "{name}");
            }
        });
    }
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
}

/// How much later than its client is told a stream may end, in nanoseconds.
const LATE: u64 = 5_000_000_000;

fn check_row(calls: &Calls<'_>, case: &str, [client, server]: &[String; 2]) {
    let of_case: Vec<&Call<'_>> = calls.all.iter().filter(|call| call.called.case == case).collect();
    assert!(!of_case.is_empty());
    check_cell(client, of_case.iter().filter_map(|call| call.client));
    check_cell(server, of_case.iter().flat_map(|call| call.servers.iter().copied()));
    for Call { called, client, servers, handled } in of_case {
        assert_client(client.unwrap(), called, !servers.is_empty(), false);
        for (attempt, span) in servers.iter().enumerate() {
            let handled = handled.get(attempt).copied();
            assert_server(span, called, handled);
            let is_said = handled.is_some() && !ELSEWHERE.contains(&case) && !handled.unwrap().panicked;
            if is_said {
                let code = lightfoot_tests::live::rpc::code(handled.unwrap().code);
                assert_eq!(span.text("rpc.response.status_code"), code, "{called:?}");
            }
        }
    }
}

/// Fails unless spans have the statuses of one of the alternatives.
fn check_cell<'a>(cell: &str, spans: impl Iterator<Item = &'a Span>) {
    let status = |span: &'a Span| match span.text("rpc.response.status_code") {
        "" => "none",
        status => status,
    };
    let said: Vec<_> = spans.map(status).collect();
    let said = if said.is_empty() { "no span".to_owned() } else { said.join(" ") };
    assert!(cell.split(" or ").any(|alternative| alternative == said), "{said} is not {cell}");
}

/// Fails unless the client's span is within the call, and the server's is around the handler's time.
pub(crate) fn check_times(call: &Call<'_>, offset: u64, slack: u64) {
    let Call { called, client, servers, handled } = call;
    if let Some(span) = client {
        let (start, end) = (span.start - offset, span.end - offset);
        assert!(start + slack >= called.start, "{start}-{end} is not within {called:?}");
        // A stream is ended by a goroutine of its own, whenever that runs.
        let late = if is_stream(called) { LATE } else { slack };
        assert!(called.end == 0 || end <= called.end + late, "{start}-{end} is not within {called:?}");
    }
    for (span, handled) in servers.iter().zip(handled) {
        let (start, end) = (span.start - offset, span.end - offset);
        assert!(start + slack >= called.start, "{start}-{end} is before {called:?}");
        let is_later = end + slack >= handled.end || called.case == GIVEN_UP;
        let encloses = start <= handled.start + slack && is_later;
        assert!(encloses, "{start}-{end} is not around {handled:?}");
    }
}
