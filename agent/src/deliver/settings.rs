//! What the user said about delivery: the standard variables of OpenTelemetry, and the flags that override them.
//!
//! A variable for traces alone wins over the one for all signals, a flag over both. Where a default differs from the
//! specification's, the field says so and why.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use hyper_util::client::proxy::matcher::Intercept;
use rustls::ClientConfig;

use super::{Format, Limits};
use crate::variables::Variables;

mod exporter;
mod metrics;
mod proxy;
mod tls;

pub use metrics::MetricsSettings;

/// What waits for the endpoint at most, unless something else is asked for.
pub const QUEUE_BYTES: usize = 16 << 20;

/// Where spans go and within which bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Nothing is to be watched at all (`OTEL_SDK_DISABLED`).
    pub is_disabled: bool,
    /// The OTLP endpoint, if any.
    pub otlp: Option<OtlpSettings>,
    /// Where metrics of the agent itself are sent, if anywhere.
    pub metrics: Option<MetricsSettings>,
    /// What is printed on standard output, if anything.
    pub format: Option<Format>,
    /// What a span may have.
    pub limits: Limits,
    /// At most so many spans of one service wait or are under way (`OTEL_BSP_MAX_QUEUE_SIZE`): 8,192, not the
    /// specification's 2,048, for an outage of some seconds should cost a busy service nothing.
    pub queue_spans: usize,
    /// At most so many encoded bytes of spans wait or are under way, for all services together (`--queue-size`).
    pub queue_bytes: usize,
    /// A batch has at most so many spans and leaves when it has (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
    pub batch_spans: usize,
    /// A batch leaves after that time at the latest (`OTEL_BSP_SCHEDULE_DELAY`): half a second, not the specification's
    /// five, for somebody may be watching.
    pub schedule_delay: Duration,
    /// A batch is given up after that time, retries included (`OTEL_BSP_EXPORT_TIMEOUT`). Without it a batch is retried
    /// as long as the queue holds it: what is given up earlier would only make room that nobody needs.
    pub export_timeout: Option<Duration>,
    /// How long the last spans may take at the end (`--flush-timeout`, else as `export_timeout`).
    pub flush_timeout: Duration,
}

/// An OTLP endpoint and how to speak to it.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    /// The whole URL, `http` or `https`; for HTTP with the path that requests are posted to.
    pub endpoint: Uri,
    /// The method that takes requests in gRPC.
    pub method: &'static str,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Sent with each request, decoded; values are marked as sensitive.
    pub headers: HeaderMap,
    /// For one request. Without a limit it is [`LONGEST`](crate::variables::LONGEST).
    pub timeout: Duration,
    /// Whether requests are compressed with gzip.
    pub is_compressed: bool,
    /// Whom to trust and what to present, where the endpoint is `https`.
    pub tls: Arc<ClientConfig>,
    /// The HTTP proxy on the way.
    pub proxy: Option<Intercept>,
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
    /// `http/json`
    HttpJson,
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--endpoint`: as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// `--protocol`: as `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Option<String>,
    /// `--format`; also asks for output where spans are exported.
    pub format: Option<Format>,
    /// `--queue-size`, in MiB.
    pub queue_size: Option<u16>,
    /// `--flush-timeout`.
    pub flush_timeout: Option<Duration>,
}

/// What `OTEL_TRACES_EXPORTER` names.
#[derive(Clone, Copy, Default)]
struct Exporters {
    otlp: bool,
    console: bool,
}

impl OtlpSettings {
    /// Host and port of the endpoint.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let port = self.endpoint.port_u16().unwrap_or(if self.endpoint.scheme_str() == Some("https") {
            443
        } else {
            80
        });
        Some((self.endpoint.host()?.trim_matches(['[', ']']), port))
    }

    /// The addresses of the endpoint, so that whoever listens there can be left unwatched: its own spans would come
    /// back as new ones. Asks the resolver, so it may block.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        let Some(address) = self.host_and_port() else { return Ok(Vec::new()) };
        Ok(address.to_socket_addrs()?.collect())
    }
}

