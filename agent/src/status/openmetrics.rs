//! Metrics as text in the form of OpenMetrics 1.0, for Prometheus and whoever else reads that.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Status;
use super::metrics::{Kind, Value, table};

/// What the text is, as in the header `content-type`.
pub const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Metrics(Status);

/// The metrics of a status.
///
/// # Errors
/// There are none: writing to memory does not fail.
pub fn text(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(status)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in table() {
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let unit = match metric.unit {
                "s" => Some(Unit::Seconds),
                "By" => Some(Unit::Bytes),
                _ => None,
            };
            let name = metric.plain_name();
            let mut family = encoder.encode_descriptor(&name, &metric.help, unit.as_ref(), kind)?;
            for sample in metric.samples(&self.0) {
                let labels: Vec<_> =
                    sample.attributes.iter().map(|(key, value)| (label(key), value.as_str())).collect();
                let mut one = family.encode_family(&labels)?;
                match sample.value {
                    Value::Count(count) => one.encode_counter::<NoLabelSet, u64, u64>(&count, None)?,
                    Value::Level(level) => one.encode_gauge(&level)?,
                }
            }
        }
        Ok(())
    }
}

/// `service.name` is `service_name`.
fn label(key: &str) -> String {
    key.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Delivery;

    #[test]
    fn it_is_as_the_standard_has_it_whatever_a_service_is_called() {
        let of_service = [("spans_exported".to_owned(), 4)].into();
        let status = Status {
            version: "1.2.3".to_owned(),
            counts_age_seconds: Some(0.25),
            delivery: Delivery {
                max_bytes: 1 << 24,
                services: [("a\"b\\c\nd".to_owned(), of_service)].into(),
                ..Delivery::default()
            },
            counts: [("started".to_owned(), u64::MAX), ("paused_seconds".to_owned(), 3)].into(),
            ..Status::default()
        };
        let text = text(status).unwrap();
        for line in [
            "# TYPE lightfoot_info gauge",
            "lightfoot_info{version=\"1.2.3\"} 1.0",
            "# HELP lightfoot_spans_started Spans started, sampled or not",
            "lightfoot_spans_started_total 18446744073709551615",
            "# UNIT lightfoot_queue_limit_bytes bytes",
            "lightfoot_queue_limit_bytes 16777216.0",
            "lightfoot_paused_time_seconds_total 3",
            "lightfoot_counts_age_seconds 0.25",
            "lightfoot_spans_lost_total{cause=\"ring_full\"} 0",
            "lightfoot_service_spans_total{service_name=\"a\\\"b\\\\c\\nd\",outcome=\"exported\"} 4",
        ] {
            assert!(text.lines().any(|one| one.starts_with(line)), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }
}
