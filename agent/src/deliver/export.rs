//! Batches on their way: one at a time for each process, a few at once for all, each until it is answered for good.
//!
//! Turns go round: whoever waits for one has one batch in the line, which is served in its order. An endpoint that asks
//! for time gets it from all of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};

use super::Settings;
use super::notices::Notices;
use super::queue::{Batch, Outcome, Queue};
use super::retry::Backoff;
use super::transport::{Answer, Transport};
use crate::counters::Counter;

/// Requests under way at once, and so connections, where one carries one request at a time.
const MAX_AT_ONCE: usize = 8;
/// As long as the queue holds a batch: 30 years, for a clock has an end.
const FOREVER: Duration = Duration::from_hours(30 * 365 * 24);

/// What all exports share.
struct Exporter {
    queue: Arc<Queue>,
    transport: Transport,
    notices: Arc<Notices>,
    settings: Settings,
    turns: Semaphore,
    /// The endpoint wants to be left alone until then.
    quiet_until: Mutex<Instant>,
}

/// Sends what the queue holds, until it is told to end.
pub(super) async fn run(queue: Arc<Queue>, transport: Transport, notices: Arc<Notices>, settings: Settings) {
    let mut tick = interval(settings.schedule_delay);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let turns = Semaphore::new(MAX_AT_ONCE);
    let quiet_until = Mutex::new(Instant::now());
    let exporter = Arc::new(Exporter { queue, transport, notices, settings, turns, quiet_until });
    let mut under_way = JoinSet::new();
    loop {
        let is_due = tokio::select! {
            _ = tick.tick() => true,
            () = exporter.queue.wake.notified() => false,
            () = exporter.queue.end.notified() => {
                // Cancels what is under way, and waits until all of it is counted.
                under_way.shutdown().await;
                return;
            }
            // A process whose batch has landed may have the next one waiting.
            Some(_) = under_way.join_next() => false,
        };
        for batch in exporter.queue.take(is_due) {
            under_way.spawn(Arc::clone(&exporter).export(batch));
        }
    }
}

impl Exporter {
    /// One batch, until it is acknowledged, refused or given up.
    async fn export(self: Arc<Self>, mut batch: Batch) {
        let body = self.transport.pack(std::mem::take(&mut batch.body));
        let deadline = Instant::now() + self.settings.export_timeout.unwrap_or(FOREVER);
        let mut backoff = Backoff::default();
        loop {
            let Ok(answer) = timeout_at(deadline, self.send(&body)).await else {
                self.notices.failed("OTEL_BSP_EXPORT_TIMEOUT was over before it answered");
                self.notices.given_up(batch.spans());
                return batch.landed(Outcome::Lost(Counter::ExportTimedOut));
            };
            let (hint, error) = match answer {
                Answer::Accepted { rejected, message } => {
                    self.notices.accepted(&message, rejected.min(batch.spans()));
                    return batch.landed(Outcome::Accepted { rejected });
                }
                Answer::Refused { error } => {
                    self.notices.refused(&error);
                    return batch.landed(Outcome::Lost(Counter::Refused));
                }
                Answer::Later { hint, error } => (hint, error),
            };
            self.notices.failed(&error);
            let delay = backoff.next(hint, self.queue.is_draining());
            if hint.is_some() {
                let mut quiet_until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
                *quiet_until = (Instant::now() + delay).max(*quiet_until);
            }
            if Instant::now() + delay >= deadline {
                self.notices.given_up(batch.spans());
                return batch.landed(Outcome::Lost(Counter::ExportTimedOut));
            }
            batch.retried();
            tokio::select! {
                () = sleep(delay) => {}
                // Whoever asked for time gets it all the same.
                () = self.queue.hurry.notified(), if hint.is_none() => {}
            }
        }
    }

    /// A request, once it is its turn and the endpoint takes requests.
    async fn send(&self, body: &Bytes) -> Answer {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        loop {
            let quiet_until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
            if quiet_until <= Instant::now() {
                return self.transport.send(body).await;
            }
            sleep_until(quiet_until).await;
        }
    }
}
