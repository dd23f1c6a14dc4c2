//! OTLP over HTTP, in protobuf and in JSON.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, PROXY_AUTHORIZATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde::Deserialize;

use super::connection::{Connector, connector, forwards};
use super::{Answer, MAX_ANSWER, chain, shown};
use crate::deliver::settings::{OtlpSettings, Protocol};

/// Fast: on the processor of somebody's services the last tenth of the size is not worth twice the time.
const LEVEL: Compression = Compression::new(3);

pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    endpoint: Uri,
    headers: HeaderMap,
    is_compressed: bool,
}

impl Http {
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        let mut headers = settings.headers.clone();
        let content_type = match settings.protocol {
            Protocol::HttpJson => "application/json",
            Protocol::HttpProtobuf | Protocol::Grpc => "application/x-protobuf",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(super::USER_AGENT));
        if settings.is_compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(credentials) = settings.proxy.as_ref().and_then(|proxy| proxy.basic_auth())
            && forwards(settings)
        {
            headers.insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector(settings)),
            endpoint: settings.endpoint.clone(),
            headers,
            is_compressed: settings.is_compressed,
        }
    }

    pub(super) fn pack(&self, body: Bytes) -> Bytes {
        if !self.is_compressed {
            return body;
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), LEVEL);
        // Writing to memory does not fail.
        let _ = encoder.write_all(&body);
        encoder.finish().unwrap_or_default().into()
    }

    pub(super) async fn send(&self, body: &Bytes) -> Answer {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => return Answer::Later { hint: None, error: chain(&error) },
        };
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => body.to_bytes(),
            // What was done is known by the status; only the words are missing.
            Err(_) => Bytes::new(),
        };
        let is_json = head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/json"));
        if head.status.is_success() {
            return accepted(&body, is_json);
        }
        let error = shown(&format!("HTTP {}: {}", head.status, said(&head.headers, &body, is_json)));
        match head.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Answer::Later { hint: head.headers.get(RETRY_AFTER).and_then(retry_after), error }
            }
            _ => Answer::Refused { error },
        }
    }
}

/// An answer that cannot be read says nothing against the spans.
fn accepted(body: &[u8], is_json: bool) -> Answer {
    let (rejected, message) = if is_json {
        let response: JsonResponse = serde_json::from_slice(body).unwrap_or_default();
        let rejected = match response.partial_success.rejected_spans {
            Some(Int64::Text(text)) => text.parse().unwrap_or(0),
            Some(Int64::Number(number)) => number,
            None => 0,
        };
        (rejected, response.partial_success.error_message)
    } else {
        let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
        let partial = response.partial_success.unwrap_or_default();
        (partial.rejected_spans, partial.error_message)
    };
    Answer::Accepted { rejected: u64::try_from(rejected).unwrap_or(0), message: shown(&message) }
}

/// In the JSON of protobuf an int64 is a text, and readers take numbers too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Int64 {
    Text(String),
    Number(i64),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonResponse {
    partial_success: JsonPartialSuccess,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonPartialSuccess {
    rejected_spans: Option<Int64>,
    error_message: String,
}

/// What an answer says of an error: a `google.rpc.Status`, or whatever a proxy on the way had to say.
fn said(headers: &HeaderMap, body: &[u8], is_json: bool) -> String {
    #[derive(Deserialize)]
    struct JsonStatus {
        message: String,
    }
    let is_protobuf = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/x-protobuf");
    if is_json && let Ok(status) = serde_json::from_slice::<JsonStatus>(body) {
        return status.message;
    }
    if is_protobuf {
        return tonic_types::Status::decode(body).map(|status| status.message).unwrap_or_default();
    }
    String::from_utf8_lossy(body).into_owned()
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_ask_for_time_in_seconds_or_by_date() {
        let hint = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap());
        assert_eq!(hint("120"), Some(Duration::from_secs(120)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let wait = hint(&date).unwrap();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        assert_eq!(hint("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert_eq!((hint("-1"), hint("soon")), (None, None));
    }

    #[test]
    fn partial_success_is_read_in_both_forms_of_json() {
        let rejected = |body: &str| match accepted(body.as_bytes(), true) {
            Answer::Accepted { rejected, message } => (rejected, message),
            other => panic!("{other:?}"),
        };
        let text = r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        assert_eq!(rejected(text), (3, "too old".to_owned()));
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedSpans":4}}"#), (4, String::new()));
        for none in ["", "{}", "null", "[]", r#"{"partialSuccess":{"rejectedSpans":"-9"}}"#] {
            assert_eq!(rejected(none), (0, String::new()), "{none}");
        }
    }
}
