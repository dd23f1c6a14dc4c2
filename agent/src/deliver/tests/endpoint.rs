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
    accepted: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Endpoint {
    /// `answer` gets the number of the request and gives a status line, or `None` for none at all.
    pub(super) fn start(answer: impl Fn(usize) -> Option<&'static str> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            accepted: Arc::default(),
        };
        let (requests, accepted) = (Arc::clone(&endpoint.requests), Arc::clone(&endpoint.accepted));
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (requests, accepted) = (Arc::clone(&requests), Arc::clone(&accepted));
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(&stream.unwrap(), &requests, &accepted, &*answer));
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

fn serve(
    mut stream: &TcpStream,
    requests: &AtomicUsize,
    accepted: &Mutex<Vec<ExportTraceServiceRequest>>,
    answer: &dyn Fn(usize) -> Option<&'static str>,
) {
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
        assert!(head.starts_with("post /v1/traces "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = input.split_off(header);
        let missing = length.trim().parse::<usize>().unwrap() - body.len();
        let mut rest = vec![0; missing];
        stream.read_exact(&mut rest).unwrap();
        body.extend(rest);
        input.clear();
        let Some(status) = answer(requests.fetch_add(1, Ordering::SeqCst)) else {
            thread::sleep(Duration::from_secs(60));
            return;
        };
        if status.starts_with("200") {
            accepted.lock().unwrap().push(ExportTraceServiceRequest::decode(&*body).unwrap());
        }
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}
