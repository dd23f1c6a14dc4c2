//! An endpoint for OTLP over HTTP that throws away what it gets, and counts the spans.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::LiveError;

/// The fields in which an `ExportTraceServiceRequest` holds resources, they hold scopes, and those spans
/// (opentelemetry/proto/trace/v1/trace.proto).
const TO_SPANS: [u64; 3] = [1, 2, 2];

/// A running endpoint.
#[derive(Debug)]
pub struct Sink {
    /// Its URL.
    pub endpoint: String,
    spans: Arc<AtomicU64>,
    /// Whoever has it keeps all answers back.
    gate: Arc<Mutex<()>>,
}

impl Sink {
    /// Starts one, on threads of its own that end with the process.
    pub fn start() -> Result<Self, LiveError> {
        let failed = || LiveError::io("listening on", Path::new("127.0.0.1"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed())?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(failed())?);
        let spans = Arc::new(AtomicU64::new(0));
        let gate = Arc::default();
        let (counted, kept) = (Arc::clone(&spans), Arc::clone(&gate));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (spans, gate) = (Arc::clone(&counted), Arc::clone(&kept));
                thread::spawn(move || take_all(stream, &spans, &gate));
            }
        });
        Ok(Self { endpoint, spans, gate })
    }

    /// How many spans came.
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    /// Answers nobody while this is kept.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the other side closes; what cannot be read ends the connection, and its spans are missing in the count.
fn take_all(mut stream: TcpStream, spans: &AtomicU64, gate: &Mutex<()>) -> Option<()> {
    let (mut input, mut chunk) = (Vec::new(), vec![0; 1 << 18]);
    loop {
        if let Some(head) = input.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = str::from_utf8(input.get(..head)?).ok()?.to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            let end = head + 4 + length.trim().parse::<usize>().ok()?;
            while input.len() < end {
                let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
                input.extend_from_slice(chunk.get(..length)?);
            }
            spans.fetch_add(count(input.get(head + 4..end)?, &TO_SPANS), Ordering::Relaxed);
            input.drain(..end);
            drop(gate.lock());
            let answer =
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).ok()?;
        } else {
            let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
            input.extend_from_slice(chunk.get(..length)?);
        }
    }
}

/// How many messages of these fields within each other a message holds.
fn count(message: &[u8], path: &[u64]) -> u64 {
    let Some((wanted, rest)) = path.split_first() else { return 1 };
    let mut input = message;
    let mut found = 0;
    while let Some(key) = varint(&mut input) {
        // The only other type that these messages have is a string's.
        let Some(field) =
            varint(&mut input).and_then(|length| input.split_off(..usize::try_from(length).ok()?))
        else {
            break;
        };
        if key == wanted << 3 | 2 {
            found += count(field, rest);
        }
    }
    found
}

fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *input.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
