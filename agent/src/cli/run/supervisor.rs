//! What systemd is told, where it has started us (sd_notify(3)): that all processes that were there have been looked at, that both
//! threads still turn, and that we end.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::debug;

use crate::watch::Question;

/// How often it is told how many processes are watched, where it does not watch over us.
const USUAL: Duration = Duration::from_secs(10);
/// How often it is asked at the start whether all have been looked at.
const SOON: Duration = Duration::from_millis(200);
/// So much longer may the start take each time, in microseconds: it goes on.
const MORE_TIME: u32 = 30_000_000;

/// Tells it until dropped. A report comes by way of both threads, after the sweep that is under way: while one of them hangs,
/// nothing is told.
pub(super) async fn follow(ask: mpsc::Sender<Question>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    // It may take a while until we get our turn.
    let pause = watchdog.map_or(USUAL, |limit| limit / 3);
    let mut is_ready = false;
    loop {
        let (answer, report) = oneshot::channel();
        if ask.send(Question { answer, with_maps: false }).await.is_err() {
            return;
        }
        if let Ok(report) = report.await {
            let state = match (is_ready, report.has_looked) {
                (true, _) => NotifyState::Watchdog,
                (false, true) => NotifyState::Ready,
                (false, false) => NotifyState::ExtendTimeoutUsec(MORE_TIME),
            };
            is_ready |= report.has_looked;
            let watched = report.processes.len();
            tell(&[state, NotifyState::Status(&format!("watching {watched} processes"))]);
        }
        sleep(if is_ready { pause } else { SOON }).await;
    }
}

/// Tells it that we end.
pub(super) fn ends() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "systemd cannot be told how it goes");
    }
}
