//! OTLP over gRPC.

use std::error::Error as _;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::HeaderValue;
use http::header::USER_AGENT;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::connection::connector;
use super::{Answer, MAX_ANSWER, chain, shown};
use crate::deliver::settings::OtlpSettings;

pub(super) struct Grpc {
    client: Client<Channel>,
    metadata: MetadataMap,
    method: &'static str,
}

impl Grpc {
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        let endpoint = Endpoint::from(settings.endpoint.clone()).connect_timeout(settings.timeout);
        let channel = endpoint.connect_with_connector_lazy(connector(settings));
        let mut client = Client::new(channel)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER);
        if settings.is_compressed {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        let mut headers = settings.headers.clone();
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(super::USER_AGENT));
        Self { client, metadata: MetadataMap::from_headers(headers), method: settings.method }
    }

    pub(super) async fn send(&self, body: &Bytes) -> Answer {
        let mut client = self.client.clone();
        if let Err(error) = client.ready().await {
            return Answer::Later { hint: None, error: chain(&error) };
        }
        let mut request = Request::new(body.clone());
        *request.metadata_mut() = self.metadata.clone();
        match client.unary(request, PathAndQuery::from_static(self.method), Encoded).await {
            Ok(response) => accepted(response.into_inner()),
            Err(status) if is_too_long(&status) => accepted(ExportTraceServiceResponse::default()),
            Err(status) => failed(&status),
        }
    }
}

fn accepted(response: ExportTraceServiceResponse) -> Answer {
    let partial = response.partial_success.unwrap_or_default();
    Answer::Accepted {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
        message: shown(&partial.error_message),
    }
}

/// An answer that is too long to be read is one all the same, and the batch was taken: sent again it would be there twice.
/// tonic 0.14 tells by its words alone (`codec/decode.rs`).
fn is_too_long(status: &Status) -> bool {
    status.code() == Code::OutOfRange
        && status.message().starts_with("Error, decoded message length too large")
}

fn failed(status: &Status) -> Answer {
    // Made on this side, of a connection that failed.
    if let Some(error) = status.source() {
        return Answer::Later { hint: None, error: chain(error) };
    }
    let error = shown(&format!("{:?}: {}", status.code(), status.message()));
    let hint = status.get_details_retry_info().map(|info| info.retry_delay.unwrap_or(Duration::ZERO));
    let may_be_retried = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => hint.is_some(),
        _ => false,
    };
    if may_be_retried { Answer::Later { hint, error } } else { Answer::Refused { error } }
}

/// Requests that are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(body);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // The batch was taken, whatever else was said.
        let answer = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(ExportTraceServiceResponse::decode(answer).unwrap_or_default()))
    }
}
