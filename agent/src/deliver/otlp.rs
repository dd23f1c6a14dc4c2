//! OTLP over gRPC and over HTTP: one opentelemetry-otlp exporter per Resource, all over one connection.
//!
//! The exporter retries by itself: four attempts with growing, jittered delays that honour `Retry-After` and
//! `RetryInfo`, all within its time-out. It only logs partial success, so spans that an endpoint rejects out of an
//! accepted batch count as exported.

use std::collections::HashMap;

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, Protocol as OtlpProtocol, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use thiserror::Error;
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::transport::{Channel, Endpoint};

use super::{OtlpSettings, Protocol};

/// Why there is no exporter.
#[derive(Debug, Error)]
pub enum OtlpError {
    /// The endpoint is none for gRPC.
    #[error("the endpoint {endpoint}")]
    Endpoint {
        /// Which.
        endpoint: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// A header's name or value cannot be sent.
    #[error("the header {0:?} cannot be sent")]
    Header(String),
    /// The exporter refused its settings.
    #[error("the exporter")]
    Exporter(#[from] ExporterBuildError),
}

/// What makes exporters.
pub(super) struct Otlp {
    settings: OtlpSettings,
    transport: Transport,
}

enum Transport {
    Grpc { channel: Channel, metadata: MetadataMap },
    Http { client: Box<HyperClient>, headers: HashMap<String, String> },
}

impl Otlp {
    /// Connects when the first batch leaves; to be called within a tokio runtime.
    pub(super) fn new(settings: &OtlpSettings) -> Result<Self, OtlpError> {
        let transport = match settings.protocol {
            Protocol::Grpc => {
                let endpoint = Endpoint::from_shared(settings.endpoint.clone())
                    .map_err(|source| OtlpError::Endpoint { endpoint: settings.endpoint.clone(), source })?;
                let mut metadata = MetadataMap::new();
                for (name, value) in &settings.headers {
                    let refused = || OtlpError::Header(name.clone());
                    let key = MetadataKey::from_bytes(name.as_bytes()).map_err(|_| refused())?;
                    metadata.insert(key, value.parse().map_err(|_| refused())?);
                }
                let endpoint = endpoint.timeout(settings.timeout).connect_timeout(settings.timeout);
                Transport::Grpc { channel: endpoint.connect_lazy(), metadata }
            }
            Protocol::HttpProtobuf => Transport::Http {
                client: Box::new(HyperClient::with_default_connector(settings.timeout, None)),
                headers: settings.headers.iter().cloned().collect(),
            },
        };
        Ok(Self { settings: settings.clone(), transport })
    }

    /// The exporter for the spans of one Resource.
    pub(super) fn exporter(&self, resource: &Resource) -> Result<SpanExporter, OtlpError> {
        let mut exporter = match &self.transport {
            Transport::Grpc { channel, metadata } => {
                let mut builder = SpanExporter::builder()
                    .with_tonic()
                    .with_channel(channel.clone())
                    .with_metadata(metadata.clone())
                    .with_timeout(self.settings.timeout);
                if self.settings.is_compressed {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build()?
            }
            Transport::Http { client, headers } => {
                let mut builder = SpanExporter::builder()
                    .with_http()
                    .with_protocol(OtlpProtocol::HttpBinary)
                    .with_endpoint(self.settings.endpoint.clone())
                    .with_http_client(HyperClient::clone(client))
                    .with_headers(headers.clone())
                    .with_timeout(self.settings.timeout);
                if self.settings.is_compressed {
                    builder = builder.with_compression(Compression::Gzip);
                }
                builder.build()?
            }
        };
        exporter.set_resource(resource);
        Ok(exporter)
    }
}
