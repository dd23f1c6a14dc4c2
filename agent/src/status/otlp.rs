//! Metrics as OTLP has them (opentelemetry-proto 1.10, metrics/v1).

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::Status;
use super::metrics::{Kind, Metric, Sample, Value, table};
use crate::semconv;

/// What the metrics are about: an agent, by names and values.
pub type About = Vec<(&'static str, String)>;

/// The metrics of a status. Counters began with the agent, at `started`; all of it holds `now`.
pub fn request(
    status: &Status,
    about: &About,
    started: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    // Where the time of day was set back since, nothing may begin after its end.
    let (started, now) = (nanoseconds(started.min(now)), nanoseconds(now));
    let table = table();
    let metrics = table.iter().map(|metric| of(metric, status, started, now));
    let scope = proto::ScopeMetrics {
        scope: Some(InstrumentationScope {
            name: "lightfoot".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        }),
        // Where there is nothing to say of one, it is left out.
        metrics: metrics.filter(|metric| metric.data.is_some()).collect(),
        ..proto::ScopeMetrics::default()
    };
    let attributes = about.iter().map(|(key, value)| attribute(key, value)).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![proto::ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![scope],
            schema_url: semconv::SCHEMA_URL.to_owned(),
        }],
    }
}

fn of(metric: &Metric, status: &Status, started: u64, now: u64) -> proto::Metric {
    let point = |Sample { attributes, value }: Sample| proto::NumberDataPoint {
        attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        start_time_unix_nano: if metric.kind == Kind::Counter { started } else { 0 },
        time_unix_nano: now,
        value: Some(match value {
            Value::Count(count) => Number::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
            Value::Level(level) => Number::AsDouble(level),
        }),
        ..proto::NumberDataPoint::default()
    };
    let data_points: Vec<_> = metric.samples(status).into_iter().map(point).collect();
    let is_said = !data_points.is_empty();
    let data = match metric.kind {
        Kind::Counter => Data::Sum(proto::Sum {
            data_points,
            aggregation_temporality: proto::AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(proto::Gauge { data_points }),
    };
    proto::Metric {
        name: metric.name.clone(),
        description: metric.help.clone(),
        unit: metric.unit.to_owned(),
        data: is_said.then_some(data),
        ..proto::Metric::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
