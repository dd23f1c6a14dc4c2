//! Requests to an OTLP endpoint and what its answers mean (opentelemetry-proto, docs/specification.md 1.10): gRPC by
//! tonic, HTTP by hyper, both over the same kind of connection.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::encode::Encoding;
use super::settings::{OtlpSettings, Protocol};

mod connection;
mod grpc;
mod http;

use grpc::Grpc;
use http::Http;

/// As the specification of the exporter asks for.
const USER_AGENT: &str = concat!("OTel-OTLP-Exporter-Lightfoot/", env!("CARGO_PKG_VERSION"));
/// At most so many characters of what an endpoint says are shown.
const MAX_MESSAGE: usize = 300;
/// Longer answers are not read.
const MAX_ANSWER: usize = 64 << 10;

/// What an endpoint says to a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// It took the spans, but for some.
    Accepted { rejected: u64, message: String },
    /// It may take them later, but not before the hint is over.
    Later { hint: Option<Duration>, error: String },
    /// It will never take them.
    Refused { error: String },
}

/// A way to send requests. Connects when the first one leaves.
pub(super) struct Transport {
    timeout: Duration,
    protocol: Speaker,
}

enum Speaker {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

impl Transport {
    /// To be called within a tokio runtime.
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        let protocol = match settings.protocol {
            Protocol::Grpc => Speaker::Grpc(Box::new(Grpc::new(settings))),
            Protocol::HttpProtobuf | Protocol::HttpJson => Speaker::Http(Box::new(Http::new(settings))),
        };
        Self { timeout: settings.timeout, protocol }
    }

    pub(super) fn encoding(protocol: Protocol) -> Encoding {
        match protocol {
            Protocol::Grpc | Protocol::HttpProtobuf => Encoding::Protobuf,
            Protocol::HttpJson => Encoding::Json,
        }
    }

    /// Does what has to be done once for a request, however often it is sent.
    pub(super) fn pack(&self, body: Bytes) -> Bytes {
        match &self.protocol {
            Speaker::Grpc(_) => body,
            Speaker::Http(http) => http.pack(body),
        }
    }

    /// Sends a request that was packed. What comes too late counts as no answer.
    pub(super) async fn send(&self, body: &Bytes) -> Answer {
        let answer = async {
            match &self.protocol {
                Speaker::Grpc(grpc) => grpc.send(body).await,
                Speaker::Http(http) => http.send(body).await,
            }
        };
        let late = |_| Answer::Later { hint: None, error: format!("no answer within {:?}", self.timeout) };
        timeout(self.timeout, answer).await.unwrap_or_else(late)
    }
}

/// What an endpoint says, short and in one line.
fn shown(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.char_indices().nth(MAX_MESSAGE).map_or(line.len(), |(index, _)| index);
    line.get(..end).unwrap_or_default().to_owned()
}

/// An error with all that caused it: the outer ones of hyper and tonic say little.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    shown(&text)
}