impl Settings {
    /// Reads variables. Spans are exported if an endpoint is named or `OTEL_TRACES_EXPORTER` asks for it, and printed if
    /// they are not exported or if a flag asks for it.
    ///
    /// What is returned holds only if [`Variables::finish`] has nothing to refuse.
    pub fn read(variables: &mut Variables<'_>, flags: &Flags) -> Self {
        let exporters = exporters(variables);
        let endpoint = exporter::endpoint(variables, flags, &exporter::TRACES);
        let otlp = match (exporters, &endpoint) {
            (Some(exporters), _) if !exporters.otlp => {
                if flags.endpoint.is_some() {
                    variables.refuse("--endpoint", "OTEL_TRACES_EXPORTER does not name otlp");
                }
                None
            }
            (None, None) => None,
            _ => Some(exporter::otlp(variables, flags, &exporter::TRACES, endpoint)),
        };
        let by_default = match exporters {
            Some(exporters) => exporters.console,
            None => otlp.is_none(),
        };
        propagators(variables);
        let metrics = metrics::read(variables, flags);
        let export_timeout = variables.timeout(&["OTEL_BSP_EXPORT_TIMEOUT"]);
        let export_timeout = export_timeout.filter(|timeout| !timeout.is_zero());
        let positive = 1..=usize::MAX;
        let queue_spans = variables.number(&["OTEL_BSP_MAX_QUEUE_SIZE"], positive.clone()).unwrap_or(8_192);
        let batch_spans = variables.number(&["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], positive);
        if batch_spans.is_some_and(|batch| batch > queue_spans) {
            let reason = format!("is more than OTEL_BSP_MAX_QUEUE_SIZE, which is {queue_spans}");
            variables.refuse("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", reason);
        }
        Self {
            is_disabled: variables.boolean(&["OTEL_SDK_DISABLED"]),
            otlp: otlp.flatten(),
            metrics,
            format: flags.format.or(by_default.then_some(Format::Tree)),
            limits: Limits::read(variables),
            queue_spans,
            queue_bytes: flags.queue_size.map_or(QUEUE_BYTES, |mib| usize::from(mib) << 20),
            batch_spans: batch_spans.unwrap_or(512).min(queue_spans),
            schedule_delay: variables
                .milliseconds(&["OTEL_BSP_SCHEDULE_DELAY"])
                .unwrap_or(Duration::from_millis(500)),
            export_timeout,
            flush_timeout: flags.flush_timeout.or(export_timeout).unwrap_or(Duration::from_secs(5)),
        }
    }
}

fn exporters(variables: &mut Variables<'_>) -> Option<Exporters> {
    let (name, list) = variables.word(&["OTEL_TRACES_EXPORTER"])?;
    let mut exporters = Exporters::default();
    for exporter in list.split(',').map(str::trim) {
        match exporter {
            "otlp" => exporters.otlp = true,
            "console" => exporters.console = true,
            "none" if list == "none" => {}
            "none" => variables.refuse(name, "none goes with no other exporter"),
            other => variables.refuse(name, format!("{other:?} is none of otlp, console, none")),
        }
    }
    Some(exporters)
}

/// BPF reads `traceparent`, always. `baggage` travels in a header that nobody here touches, so asking for it is
/// harmless, and the specification's default does; it is not enough alone, for then `traceparent` is not wanted.
fn propagators(variables: &mut Variables<'_>) {
    let Some((name, list)) = variables.word(&["OTEL_PROPAGATORS"]) else { return };
    let mut speaks = false;
    for propagator in list.split(',').map(str::trim) {
        match propagator {
            "tracecontext" => speaks = true,
            "baggage" => {}
            other => {
                let reason = format!("{other:?} is neither tracecontext, which must be there, nor baggage");
                return variables.refuse(name, reason);
            }
        }
    }
    if !speaks {
        variables.refuse(name, "tracecontext is missing, and it cannot be switched off");
    }
}

#[cfg(test)]
mod tests;
