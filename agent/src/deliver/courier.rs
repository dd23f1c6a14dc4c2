//! Brings whole requests to an endpoint, of whatever signal.

use bytes::Bytes;
use serde::Serialize;

use super::encode::Encoding;
use super::settings::OtlpSettings;
use super::transport::{Answer, Transport};

/// Brings them.
pub struct Courier {
    transport: Transport,
    encoding: Encoding,
}

impl Courier {
    /// To be called within a tokio runtime. Connects with the first request.
    pub fn new(otlp: &OtlpSettings) -> Self {
        Self { transport: Transport::new(otlp), encoding: Transport::encoding(otlp.protocol) }
    }

    /// Sends a request and waits for the answer. The error is in words, for people; so is what the endpoint says although it has taken
    /// the request.
    pub async fn send(&self, request: &(impl prost::Message + Serialize)) -> Result<Option<String>, String> {
        let body = match self.encoding {
            Encoding::Protobuf => Bytes::from(request.encode_to_vec()),
            Encoding::Json => serde_json::to_vec(request).map_err(|error| error.to_string())?.into(),
        };
        match self.transport.send(&self.transport.pack(body)).await {
            Answer::Accepted { message, .. } => Ok(Some(message).filter(|message| !message.is_empty())),
            Answer::Later { error, .. } | Answer::Refused { error } => Err(error),
        }
    }
}
