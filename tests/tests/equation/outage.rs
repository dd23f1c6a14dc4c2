//! An endpoint that is away for much longer than its queue has room: its port is closed, then it says nothing, then that it
//! cannot, and then it is back. An hour of that is only more of the same, once all queues are full and all waits are the
//! longest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lightfoot_tests::extent::Extent;
use lightfoot_tests::live::{is_privileged, wait_for};

use crate::balance::Truth;
use crate::causes::plain;
use crate::endpoint::{Endpoint, Reply};
use crate::load::{CLIENTS, numbers, send};
use crate::scene::{Output, Scene, accepted};

/// Spans that may wait.
const QUEUE: u64 = 256;
/// Requests of each client in a while: four times as many as may wait.
const EACH: u64 = 4 * QUEUE / CLIENTS;
/// What the endpoint answers: nothing, that it is overloaded, or that it took all.
const REPLIES: [Option<&str>; 3] = [None, Some("503 Service Unavailable"), Some("200 OK")];

#[test]
fn after_an_outage_what_waited_is_delivered_and_the_rest_is_counted() {
    if !is_privileged("an outage") {
        return;
    }
    // With a minute each, waits between tries become the longest that there are.
    let lasts = Duration::from_secs(Extent::of_environment().pick(2, 60));
    // Nobody else takes a port of that address meanwhile.
    let [high, low] = u16::try_from(std::process::id() & 0xffff).unwrap().to_be_bytes();
    let address = format!("127.77.{high}.{low}:4318");
    let settings = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "256"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
    ];
    let scene = Scene::set(Output::At(format!("http://{address}")), &[], &settings);
    let lost = || scene.agent.counts().unwrap().get("spans_lost_queue_full").copied().unwrap_or(0);
    let mut first = 0;
    let mut ask = || {
        send(scene.server.address, first, EACH, plain);
        first += EACH * CLIENTS;
        scene.agent.counts_to("spans_pushed", first).unwrap();
    };
    ask();
    thread::sleep(lasts);
    let mut before = lost();
    assert_eq!(before, EACH * CLIENTS - QUEUE);

    let reply = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&reply);
    let endpoint =
        Endpoint::start_at(&address, move |_| REPLIES[now.load(Ordering::SeqCst)].map(Reply::from));
    for number in 0..2 {
        reply.store(number, Ordering::SeqCst);
        let requests = endpoint.requests.load(Ordering::SeqCst);
        // Nothing of this while has room: the oldest wait on.
        ask();
        thread::sleep(lasts);
        let tried = || (endpoint.requests.load(Ordering::SeqCst) > requests).then_some(());
        wait_for("another try", tried).unwrap();
        assert_eq!(lost(), before + EACH * CLIENTS, "{}", scene.agent.messages());
        before = lost();
    }
    reply.store(2, Ordering::SeqCst);
    scene.agent.counts_to("spans_exported", QUEUE).unwrap();
    // Spans flow as before: whatever there is room for.
    send(scene.server.address, first, QUEUE / CLIENTS / 2, plain);
    scene.agent.counts_to("spans_exported", QUEUE + QUEUE / 2).unwrap();
    assert_eq!(lost(), before);

    let (requests, _, outcome) = scene.end();
    let truth = Truth { certain: numbers(&requests), ..Truth::default() };
    let delivered = accepted(&endpoint, |_| true);
    truth.assert_balanced("an outage", &delivered, &outcome, &["spans_lost_queue_full"]);
    assert!(outcome.count("export_retries") > 0, "{}", outcome.messages);
}
