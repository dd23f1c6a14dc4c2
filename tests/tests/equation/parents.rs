//! Losses that cost a span nothing but what it says: of its route, of its parent.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use lightfoot_tests::go::{Mode, Program};
use lightfoot_tests::live::{Span, Truth as Request, Watched, is_privileged};

use crate::balance::Truth;
use crate::load::{self, numbers, send};
use crate::scene::{Output, Scene, printed};

const CLIENT: u64 = 3;

/// Requests for these have a route whose page is not there when the span ends: it was never looked at, was taken from the process,
/// was also written to its file and taken from the machine; or may not be read by anyone.
const ABSENT: [&str; 4] = ["/not-yet-there/", "/taken-away/", "/paged-out/", "/never-there/"];

/// Each span is there; those without a route are as many as reads have failed.
#[test]
fn spans_whose_memory_is_absent_lack_an_attribute() {
    if !is_privileged("spans whose memory is absent") {
        return;
    }
    let each = 25;
    let of_a_kind = each * load::CLIENTS;
    let stays_in_memory = is_memory(&std::env::temp_dir());
    // Which of them may wait for a page.
    for (method, waits) in [("uprobe-multi", true), ("perf-event", false), ("perf-event-by-address", false)] {
        let scene = Scene::set(Output::Printed, &["--attach-method", method], &[]);
        send(scene.server.address, 0, each, |number| format!("/plain/{number}"));
        let before = major_faults(scene.server.pid());
        send(scene.server.address, 10_000, each, |number| format!("/not-yet-there/{number}"));
        send(scene.server.address, 20_000, each, |number| format!("/taken-away/{number}"));
        send(scene.server.address, 30_000, each, |number| format!("/paged-out/{number}"));
        send(scene.server.address, 40_000, each, |number| format!("/never-there/{number}"));
        let from_disk = major_faults(scene.server.pid()) - before;
        let (requests, delivered, outcome) = scene.end();
        let truth = Truth { certain: numbers(&requests), ..Truth::default() };
        truth.assert_balanced(method, &delivered, &outcome, &[]);
        let routes: HashMap<&str, &Request> =
            requests.iter().map(|request| (request.target.as_str(), request)).collect();
        let without = |span: &&Span| span.text("http.route") != routes[span.path()].route;
        let without: Vec<_> = outcome.spans.iter().filter(without).map(Span::path).collect();
        // Only what nobody may read is lost where the program waits.
        let lost = if waits { &ABSENT[3..] } else { &ABSENT[..] };
        assert!(without.iter().all(|path| lost.iter().any(|kind| path.starts_with(kind))), "{without:?}");
        let absent = lost.len() as u64 * of_a_kind;
        assert_eq!(without.len() as u64, absent, "{method}");
        let faults = outcome.count("read_fault");
        println!(
            "{method}: {faults} faults, {absent} attributes absent, {from_disk} pages read from the disk"
        );
        // A program that may not wait has others, of which it has the rest of a text without the next page.
        assert!(if waits { faults == absent } else { faults >= absent }, "{}", outcome.messages);
        // It waits once for each, and now and then for a page of the program itself.
        let waited = outcome.count("page_waits");
        assert!(if waits { waited >= 4 * of_a_kind } else { waited == 0 }, "{}", outcome.messages);
        // The kernel counts a wait for the disk to whoever waits: here to the watched program.
        assert!(!waits || stays_in_memory || from_disk >= of_a_kind, "{from_disk} pages from the disk");
    }
}

/// How many pages a process has waited for that were not in memory.
fn major_faults(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may have spaces; behind it `majflt` is the tenth (proc_pid_stat(5)).
    stat.rsplit(") ").next().unwrap().split(' ').nth(9).unwrap().parse().unwrap()
}

/// Whether files of a folder have no other place than memory.
fn is_memory(folder: &Path) -> bool {
    // `TMPFS_MAGIC` and `RAMFS_MAGIC` (include/uapi/linux/magic.h).
    [0x0102_1994, 0x8584_58f6].contains(&rustix::fs::statfs(folder).unwrap().f_type)
}

/// Requests and calls keep their spans, even where contexts or callers are forgotten; calls without their parent are no
/// more than contexts were forgotten.
#[test]
fn calls_whose_context_is_forgotten_lack_a_parent() {
    for (cause, arguments) in [
        ("room for all", &[][..]),
        ("too many contexts", &["--max-contexts", "64"]),
        ("too many callers", &["--max-callers", "1"]),
    ] {
        let watched = Watched::start_with(Program::Parents, 26, Mode::Plain, arguments, |_| Ok(())).unwrap();
        let Some(mut watched) = watched else { return };
        watched.program.ask_within(Duration::from_mins(1), "crowd 300").unwrap();
        let (facts, outcome) = watched.end().unwrap();
        let (calls, requests): (Vec<Span>, Vec<Span>) =
            outcome.spans.iter().cloned().partition(|span| span.kind == CLIENT);
        let parents: HashMap<u64, &str> =
            calls.iter().map(|call| (number(call), call.parent_span_id.as_str())).collect();
        let delivered: Vec<u64> = printed(&requests).into_iter().chain(calls.iter().map(number)).collect();
        let mut truth = Truth::default();
        truth.certain.extend(facts.served.iter().map(|served| served.number));
        truth.certain.extend(facts.calls.iter().map(|call| call.number));
        assert_eq!(
            truth.certain.len(),
            facts.served.len() + facts.calls.len(),
            "each has a number of its own"
        );
        truth.assert_balanced(cause, &delivered, &outcome, &[]);
        let by_context = facts.calls.iter().filter(|call| call.rule == "context");
        let lost = by_context.filter(|call| parents[&call.number].is_empty()).count() as u64;
        let evicted = outcome.count("context_evicted");
        let full = outcome.count("callers_full");
        println!(
            "{cause}: {lost} calls without their parent, {evicted} contexts and {full} callers forgotten"
        );
        assert_eq!(full > 0, cause == "too many callers", "{}", outcome.messages);
        assert_eq!(evicted > 0, cause == "too many contexts", "{}", outcome.messages);
        assert_eq!(lost > 0, evicted > 0, "{}", outcome.messages);
        assert!(lost <= evicted, "{lost} calls lost their parent, for {evicted} contexts");
    }
}

fn number(call: &Span) -> u64 {
    call.text("url.full").rsplit('/').next().unwrap().parse().unwrap()
}
