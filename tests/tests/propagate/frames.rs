//! A proxy that keeps the frames of HTTP/2 that a client sends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a client begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The kinds of frames of which requests consist: DATA, HEADERS, RST_STREAM, CONTINUATION. When others come is up to chance.
const KINDS: [u8; 4] = [0, HEADERS, 3, 9];
const HEADERS: u8 = 1;
/// A dynamic table of 4,096 bytes, as HPACK says it (RFC 7541, section 6.3).
const TABLE_SIZE: &[u8] = b"\x3f\xe1\x1f";

/// The field as HPACK has it, up to its value, and the length of that.
const FIELD: &[u8] = b"\x00\x0btraceparent\x37";
const VALUE: usize = 55;

/// A frame of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The values of the headers that were added, if nothing else differs.
pub(crate) fn compare(bare: &[Vec<Frame>], connections: &[Vec<Frame>]) -> Result<Vec<String>, String> {
    let shape = |all: &[Vec<Frame>]| all.iter().map(Vec::len).collect::<Vec<_>>();
    if shape(bare) != shape(connections) {
        return Err(format!("{:?} frames, not {:?}", shape(connections), shape(bare)));
    }
    let mut added = Vec::new();
    for (bare, frame) in bare.iter().flatten().zip(connections.iter().flatten()) {
        if frame == bare {
            continue;
        }
        let rest = frame.payload.strip_prefix(&bare.payload[..]);
        let value = rest.and_then(|rest| rest.strip_prefix(FIELD)).filter(|value| value.len() == VALUE);
        let payload = bare.payload.clone();
        match value {
            Some(value) if frame.kind == HEADERS && Frame { payload, ..frame.clone() } == *bare => {
                added.push(String::from_utf8(value.to_vec()).unwrap());
            }
            _ => return Err(format!("{frame:x?} instead of {bare:x?}")),
        }
    }
    Ok(added)
}

/// The same where headers come in any order: of each frame no more is looked at than its kind and its end.
pub(crate) fn ends(bare: &[Vec<Frame>], connections: &[Vec<Frame>]) -> Result<Vec<String>, String> {
    let shape = |all: &[Vec<Frame>]| {
        all.iter().flatten().map(|frame| (frame.kind, frame.flags, frame.stream)).collect::<Vec<_>>()
    };
    if shape(bare) != shape(connections) {
        return Err(format!("{:?}, not {:?}", shape(connections), shape(bare)));
    }
    let value = |frame: &Frame| {
        let (before, value) = frame.payload.split_at_checked(frame.payload.len().checked_sub(VALUE)?)?;
        before.ends_with(FIELD).then(|| String::from_utf8(value.to_vec()).unwrap())
    };
    Ok(connections.iter().flatten().filter_map(value).collect())
}

/// Hands on what comes, byte by byte, and keeps what clients send.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// What came on a connection. It may go on after it was taken, and belongs to nobody then.
type Sent = Arc<Mutex<Vec<u8>>>;

impl Proxy {
    /// In front of the server at this address.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let proxy = Self { address: listener.local_addr().unwrap(), sent: Arc::clone(&sent) };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to_server = TcpStream::connect(server).unwrap();
                let kept = Sent::default();
                sent.lock().unwrap().push(Arc::clone(&kept));
                let (from_server, to_client) = (to_server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || hand_on(from_server, to_client, |_| {}));
                let keep = move |bytes: &[u8]| kept.lock().unwrap().extend_from_slice(bytes);
                thread::spawn(move || hand_on(client, to_server, keep));
            }
        });
        proxy
    }

    /// The frames of requests on each connection since the last call, those of a stream together.
    pub(crate) fn take(&self) -> Vec<Vec<Frame>> {
        let connections = std::mem::take(&mut *self.sent.lock().unwrap());
        connections.iter().map(|bytes| frames(&bytes.lock().unwrap())).collect()
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
        // When the server's settings come is up to chance, and with them what the headers after that begin with.
        let payload =
            if kind == HEADERS { payload.strip_prefix(TABLE_SIZE).unwrap_or(payload) } else { payload };
        if KINDS.contains(&kind) {
            frames.push(Frame { kind, flags, stream, payload: payload.to_vec() });
        }
        rest = behind;
    }
    frames.sort_by_key(|frame| frame.stream);
    frames
}
