//! Many requests at once: each has its span, and the span is true.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::thread;

use lightfoot_tests::expected;
use lightfoot_tests::go::{Build, Mode};
use lightfoot_tests::live::{Client, Scene, Span, Truth, boot_time, wall_offset};
use lightfoot_tests::support::Found;

const AT_ONCE: u64 = 200;
const ROUNDS: u64 = 6;

/// By how much a span's time of day may be off, in nanoseconds, besides the uncertainty of this test's own comparison of
/// the clocks. The agent notices a step of the clock that exceeds the sum of two readings' uncertainties; it takes the
/// best of five readings, each uncertain by half of the time it took and a microsecond.
const CLOCK: u64 = 10_000;

/// When a client sent its request and when it had the whole response, in nanoseconds of CLOCK_BOOTTIME.
type Seen = HashMap<u64, (u64, u64)>;

/// The builds of the matrix go this way where the kernel has it; this one is for virtual machines, which have not all of them.
#[test]
fn by_uprobe_multi() {
    by("uprobe-multi", Mode::Plain);
}

#[test]
fn by_perf_events() {
    by("perf-event", Mode::Plain);
}

#[test]
fn by_perf_events_without_cookies() {
    by("perf-event-by-address", Mode::Pie);
}

fn by(method: &str, mode: Mode) {
    let Some(scene) = Scene::set_with(26, mode, &["--attach-method", method]).unwrap() else { return };
    // A perf event's program may not wait for a page. What it reads again at the page's end is no loss either: no attribute
    // may be missing.
    assert_eq!(check(scene, &["read_fault"]), Found::Equal);
}

/// Has a server of the build answer all kinds of requests, and compares.
pub(crate) fn spans_are_the_truth(build: Build) -> Found {
    check(Scene::beside_others(build).unwrap(), &[])
}

fn check(scene: Scene, harmless: &[&str]) -> Found {
    let build = scene.build;
    scene.learn_copied_routes().unwrap();
    let seen = send_rounds(&scene);
    let total = AT_ONCE * ROUNDS;
    scene.agent.wait_for_spans(usize::try_from(total).unwrap(), |span| number(span) != 0).unwrap();
    let (offset, uncertainty) = wall_offset();
    let pid = scene.server.pid();
    let (truth, mut outcome) = scene.end().unwrap();

    assert_eq!(truth.len() as u64, total, "the server got every request");
    assert!(most_at_once(&truth) as u64 >= AT_ONCE, "and as many at a time as were to be");
    let mut spans: HashMap<u64, Span> = HashMap::new();
    for span in std::mem::take(&mut outcome.spans) {
        let twice = spans.insert(number(&span), span);
        assert!(twice.is_none(), "two spans of one request: {twice:?}");
    }
    let ids: HashSet<_> = spans.values().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "span ids are unique");
    let found = routes_found(&truth, &spans);
    let slack = CLOCK + uncertainty;
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for truth in &truth {
        let span = spans.remove(&truth.number).unwrap_or_else(|| panic!("no span of {truth:?}"));
        expected::request::assert_equal(&span, &without_routes(truth, found), build.version);
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
    let oddities = outcome.oddities().into_iter().filter(|(name, _)| !harmless.contains(name));
    assert_eq!(oddities.collect::<Vec<_>>(), [], "{}", outcome.messages);
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
    found
}

/// Which routes there are, told by the spans alone: of all requests, of those that nobody copied, or of none.
fn routes_found(truth: &[Truth], spans: &HashMap<u64, Span>) -> Found {
    let has_route =
        |truth: &&Truth| spans.get(&truth.number).is_some_and(|span| !span.text("http.route").is_empty());
    let (copied, original): (Vec<_>, Vec<_>) =
        truth.iter().filter(has_route).partition(|truth| truth.original_route.is_empty());
    match (original.is_empty(), copied.is_empty()) {
        (false, false) => Found::Equal,
        (false, true) => Found::WithoutRoutesOfCopies,
        (true, _) => Found::WithoutRoutes,
    }
}

/// The truth without those that are not found.
fn without_routes(truth: &Truth, found: Found) -> Truth {
    let is_known = match found {
        Found::Equal => true,
        Found::WithoutRoutesOfCopies => !truth.original_route.is_empty(),
        Found::WithoutRoutes | Found::Wrong => false,
    };
    let mut truth = truth.clone();
    if !is_known {
        (truth.route, truth.original_route) = (String::new(), String::new());
    }
    truth
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
