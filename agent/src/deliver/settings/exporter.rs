//! The variables of the OTLP exporter (specification/protocol/exporter.md, 1.57).

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{Flags, OtlpSettings, Protocol, proxy, tls};
use crate::resource::environment::percent_decoded;
use crate::variables::{LONGEST, Variables};

/// What is sent, by the variables that say where to: the one for it alone, and the one for all signals.
pub(super) struct Signal {
    /// Where it is below an endpoint of HTTP that is for all.
    path: &'static str,
    /// The method that takes it in gRPC.
    method: &'static str,
    endpoint: Names,
    protocol: Names,
    headers: Names,
    timeout: Names,
    compression: Names,
    insecure: Names,
    pub(super) certificate: Names,
    pub(super) client_certificate: Names,
    pub(super) client_key: Names,
}

type Names = [&'static str; 2];

/// Spans.
pub(super) static TRACES: Signal = Signal {
    path: "/v1/traces",
    method: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    endpoint: ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    protocol: ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"],
    headers: ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
    timeout: ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
    compression: ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
    insecure: ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"],
    certificate: ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"],
    client_certificate: [
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    ],
    client_key: ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"],
};

/// Metrics.
pub(super) static METRICS: Signal = Signal {
    path: "/v1/metrics",
    method: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    endpoint: ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    protocol: ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"],
    headers: ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
    timeout: ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
    compression: ["OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
    insecure: ["OTEL_EXPORTER_OTLP_METRICS_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"],
    certificate: ["OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"],
    client_certificate: [
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    ],
    client_key: ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"],
};

/// Headers that say how a request is sent, which is not for others to say.
const FRAMING: [HeaderName; 6] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE];

/// An endpoint as said.
pub(super) struct Said {
    name: &'static str,
    text: String,
    /// Whether each signal has a path of its own below it.
    is_base: bool,
}

pub(super) fn endpoint(variables: &mut Variables<'_>, flags: &Flags, signal: &Signal) -> Option<Said> {
    if let Some(endpoint) = &flags.endpoint {
        return Some(Said { name: "--endpoint", text: endpoint.clone(), is_base: true });
    }
    let (name, text) = variables.first(&signal.endpoint)?;
    let [_, general] = signal.endpoint;
    Some(Said { name, text, is_base: name == general })
}

/// `None` if something was refused.
pub(super) fn otlp(
    variables: &mut Variables<'_>,
    flags: &Flags,
    signal: &Signal,
    endpoint: Option<Said>,
) -> Option<OtlpSettings> {
    let protocol = protocol(variables, flags, signal);
    let is_insecure = variables.boolean(&signal.insecure);
    let endpoint = match endpoint {
        Some(said) => url(variables, &said, signal, protocol, is_insecure),
        None if protocol == Protocol::Grpc => Some(Uri::from_static("http://localhost:4317")),
        None => format!("http://localhost:4318{}", signal.path).parse().ok(),
    };
    let headers = headers(variables, signal);
    let timeout = match variables.timeout(&signal.timeout) {
        None => Duration::from_secs(10),
        Some(Duration::ZERO) => LONGEST,
        Some(timeout) => timeout,
    };
    let is_compressed = match variables.word(&signal.compression) {
        None => false,
        Some((_, value)) if value == "none" => false,
        Some((_, value)) if value == "gzip" => true,
        Some((name, value)) => {
            variables.refuse(name, format!("{value:?} is neither gzip nor none"));
            false
        }
    };
    let endpoint = endpoint?;
    let proxy = proxy::read(variables, &endpoint);
    let tls =
        if endpoint.scheme_str() == Some("https") { tls::read(variables, signal) } else { tls::unused() };
    Some(OtlpSettings {
        endpoint,
        method: signal.method,
        protocol,
        headers,
        timeout,
        is_compressed,
        tls: tls.ok()?,
        proxy,
    })
}

fn protocol(variables: &mut Variables<'_>, flags: &Flags, signal: &Signal) -> Protocol {
    let said = match &flags.protocol {
        Some(protocol) => Some(("--protocol", protocol.to_ascii_lowercase())),
        None => variables.word(&signal.protocol),
    };
    match said.as_ref().map(|(name, protocol)| (*name, protocol.as_str())) {
        Some((_, "grpc")) => Protocol::Grpc,
        // What the specification recommends as the default.
        None | Some((_, "http/protobuf")) => Protocol::HttpProtobuf,
        Some((_, "http/json")) => Protocol::HttpJson,
        Some((name, other)) => {
            variables.refuse(name, format!("{other:?} is none of grpc, http/protobuf, http/json"));
            Protocol::HttpProtobuf
        }
    }
}

fn url(
    variables: &mut Variables<'_>,
    said: &Said,
    signal: &Signal,
    protocol: Protocol,
    is_insecure: bool,
) -> Option<Uri> {
    let mut url = said.text.clone();
    if !url.contains("://") {
        if protocol != Protocol::Grpc {
            variables
                .refuse(said.name, format!("{url:?} has no scheme; write http://{url} or https://{url}"));
            return None;
        }
        // As the specification has it, without a scheme gRPC is secure unless said otherwise.
        url = format!("{}://{url}", if is_insecure { "http" } else { "https" });
    }
    // A password in it must not get into a log.
    let shown = url.rsplit_once('@').map_or(url.as_str(), |(_, rest)| rest);
    let reason = match url.parse::<Uri>() {
        Err(error) => format!("{shown:?} is no URL: {error}"),
        Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
            format!("{shown:?} starts with neither http:// nor https://")
        }
        Ok(uri) if uri.host().is_none_or(str::is_empty) => format!("{shown:?} names no host"),
        Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            "credentials are sent as a header: put authorization=… into OTEL_EXPORTER_OTLP_HEADERS".to_owned()
        }
        Ok(uri) if said.is_base && uri.query().is_some() => format!("{shown:?} has a query"),
        Ok(uri) if !said.is_base || protocol == Protocol::Grpc => return Some(uri),
        Ok(uri) => {
            let whole = format!("{}{}", url.trim_end_matches('/'), signal.path);
            return Some(whole.parse().unwrap_or(uri));
        }
    };
    variables.refuse(said.name, reason);
    None
}

/// `name=value,…` with percent-encoded values. What is wrong is told without the values: they may be secrets.
fn headers(variables: &mut Variables<'_>, signal: &Signal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some((variable, list)) = variables.first(&signal.headers) else { return headers };
    let members = list.split(',').map(str::trim).enumerate().filter(|(_, member)| !member.is_empty());
    for (index, member) in members {
        let header = member.split_once('=').and_then(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            // gRPC calls names with this ending binary, and has them encoded in another way.
            if name.as_str().ends_with("-bin") || FRAMING.contains(&name) {
                return None;
            }
            let mut value = HeaderValue::try_from(percent_decoded(value.trim())?).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        if let Some((name, value)) = header {
            headers.insert(name, value);
        } else {
            let reason = format!("member {} is no name=value that can be sent", index + 1);
            variables.refuse(variable, reason);
        }
    }
    headers
}
