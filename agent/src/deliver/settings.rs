//! What the user said about delivery: the standard variables of OpenTelemetry, and the flags that override them.
//!
//! A value that is not understood is refused, with all others that are not, before anything starts. An empty value is
//! none. A variable for traces alone wins over the one for all signals, a flag over both.

use std::ffi::OsString;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use thiserror::Error;
use tonic::transport::Uri;

use super::Format;

mod reader;

use reader::Reader;

/// Where spans go and within which bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The OTLP endpoint, if any.
    pub otlp: Option<OtlpSettings>,
    /// What is printed on standard output, if anything.
    pub format: Option<Format>,
    /// At most so many spans wait or are under way (`OTEL_BSP_MAX_QUEUE_SIZE`).
    pub queue_spans: usize,
    /// At most so many bytes of spans wait or are under way: [`BYTES_PER_SPAN`] for each span of the queue.
    pub queue_bytes: usize,
    /// A batch has at most so many spans and leaves when it has (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
    pub batch_spans: usize,
    /// A batch leaves after that time at the latest (`OTEL_BSP_SCHEDULE_DELAY`).
    pub schedule_delay: Duration,
    /// A batch is given up after that time, retries included (`OTEL_BSP_EXPORT_TIMEOUT`).
    pub export_timeout: Duration,
}

/// The part of [`Settings::queue_bytes`] that each span of the queue contributes; a plain HTTP span takes 1.2 KiB.
pub const BYTES_PER_SPAN: usize = 2 << 10;

/// An OTLP endpoint and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The whole URL; for HTTP with the path that spans are posted to.
    pub endpoint: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Sent with each request, decoded.
    pub headers: Vec<(String, String)>,
    /// For one request, and for all retries of a batch together.
    pub timeout: Duration,
    /// Whether requests are compressed with gzip.
    pub is_compressed: bool,
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
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
}

/// All settings that are refused.
#[derive(Debug, Error)]
pub struct SettingsError(pub Vec<Refused>);

/// A setting that is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The variable, or the flag.
    pub setting: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings that cannot be followed:")?;
        self.0.iter().try_for_each(|refused| write!(f, "\n  {}: {}", refused.setting, refused.reason))
    }
}

impl OtlpSettings {
    /// Host and port of the endpoint.
    pub fn host_and_port(&self) -> Option<(String, u16)> {
        let uri: Uri = self.endpoint.parse().ok()?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        Some((uri.host()?.trim_matches(['[', ']']).to_owned(), port))
    }

    /// The addresses of the endpoint, so that whoever listens there can be left unwatched: its own spans would come
    /// back as new ones. Asks the resolver, so it may block.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        let Some(address) = self.host_and_port() else { return Ok(Vec::new()) };
        Ok(address.to_socket_addrs()?.collect())
    }
}

impl Settings {
    /// Reads the variables by `variable` (as `std::env::var_os`). Spans are exported if an endpoint is named or
    /// `OTEL_TRACES_EXPORTER` asks for it, and printed if they are not exported or if a flag asks for it.
    pub fn from_env_and_flags(
        variable: impl Fn(&str) -> Option<OsString>,
        flags: &Flags,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(variable);
        let exporters = reader.exporters();
        let endpoint = reader.endpoint(flags);
        let otlp = match (exporters, &endpoint) {
            (Some(exporters), _) if !exporters.otlp => None,
            (None, None) => None,
            _ => Some(reader.otlp(flags, endpoint)),
        };
        let by_default = match exporters {
            Some(exporters) => exporters.console,
            None => otlp.is_none(),
        };
        let queue_spans = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 8_192);
        let settings = Self {
            otlp: otlp.flatten(),
            format: flags.format.or(by_default.then_some(Format::Tree)),
            queue_spans,
            queue_bytes: queue_spans.saturating_mul(BYTES_PER_SPAN),
            batch_spans: reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            schedule_delay: reader.milliseconds(&["OTEL_BSP_SCHEDULE_DELAY"], 500),
            export_timeout: reader.milliseconds(&["OTEL_BSP_EXPORT_TIMEOUT"], 30_000),
        };
        if settings.batch_spans > settings.queue_spans {
            let reason =
                format!("{} is more than the queue's {}", settings.batch_spans, settings.queue_spans);
            reader.refuse("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", reason);
        }
        if reader.refused.is_empty() { Ok(settings) } else { Err(SettingsError(reader.refused)) }
    }
}

#[cfg(test)]
mod tests;
