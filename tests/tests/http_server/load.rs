//! Many requests at once: each has its span, and the span is true.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::thread;

use lightfoot_tests::go::Mode;
use lightfoot_tests::live::{Client, Span, Truth, boot_time, wall_offset};

use crate::expected;
use crate::scene::Scene;

const AT_ONCE: u64 = 200;
const ROUNDS: u64 = 6;

/// By how much a span's time of day may be off, in nanoseconds, besides the uncertainty of this test's own comparison of
/// the clocks. The agent notices a step of the clock that exceeds the sum of two readings' uncertainties; it takes the
/// best of five readings, each uncertain by half of the time it took and a microsecond.
const CLOCK: u64 = 10_000;

/// When a client sent its request and when it had the whole response, in nanoseconds of CLOCK_BOOTTIME.
type Seen = HashMap<u64, (u64, u64)>;

#[test]
fn go_1_21() {
    spans_are_the_truth(21, Mode::Plain);
}

#[test]
fn go_1_22() {
    spans_are_the_truth(22, Mode::Plain);
}

#[test]
fn go_1_23() {
    spans_are_the_truth(23, Mode::Plain);
}

#[test]
fn go_1_24() {
    spans_are_the_truth(24, Mode::Plain);
}

#[test]
fn go_1_25() {
    spans_are_the_truth(25, Mode::Plain);
}

#[test]
fn go_1_26() {
    spans_are_the_truth(26, Mode::Plain);
}

#[test]
fn go_1_27() {
    spans_are_the_truth(27, Mode::Plain);
}

#[test]
fn stripped() {
    spans_are_the_truth(27, Mode::Stripped);
}

#[test]
fn position_independent() {
    spans_are_the_truth(24, Mode::Pie);
}

#[test]
fn profile_guided() {
    spans_are_the_truth(26, Mode::ProfileGuided);
}

#[test]
fn by_perf_events() {
    spans_are_the_truth_with(26, Mode::Plain, &["--attach-method", "perf-event"]);
}

#[test]
fn by_perf_events_without_cookies() {
    spans_are_the_truth_with(26, Mode::Pie, &["--attach-method", "perf-event-by-address"]);
}

fn spans_are_the_truth(minor: u32, mode: Mode) {
    spans_are_the_truth_with(minor, mode, &[]);
}

fn spans_are_the_truth_with(minor: u32, mode: Mode, arguments: &[&str]) {
    let Some(scene) = Scene::set_with(minor, mode, arguments) else { return };
    let build = scene.build;
    scene.learn_copied_routes();
    let seen = send_rounds(&scene);
    let total = AT_ONCE * ROUNDS;
    scene.agent.wait_for_spans(usize::try_from(total).unwrap(), |span| number(span) != 0).unwrap();
    let (offset, uncertainty) = wall_offset();
    let pid = scene.server.pid();
    let (truth, outcome) = scene.end();

    assert_eq!(truth.len() as u64, total, "the server got every request");
    assert!(most_at_once(&truth) as u64 >= AT_ONCE, "and as many at a time as were to be");
    let mut spans: HashMap<u64, Span> = HashMap::new();
    for span in outcome.spans {
        let twice = spans.insert(number(&span), span);
        assert!(twice.is_none(), "two spans of one request: {twice:?}");
    }
    let ids: HashSet<_> = spans.values().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "span ids are unique");
    let slack = CLOCK + uncertainty;
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for truth in &truth {
        let span = spans.remove(&truth.number).unwrap_or_else(|| panic!("no span of {truth:?}"));
        expected::assert_equal(&span, truth, build.version);
        assert_eq!(span.pid(), u64::from(pid));
        let (start, end) = (span.start - offset, span.end - offset);
        assert!(
            start <= truth.start + slack && end + slack >= truth.end,
            "{start}-{end} does not hold {truth:?}"
        );
        let (sent, received) = seen[&truth.number];
        assert!(
            start + slack >= sent,
            "{start}-{end} starts before the request was sent at {sent}: {truth:?}"
        );
        if is_sent_at_the_end(truth) {
            assert!(
                end <= received + slack,
                "{start}-{end} ends after the response came at {received}: {truth:?}"
            );
        }
        early.push(truth.start.saturating_sub(start));
        late.push(end.saturating_sub(truth.end));
    }
    assert!(spans.is_empty(), "spans of no request: {spans:?}");
    for (name, count) in &outcome.counts {
        // A perf event's program may not wait for a page. What it reads again at the page's end is no loss either: no
        // attribute was missing above.
        let is_harmless = count_is_harmless(name) || name == "read_fault" && !arguments.is_empty();
        assert!(is_harmless, "{name} {count}\n{}", outcome.messages);
    }
    let median = |times: &mut Vec<u64>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!(
        "{}: {total} spans; {} ns before the handler, {} ns after it (medians); clocks compared to {uncertainty} ns",
        build,
        median(&mut early),
        median(&mut late)
    );
}

