//! Sending metrics of the agent itself to an OTLP endpoint, where that was asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::Answers;
use crate::deliver::{Courier, MetricsSettings};
use crate::resource::Host;
use crate::semconv as name;
use crate::status::otlp::{About, request};

/// Sends them.
pub(super) struct Exporter {
    answers: Arc<Answers>,
    courier: Courier,
    about: About,
    settings: MetricsSettings,
}

impl Exporter {
    /// To be called within a tokio runtime.
    pub(super) fn new(answers: Arc<Answers>, settings: MetricsSettings) -> Self {
        let courier = Courier::new(&settings.otlp);
        Self { courier, about: about(answers.board.began), answers, settings }
    }

    /// Sends them at each interval, until it is dropped.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut tick = interval(self.settings.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once, when there is nothing to say yet.
        tick.tick().await;
        let mut is_down = false;
        loop {
            tick.tick().await;
            let endpoint = &self.settings.otlp.endpoint;
            match self.send(self.settings.timeout).await {
                Ok(()) if std::mem::take(&mut is_down) => {
                    info!(%endpoint, "the endpoint takes metrics again");
                }
                Ok(()) => {}
                Err(error) if std::mem::replace(&mut is_down, true) => {
                    debug!(%endpoint, error, "the endpoint still takes no metrics");
                }
                // Counts are those since the start: whoever gets the next ones has missed nothing.
                Err(error) => {
                    warn!(%endpoint, error, "the endpoint takes no metrics; the next ones are sent all the same");
                }
            }
        }
    }

    /// Sends what they are now.
    pub(super) async fn send(&self, within: Duration) -> Result<(), String> {
        let status = self.answers.status().await;
        let request = request(&status, &self.about, self.answers.board.began, SystemTime::now());
        match timeout(within, self.courier.send(&request)).await {
            Ok(Ok(said)) => {
                if let Some(answer) = said {
                    debug!(answer, "the endpoint took metrics and warns");
                }
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err("it takes too long".to_owned()),
        }
    }
}

/// What the metrics are about.
fn about(started: SystemTime) -> About {
    let host = Host::detect(Path::new("/proc"));
    let pid = std::process::id();
    // Another one of the same number starts later.
    let instance = format!("{}\0{}\0{pid}\0{started:?}", host.name, host.boot_id);
    let mut about = vec![
        (name::SERVICE_NAME, "lightfoot".to_owned()),
        (name::SERVICE_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (name::SERVICE_INSTANCE_ID, Uuid::new_v5(&Uuid::NAMESPACE_OID, instance.as_bytes()).to_string()),
        (name::HOST_NAME, host.name),
        (name::HOST_ARCH, host.architecture.to_owned()),
        (name::OS_TYPE, "linux".to_owned()),
    ];
    about.extend(host.id.map(|id| (name::HOST_ID, id)));
    about
}
