//! Variables to settings, one by one.

use std::ffi::OsString;
use std::time::Duration;

use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::transport::Uri;

use super::{Flags, OtlpSettings, Protocol, Refused};
use crate::resource::environment::percent_decoded;

/// What `OTEL_TRACES_EXPORTER` names.
#[derive(Clone, Copy, Default)]
pub(super) struct Exporters {
    pub(super) otlp: bool,
    pub(super) console: bool,
}

/// Reads variables, and collects what is wrong with them.
pub(super) struct Reader<F> {
    variable: F,
    pub(super) refused: Vec<Refused>,
}

const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const COMPRESSION: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const INSECURE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
const TLS: [&str; 6] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];
const NO_TLS: &str = "this build speaks no TLS yet; send to a Collector nearby over http://";

impl<F: Fn(&str) -> Option<OsString>> Reader<F> {
    pub(super) fn new(variable: F) -> Self {
        Self { variable, refused: Vec::new() }
    }

    pub(super) fn refuse(&mut self, setting: &'static str, reason: impl Into<String>) {
        self.refused.push(Refused { setting, reason: reason.into() });
    }

    /// The first of the variables that is set, with its name.
    fn first(&mut self, names: &[&'static str]) -> Option<(&'static str, String)> {
        for name in names {
            let Some(value) = (self.variable)(name).filter(|value| !value.is_empty()) else { continue };
            match value.into_string() {
                Ok(value) => return Some((name, value.trim().to_owned())),
                Err(_) => self.refuse(name, "is no valid UTF-8"),
            }
        }
        None
    }

    pub(super) fn number(&mut self, name: &'static str, default: usize) -> usize {
        let Some((name, value)) = self.first(&[name]) else { return default };
        match value.parse() {
            Ok(number) if number > 0 => number,
            _ => {
                self.refuse(name, format!("{value:?} is no positive number"));
                default
            }
        }
    }

    pub(super) fn milliseconds(&mut self, names: &[&'static str], default: u64) -> Duration {
        let value = self.first(names).map(|(name, value)| (name, value.parse::<u64>().ok(), value));
        match value {
            None => Duration::from_millis(default),
            // A day is longer than anyone means, and what is added to a clock must not overflow it.
            Some((_, Some(number @ 1..=86_400_000), _)) => Duration::from_millis(number),
            Some((name, _, value)) => {
                self.refuse(name, format!("{value:?} is no number of milliseconds between 1 and 86400000"));
                Duration::from_millis(default)
            }
        }
    }

    pub(super) fn exporters(&mut self) -> Option<Exporters> {
        let (name, list) = self.first(&["OTEL_TRACES_EXPORTER"])?;
        let mut exporters = Exporters::default();
        for exporter in list.split(',').map(str::trim) {
            match exporter {
                "otlp" => exporters.otlp = true,
                "console" => exporters.console = true,
                "none" => {}
                other => self.refuse(name, format!("{other:?} is none of otlp, console, none")),
            }
        }
        Some(exporters)
    }

    /// The endpoint as said, where it was said, and whether it is the base of several.
    pub(super) fn endpoint(&mut self, flags: &Flags) -> Option<(&'static str, String, bool)> {
        if let Some(endpoint) = &flags.endpoint {
            return Some(("--endpoint", endpoint.clone(), true));
        }
        let (name, endpoint) = self.first(&ENDPOINT)?;
        Some((name, endpoint, name == "OTEL_EXPORTER_OTLP_ENDPOINT"))
    }

    pub(super) fn otlp(
        &mut self,
        flags: &Flags,
        endpoint: Option<(&'static str, String, bool)>,
    ) -> Option<OtlpSettings> {
        let protocol = match &flags.protocol {
            Some(protocol) => Some(("--protocol", protocol.clone())),
            None => self.first(&PROTOCOL),
        };
        let protocol = match protocol.as_ref().map(|(name, protocol)| (*name, protocol.as_str())) {
            Some((_, "grpc")) => Protocol::Grpc,
            // What the specification recommends as the default.
            None | Some((_, "http/protobuf")) => Protocol::HttpProtobuf,
            Some((name, other)) => {
                self.refuse(name, format!("{other:?} is neither grpc nor http/protobuf"));
                Protocol::HttpProtobuf
            }
        };
        for name in TLS {
            if self.first(&[name]).is_some() {
                self.refuse(name, NO_TLS);
            }
        }
        let endpoint = match endpoint {
            Some((name, endpoint, is_base)) => self.url(name, &endpoint, is_base, protocol),
            None if protocol == Protocol::Grpc => Some("http://localhost:4317".to_owned()),
            None => Some("http://localhost:4318/v1/traces".to_owned()),
        };
        let headers = self.headers();
        let timeout = self.milliseconds(&TIMEOUT, 10_000);
        let is_compressed = match self.first(&COMPRESSION) {
            None => false,
            Some((_, value)) if value == "none" => false,
            Some((_, value)) if value == "gzip" => true,
            Some((name, value)) => {
                self.refuse(name, format!("{value:?} is neither gzip nor none"));
                false
            }
        };
        Some(OtlpSettings { endpoint: endpoint?, protocol, headers, timeout, is_compressed })
    }

    fn url(&mut self, name: &'static str, said: &str, is_base: bool, protocol: Protocol) -> Option<String> {
        let mut url = said.to_owned();
        if !said.contains("://") {
            // As the specification has it, without a scheme gRPC is secure unless said otherwise.
            let is_insecure =
                self.first(&INSECURE).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
            if protocol == Protocol::HttpProtobuf || !is_insecure {
                self.refuse(name, format!("{said:?} has no scheme; write http://{said}"));
                return None;
            }
            url = format!("http://{said}");
        }
        let uri = match url.parse::<Uri>() {
            Ok(uri) => uri,
            Err(error) => {
                self.refuse(name, format!("{said:?} is no URL: {error}"));
                return None;
            }
        };
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                self.refuse(name, NO_TLS);
                return None;
            }
            _ => {
                self.refuse(name, format!("{said:?} starts with neither http:// nor https://"));
                return None;
            }
        }
        if protocol == Protocol::HttpProtobuf && is_base {
            url = format!("{}/v1/traces", url.trim_end_matches('/'));
        }
        Some(url)
    }

    /// `name=value,…` with percent-encoded values. What is wrong is told without the values: they may be secrets.
    fn headers(&mut self) -> Vec<(String, String)> {
        let Some((variable, list)) = self.first(&HEADERS) else { return Vec::new() };
        let mut headers = Vec::new();
        for member in list.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let header = member.split_once('=').and_then(|(name, value)| {
                let name = name.trim().to_ascii_lowercase();
                let value = percent_decoded(value.trim())?;
                AsciiMetadataKey::from_bytes(name.as_bytes()).ok()?;
                value.parse::<AsciiMetadataValue>().ok()?;
                Some((name, value))
            });
            let Some(header) = header else {
                let number = headers.len() + 1;
                self.refuse(variable, format!("member {number} is no name=value that can be sent"));
                break;
            };
            headers.push(header);
        }
        headers
    }
}
