//! Losses while agent and server run.

use std::thread;
use std::time::Duration;

use lightfoot_tests::live::is_privileged;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use rustix::process::Signal;

use crate::balance::Truth;
use crate::endpoint::{Endpoint, Reply};
use crate::load::{Group, numbers, send};
use crate::scene::{Output, Scene};

/// A way to lose spans.
struct Cause {
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    output: fn() -> Output,
    drive: fn(&Scene),
    /// The counters of losses that move, in their order.
    counters: &'static [&'static str],
}

const CAUSES: &[Cause] = &[
    Cause {
        name: "none",
        arguments: &[],
        variables: &[],
        output: || Output::Printed,
        drive: |scene| send(scene.server.address, 0, 200, plain),
        counters: &[],
    },
    Cause {
        name: "a tiny ring and a slow reader",
        arguments: &["--ring-size", "4"],
        variables: &[],
        output: || Output::Printed,
        drive: with_a_slow_reader,
        counters: &["ring_full"],
    },
    Cause {
        name: "too many open spans",
        arguments: &["--max-open-spans", "16"],
        variables: &[],
        output: || Output::Printed,
        drive: many_at_once,
        counters: &["in_flight_full"],
    },
    Cause {
        name: "both",
        arguments: &["--max-open-spans", "16", "--ring-size", "4"],
        variables: &[],
        output: || Output::Printed,
        drive: |scene| {
            with_a_slow_reader(scene);
            many_at_once(scene);
        },
        counters: &["ring_full", "in_flight_full"],
    },
    Cause {
        name: "a queue of a few spans",
        arguments: &[],
        variables: &[("OTEL_BSP_MAX_QUEUE_SIZE", "64"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")],
        output: slow,
        drive: |scene| send(scene.server.address, 0, 100, plain),
        counters: &["spans_lost_queue_full"],
    },
    Cause {
        name: "a queue of a few bytes",
        arguments: &["--queue-size", "1", "--flush-timeout", "60"],
        variables: &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")],
        output: slow,
        drive: |scene| {
            send(scene.server.address, 0, 200, |number| format!("/plain/{number}/{}", "p".repeat(1000)));
        },
        counters: &["spans_lost_queue_bytes"],
    },
    Cause {
        name: "an endpoint that refuses some batches and rejects part of others",
        arguments: &[],
        variables: &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")],
        output: particular,
        drive: |scene| send(scene.server.address, 0, 100, plain),
        counters: &["spans_lost_refused", "spans_lost_rejected"],
    },
    Cause {
        name: "an endpoint that is gone",
        arguments: &["--flush-timeout", "1"],
        variables: &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"), ("OTEL_BSP_SCHEDULE_DELAY", "100")],
        output: vanishing,
        drive: |scene| {
            for first in [0, 100, 200, 300, 400] {
                send(scene.server.address, first * 8, 20, plain);
                thread::sleep(Duration::from_millis(150));
            }
        },
        counters: &["spans_lost_unfinished"],
    },
    Cause {
        name: "nobody listens",
        arguments: &[],
        variables: &[("OTEL_BSP_EXPORT_TIMEOUT", "300")],
        output: || Output::Nowhere,
        drive: |scene| {
            send(scene.server.address, 0, 50, plain);
            scene.agent.counts_to("spans_lost_export_timeout", 400).unwrap();
        },
        counters: &["spans_lost_export_timeout"],
    },
];

#[test]
fn what_is_not_delivered_is_counted() {
    if !is_privileged("what is not delivered is counted") {
        return;
    }
    for cause in CAUSES {
        let scene = Scene::set((cause.output)(), cause.arguments, cause.variables);
        (cause.drive)(&scene);
        let (truth, delivered, outcome) = scene.end();
        let truth = Truth { certain: numbers(&truth), ..Truth::default() };
        truth.assert_balanced(cause.name, &delivered, &outcome, cause.counters);
    }
}

/// A path whose handler does nothing.
pub(crate) fn plain(number: u64) -> String {
    format!("/plain/{number}")
}

/// An agent that pauses again and again.
fn with_a_slow_reader(scene: &Scene) {
    for round in 0..5 {
        scene.agent.signal(Signal::STOP);
        send(scene.server.address, round * 1_000, 50, plain);
        scene.agent.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(50));
    }
}

/// Far more requests at once than may be open, and then others.
fn many_at_once(scene: &Scene) {
    for round in 0..3 {
        Group::hold(scene.server.address, round * 1_000, 200).release();
        send(scene.server.address, (10 + round) * 1_000, 20, plain);
    }
}

/// An endpoint that takes its time.
fn slow() -> Output {
    let endpoint = Endpoint::start(|_| {
        thread::sleep(Duration::from_millis(150));
        Some("200 OK")
    });
    Output::Sent(endpoint, |_| true)
}

/// An endpoint that takes one batch whole, one without its first span, and one not at all, and so on.
fn particular() -> Output {
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "the first".to_owned() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let endpoint = Endpoint::start(move |request| {
        Some(match request % 3 {
            0 => Reply::from("200 OK"),
            1 => Reply::from(("200 OK", partial.clone())),
            _ => Reply::from("400 Bad Request"),
        })
    });
    Output::Sent(endpoint, |order| order.is_multiple_of(2))
}

/// An endpoint that says nothing any more after three batches.
fn vanishing() -> Output {
    Output::Sent(Endpoint::start(|request| (request < 3).then_some("200 OK")), |_| true)
}
