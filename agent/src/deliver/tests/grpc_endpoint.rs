//! A small gRPC server that stands in for an OTLP endpoint, so that it can misbehave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{BufMut as _, Bytes};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Status};

/// To be started within a tokio runtime, where it goes on as long as that does.
pub(super) struct GrpcEndpoint {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<AtomicUsize>,
    accepted: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

/// What it says to a request.
pub(super) struct Reply {
    pub(super) status: Status,
    pub(super) rejected: i64,
    pub(super) message: String,
}

impl Default for Reply {
    fn default() -> Self {
        Self { status: Status::new(Code::Ok, ""), rejected: 0, message: String::new() }
    }
}

impl GrpcEndpoint {
    /// `answer` gets the number of the request.
    pub(super) async fn start(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer).await
    }

    pub(super) async fn start_at(
        address: SocketAddr,
        answer: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = Self { address, requests: Arc::default(), accepted: Arc::default() };
        let (requests, accepted) = (Arc::clone(&endpoint.requests), Arc::clone(&endpoint.accepted));
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, accepted) = (Arc::clone(&requests), Arc::clone(&accepted));
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    serve(stream, &accepted, || answer(requests.fetch_add(1, Ordering::SeqCst))).await;
                });
            }
        });
        endpoint
    }

    /// Spans accepted, by service.
    pub(super) fn spans(&self) -> Vec<(String, usize)> {
        let mut found = BTreeMap::new();
        for resource in self.accepted.lock().unwrap().iter().flat_map(|request| &request.resource_spans) {
            let attributes = &resource.resource.as_ref().unwrap().attributes;
            let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
            let count: usize = resource.scope_spans.iter().map(|scope| scope.spans.len()).sum();
            *found.entry(format!("{:?}", name.value.as_ref().unwrap().value)).or_default() += count;
        }
        found.into_iter().collect()
    }
}

async fn serve(
    stream: TcpStream,
    accepted: &Mutex<Vec<ExportTraceServiceRequest>>,
    answer: impl Fn() -> Reply,
) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    // What is answered leaves while the connection waits for the next request.
    while let Some(Ok((request, respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let mut stream = request.into_body();
        let mut body = Vec::new();
        // The connection makes progress only while it is asked for more.
        let read = async {
            while let Some(chunk) = stream.data().await {
                let chunk = chunk.unwrap();
                stream.flow_control().release_capacity(chunk.len()).unwrap();
                body.extend_from_slice(&chunk);
            }
        };
        tokio::select! {
            () = read => {}
            _ = std::future::poll_fn(|context| connection.poll_closed(context)) => return,
        }
        let reply = answer();
        if reply.status.code() == Code::Ok {
            // Behind a flag and a length.
            accepted.lock().unwrap().push(ExportTraceServiceRequest::decode(&body[5..]).unwrap());
        }
        say(respond, reply);
    }
}

fn say(mut respond: SendResponse<Bytes>, reply: Reply) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    let mut trailers = HeaderMap::new();
    if reply.status.code() == Code::Ok {
        let partial =
            ExportTracePartialSuccess { rejected_spans: reply.rejected, error_message: reply.message };
        let message = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let mut frame = vec![0];
        frame.put_u32(message.len().try_into().unwrap());
        frame.extend(message);
        stream.send_data(frame.into(), false).unwrap();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
    } else {
        reply.status.add_header(&mut trailers).unwrap();
    }
    stream.send_trailers(trailers).unwrap();
}
