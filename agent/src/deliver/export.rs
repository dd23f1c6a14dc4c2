//! Batches on their way: one at a time for each Resource, over one shared connection.

use std::sync::Arc;

use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Settings;
use super::otlp::Otlp;
use super::queue::{Batch, Queue};
use crate::counters::Counter;

/// Sends what the queue holds, until it is told to end.
pub(super) async fn run(queue: Arc<Queue>, otlp: Otlp, settings: Settings) {
    let mut under_way = JoinSet::new();
    let mut tick = interval(settings.schedule_delay);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_due = tokio::select! {
            _ = tick.tick() => true,
            () = queue.wake.notified() => false,
            () = queue.end.notified() => {
                // Cancels what is under way, and waits until all of it is counted.
                under_way.shutdown().await;
                return;
            }
            // A Resource whose batch has landed may have the next one waiting.
            Some(_) = under_way.join_next() => false,
        };
        for mut batch in queue.take(is_due) {
            let exporter = match batch.exporter.take() {
                Some(exporter) => exporter,
                None => match otlp.exporter(&batch.identity.resource) {
                    Ok(exporter) => {
                        let exporter = Arc::new(exporter);
                        queue.keep(&batch, &exporter);
                        exporter
                    }
                    Err(error) => {
                        queue.failed(error.to_string());
                        batch.landed(Counter::ExportFailed);
                        continue;
                    }
                },
            };
            under_way.spawn(export(Arc::clone(&queue), exporter, batch, settings.export_timeout));
        }
    }
}

/// One batch: the exporter retries what can be retried, within its own time-out.
async fn export(
    queue: Arc<Queue>,
    exporter: Arc<opentelemetry_otlp::SpanExporter>,
    mut batch: Batch,
    within: std::time::Duration,
) {
    let spans = std::mem::take(&mut batch.spans);
    let error = match timeout(within, exporter.export(spans)).await {
        Ok(Ok(())) => return batch.landed(Counter::Exported),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {within:?}"),
    };
    queue.failed(error);
    batch.landed(Counter::ExportFailed);
}
