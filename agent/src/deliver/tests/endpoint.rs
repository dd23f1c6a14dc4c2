//! A small HTTP server that stands in for an OTLP endpoint, so that it can misbehave.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

/// An endpoint that answers every request with what `answer` says, and keeps what it accepted.
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) requests: Arc<AtomicUsize>,
    /// The heads of all requests, in lower case.
    pub(super) heads: Arc<Mutex<Vec<String>>>,
    pub(super) accepted: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

/// A status line, perhaps with headers, and a body.
pub(super) struct Reply {
    head: &'static str,
    body: Vec<u8>,
}

impl From<&'static str> for Reply {
    fn from(head: &'static str) -> Self {
        Self { head, body: Vec::new() }
    }
}

impl From<(&'static str, Vec<u8>)> for Reply {
    fn from((head, body): (&'static str, Vec<u8>)) -> Self {
        Self { head, body }
    }
}

/// What the threads of an endpoint share.
struct Shared {
    requests: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    accepted: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    answer: Box<dyn Fn(usize) -> Option<Reply> + Send + Sync>,
}

impl Endpoint {
    /// `answer` gets the number of the request and says what to reply, or `None` for nothing at all.
    pub(super) fn start<R: Into<Reply>>(answer: impl Fn(usize) -> Option<R> + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    pub(super) fn start_at<R: Into<Reply>>(
        address: &str,
        answer: impl Fn(usize) -> Option<R> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let endpoint = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            heads: Arc::default(),
            accepted: Arc::default(),
        };
        let shared = Arc::new(Shared {
            requests: Arc::clone(&endpoint.requests),
            heads: Arc::clone(&endpoint.heads),
            accepted: Arc::clone(&endpoint.accepted),
            answer: Box::new(move |request| answer(request).map(Into::into)),
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&stream.unwrap(), &shared));
            }
        });
        endpoint
    }

    /// Spans accepted, by service.
    pub(super) fn spans(&self) -> Vec<(String, usize)> {
        let accepted = self.accepted.lock().unwrap();
        let resources = accepted.iter().flat_map(|request| &request.resource_spans);
        let mut found = BTreeMap::new();
        for resource in resources {
            let attributes = &resource.resource.as_ref().unwrap().attributes;
            let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
            let count: usize = resource.scope_spans.iter().map(|scope| scope.spans.len()).sum();
            *found.entry(format!("{:?}", name.value.as_ref().unwrap().value)).or_default() += count;
        }
        found.into_iter().collect()
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) {
    let mut input = Vec::new();
    loop {
        let header = loop {
            if let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => input.extend_from_slice(&chunk[..count]),
            }
        };
        let head = String::from_utf8(input[..header].to_vec()).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = input.split_off(header);
        let missing = length.trim().parse::<usize>().unwrap() - body.len();
        let mut rest = vec![0; missing];
        stream.read_exact(&mut rest).unwrap();
        body.extend(rest);
        input.clear();
        shared.heads.lock().unwrap().push(head.clone());
        let Some(reply) = (shared.answer)(shared.requests.fetch_add(1, Ordering::SeqCst)) else {
            thread::sleep(Duration::from_secs(60));
            return;
        };
        if reply.head.starts_with("200") {
            let request = if head.contains("content-type: application/json") {
                serde_json::from_slice(&body).unwrap()
            } else {
                ExportTraceServiceRequest::decode(&*body).unwrap()
            };
            shared.accepted.lock().unwrap().push(request);
        }
        write!(stream, "HTTP/1.1 {}\r\ncontent-length: {}\r\n\r\n", reply.head, reply.body.len()).unwrap();
        stream.write_all(&reply.body).unwrap();
    }
}
