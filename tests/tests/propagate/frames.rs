//! A proxy that keeps the frames of HTTP/2 that a client sends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a client begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The kinds of frames of which requests consist: DATA, HEADERS, RST_STREAM, CONTINUATION. When others come is up to chance.
const KINDS: [u8; 4] = [0, HEADERS, 3, 9];
pub(crate) const HEADERS: u8 = 1;

/// A frame of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Hands on what comes, byte by byte, and keeps what clients send.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Proxy {
    /// In front of the server at this address.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let proxy = Self { address: listener.local_addr().unwrap(), sent: Arc::clone(&sent) };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to_server = TcpStream::connect(server).unwrap();
                let number = {
                    let mut sent = sent.lock().unwrap();
                    sent.push(Vec::new());
                    sent.len() - 1
                };
                let (from_server, to_client) = (to_server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || hand_on(from_server, to_client, |_| {}));
                let sent = Arc::clone(&sent);
                let keep = move |bytes: &[u8]| {
                    // They may have been taken meanwhile.
                    if let Some(kept) = sent.lock().unwrap().get_mut(number) {
                        kept.extend_from_slice(bytes);
                    }
                };
                thread::spawn(move || hand_on(client, to_server, keep));
            }
        });
        proxy
    }

    /// The frames of requests on each connection since the last call, those of a stream together.
    pub(crate) fn take(&self) -> Vec<Vec<Frame>> {
        let connections = std::mem::take(&mut *self.sent.lock().unwrap());
        connections.iter().map(|bytes| frames(bytes)).collect()
    }
}

/// Whoever has an answer finds what led to it kept.
fn hand_on(mut from: TcpStream, mut to: TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut rest = bytes.strip_prefix(PREFACE).unwrap();
    let mut frames = Vec::new();
    // What follows the requests may be under way.
    while let Some((&[a, b, c, kind, flags, d, e, f, g], behind)) = rest.split_first_chunk::<9>() {
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
        let Some((payload, behind)) = behind.split_at_checked(length) else { break };
        assert!(kind <= 9, "no frame is of kind {kind}");
        let stream = u32::from_be_bytes([d, e, f, g]);
        if KINDS.contains(&kind) {
            frames.push(Frame { kind, flags, stream, payload: payload.to_vec() });
        }
        rest = behind;
    }
    frames.sort_by_key(|frame| frame.stream);
    frames
}