/// The counts that say nothing of a loss.
pub(crate) fn count_is_harmless(name: &str) -> bool {
    let is_of_routes = matches!(name, "route_site" | "route_of_copy" | "without_route");
    is_of_routes
        || matches!(name, "started" | "ended" | "page_waits" | "wakeups" | "spans_pushed" | "spans_printed")
}

/// Whether the client can have the whole response only after `finishRequest` has begun or the connection was closed.
fn is_sent_at_the_end(truth: &Truth) -> bool {
    let path = truth.target.as_str();
    !truth.hijacked && !["/flush", "/events"].iter().any(|early| path.starts_with(early))
}

/// Sends all requests: half of the clients keep their connections, the others open one for each request.
fn send_rounds(scene: &Scene) -> Seen {
    let seen = Mutex::new(Seen::new());
    thread::scope(|scope| {
        for index in 0..AT_ONCE {
            let (mut client, seen) = (scene.client(), &seen);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let number = round * AT_ONCE + index + 1;
                    let times = send(&mut client, number, round);
                    seen.lock().unwrap().insert(number, times);
                    if index.is_multiple_of(2) {
                        client.close();
                    }
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

fn send(client: &mut Client, number: u64, round: u64) -> (u64, u64) {
    let request = request(number, &format!("X-Gather: {round} {AT_ONCE}\r\n"));
    let sent = boot_time();
    client.exchange(&request).unwrap();
    (sent, boot_time())
}

/// One request of each kind in turn. The kinds differ between the rounds for each client.
fn request(number: u64, headers: &str) -> Vec<u8> {
    let paths = [
        "/plain/N?size=100",
        "/status/N?status=404",
        "/status/N?status=503",
        "/status/N?status=204",
        "/silent/N",
        "/hints/N",
        "/flush/N?size=3000",
        "/events/N",
        "/panic/N",
        "/panic-late/N",
        "/panic-recovered/N",
        "/abort/N",
        "/exit/N",
        "/hijack/N",
        "/hijack-elsewhere/N",
        "/upgrade/N",
        "/upgrade-by-hand/N",
        "/copied/N?size=1",
        "/overwritten/N?size=2",
        "/users/N",
        "/nested/leaf/N",
        "/prefix/leaf/N",
        "/nowhere/N",
        "/plain/N?size=100000",
        "/plain/N?wait=3",
    ];
    let pick = |list: &[&str], step: u64| {
        let index = usize::try_from(number * step + number / AT_ONCE).unwrap() % list.len();
        list[index].to_owned()
    };
    let path = pick(&paths, 1).replace('N', &number.to_string());
    let method = if path.starts_with("/users") || path.starts_with("/panic") {
        "GET".to_owned()
    } else {
        pick(&["GET", "POST", "PUT", "DELETE", "HEAD", "BREW", "get"], 3)
    };
    let host =
        pick(&["host.test", "host-N.test:8080", "127.0.0.1:1234"], 1).replace('N', &number.to_string());
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Number: {number}\r\n{headers}");
    if !number.is_multiple_of(4) {
        let _ = write!(text, "User-Agent: client/{number}\r\n");
    }
    if !number.is_multiple_of(3) {
        let (high, low) = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number);
        let _ = write!(text, "traceparent: 00-{high:016x}{low:016x}-{:016x}-01\r\n", !number);
    }
    if number % 3 == 2 {
        let _ = write!(text, "tracestate: vendor={number}\r\ntracestate: other=1,third=t61rcWkgMzE\r\n");
    }
    for index in 0..number % 30 {
        let _ = write!(text, "X-Header-{index}: {index}\r\n");
    }
    if matches!(method.as_str(), "POST" | "PUT" | "DELETE") {
        text += "Content-Length: 5\r\n\r\nhello";
    } else {
        text += "\r\n";
    }
    text.into_bytes()
}

/// The number of the request that a span is about, from its user agent or else its path.
fn number(span: &Span) -> u64 {
    let agent = span.text("user_agent.original");
    let text = if agent.is_empty() { span.text("url.path") } else { agent };
    text.rsplit('/').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// How many handlers ran at the same time, at most.
fn most_at_once(truth: &[Truth]) -> usize {
    let mut changes: Vec<(u64, isize)> =
        truth.iter().flat_map(|truth| [(truth.start, 1), (truth.end, -1)]).collect();
    changes.sort_unstable();
    let running = changes.iter().scan(0_isize, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    running.max().unwrap_or_default().unsigned_abs()
}
