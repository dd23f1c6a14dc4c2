//! Whether metrics of the agent itself are sent, and how often (specification/metrics/sdk_exporters/otlp.md, 1.57).

use std::time::Duration;

use super::{Flags, OtlpSettings, exporter};
use crate::variables::{LONGEST, Variables};

/// Where metrics are sent and how often.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// The endpoint.
    pub otlp: OtlpSettings,
    /// How often (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub interval: Duration,
    /// How long that may take (`OTEL_METRIC_EXPORT_TIMEOUT`).
    pub timeout: Duration,
}

/// `None` if they are not sent, which is so if nothing is said, or if something was refused.
pub(super) fn read(variables: &mut Variables<'_>, flags: &Flags) -> Option<MetricsSettings> {
    let is_asked = match variables.word(&["OTEL_METRICS_EXPORTER"]) {
        Some((_, word)) if word == "otlp" => true,
        None => false,
        Some((_, word)) if word == "none" => false,
        Some((name, word)) => {
            let reason =
                format!("{word:?} is neither otlp nor none; /metrics at the status socket is there anyway");
            variables.refuse(name, reason);
            false
        }
    };
    let interval = variables.timeout(&["OTEL_METRIC_EXPORT_INTERVAL"]).filter(|interval| !interval.is_zero());
    let timeout = variables.timeout(&["OTEL_METRIC_EXPORT_TIMEOUT"]);
    if !is_asked {
        return None;
    }
    let endpoint = exporter::endpoint(variables, flags, &exporter::METRICS);
    let otlp = exporter::otlp(variables, flags, &exporter::METRICS, endpoint)?;
    let timeout = match timeout {
        None => Duration::from_secs(30),
        Some(Duration::ZERO) => LONGEST,
        Some(timeout) => timeout,
    };
    Some(MetricsSettings { otlp, interval: interval.unwrap_or(Duration::from_mins(1)), timeout })
}
