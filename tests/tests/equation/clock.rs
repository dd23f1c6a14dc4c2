//! The time of day is set, forth and back by an hour, while an agent works: spans have the time that holds when they start, last as
//! long as they lasted, and none is lost; nothing waits for an hour.
//!
//! Only a machine of the test's own is treated so: a virtual one (`target/debug/vm x86_64 6.12 '' equation clock`).

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lightfoot::clock::REANCHOR_INTERVAL;
use lightfoot_tests::live::{Truth as Request, boot_time, is_privileged, slowness, wall_offset};
use opentelemetry_proto::tonic::trace::v1::Span as Exported;
use rustix::time::{ClockId, clock_gettime, clock_settime};

use crate::balance::Truth;
use crate::causes::plain;
use crate::endpoint::Endpoint;
use crate::load::{CLIENTS, Group, Load, numbers, send};
use crate::scene::{Output, Scene, number, path, taken};

/// What `tests/src/bin/vm/init.sh` says of a machine whose time of day may be set.
const OWN_CLOCK: &str = "LIGHTFOOT_TEST_SETS_CLOCK";
/// In seconds. In the end it is as it was.
const STEPS: [i64; 3] = [3_600, -7_200, 3_600];
/// How far the time of a span may be off, in nanoseconds, where the alternative is off by an hour.
const NEAR: u64 = 5_000_000_000;
/// An endpoint is given so long for an answer, in milliseconds.
const TIMEOUT: &str = "2000";

/// A time of day that holds from some moment on, in nanoseconds.
struct Era {
    /// Of `CLOCK_BOOTTIME`; spans that start soon after may have the time of day before.
    since: u64,
    offset: u64,
}

#[test]
fn spans_have_the_time_of_day_that_was_set_and_none_is_lost() {
    if env::var_os(OWN_CLOCK).is_none() {
        println!("skipped: the time of day of this machine is not for tests to set");
        return;
    }
    if !is_privileged("setting the time of day") {
        return;
    }
    // It says nothing, then that it cannot, and then takes what it gets, and so on: each step meets one that waits.
    let endpoint = Endpoint::start(|request| match request % 4 {
        0 => None,
        1 => Some("503 Service Unavailable"),
        _ => Some("200 OK"),
    });
    let sent = Arc::clone(&endpoint.accepted);
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let scene = Scene::set(Output::Sent(endpoint, |_| true), &["--flush-timeout", "60"], &variables);
    let soon = REANCHOR_INTERVAL + Duration::from_millis(200) * slowness();
    let mut eras = vec![Era { since: 0, offset: wall_offset().0 }];
    let server = scene.server.address;
    for (round, step) in (1_u64..).zip(STEPS) {
        let first = round << 20;
        send(server, first, 5, plain);
        let held = Group::hold(server, first, 2);
        // Also while the time is set.
        let load = Load::start(server, first + 1_000 * CLIENTS, 1 << 16, |number| {
            format!("/plain/{number}?wait=20")
        });
        thread::sleep(Duration::from_millis(200));
        let since = boot_time();
        set_back_or_forth(step);
        eras.push(Era { since, offset: wall_offset().0 });
        thread::sleep(Duration::from_millis(200));
        load.stop();
        // The first one after a while in which nobody has asked for anything is of the new time.
        thread::sleep(soon);
        held.release();
        send(server, first + 2_000 * CLIENTS, 5, plain);
    }
    let (requests, delivered, outcome) = scene.end();
    let truth = Truth { certain: numbers(&requests), ..Truth::default() };
    truth.assert_balanced("clock steps", &delivered, &outcome, &[]);
    assert!(outcome.count("export_retries") > 0, "{}", outcome.messages);

    let requests: BTreeMap<u64, &Request> =
        requests.iter().map(|request| (request.number, request)).collect();
    let (mut late, soon) = (0, u64::try_from(soon.as_nanos()).unwrap());
    for span in taken(&sent.lock().unwrap(), |_| true) {
        let request = requests[&number(&path(span))];
        assert_lasts_as_long(span, request);
        let is_of = |era: &Era| (request.start + era.offset).abs_diff(span.start_time_unix_nano) < NEAR;
        let now = eras.iter().rposition(|era| era.since <= request.start).unwrap();
        if !is_of(&eras[now]) {
            let is_soon = request.start < eras[now].since + soon;
            assert!(is_soon && is_of(&eras[now - 1]), "{request:?} at {}", span.start_time_unix_nano);
            late += 1;
        }
    }
    println!("{} spans, {late} of them with the time of day from just before it was set", requests.len());
}

/// Not negative, and not by an hour more or less.
fn assert_lasts_as_long(span: &Exported, request: &Request) {
    let lasted = request.end - request.start;
    let told = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano).unwrap();
    assert!((lasted..lasted + NEAR).contains(&told), "{told} for {request:?}");
}

fn set_back_or_forth(seconds: i64) {
    let mut time = clock_gettime(ClockId::Realtime);
    time.tv_sec += seconds;
    clock_settime(ClockId::Realtime, time).unwrap();
}
