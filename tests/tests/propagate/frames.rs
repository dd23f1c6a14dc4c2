//! A proxy that keeps the frames of HTTP/2 that a client sends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::thread;

use lightfoot_probes_abi::huffman::CODES;

/// What a client begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The kinds of frames of which requests consist: DATA, HEADERS, RST_STREAM, CONTINUATION. When others come is up to chance.
const KINDS: [u8; 4] = [0, HEADERS, 3, 9];
const HEADERS: u8 = 1;
/// A dynamic table of 4,096 bytes, as HPACK says it (RFC 7541, section 6.3).
const TABLE_SIZE: &[u8] = b"\x3f\xe1\x1f";

/// What the field begins with as HPACK has it: a literal that is not indexed, with a name of its own (RFC 7541, section 6.2.2). It leaves
/// the dynamic table as it was, so that what follows on the connection must be as without us, too.
const LITERAL: u8 = 0;
/// That a string is in the Huffman code: beside its length.
const IS_CODED: u8 = 0x80;
/// The shortest field, and the longest: coded, and as it is.
const LENGTHS: RangeInclusive<usize> = 46..=69;

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
        let value = frame.payload.strip_prefix(&bare.payload[..]).and_then(value_of);
        let payload = bare.payload.clone();
        match value {
            Some(value) if frame.kind == HEADERS && Frame { payload, ..frame.clone() } == *bare => {
                added.push(value);
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
    Ok(connections.iter().flatten().filter_map(Frame::last_value).collect())
}

/// How many frames of headers have none, but for the first of each connection.
pub(crate) fn lacking_behind_first(connections: &[Vec<Frame>]) -> usize {
    let lacking = |frames: &Vec<Frame>| {
        let headers = frames.iter().filter(|frame| frame.kind == HEADERS).skip(1);
        headers.filter(|frame| frame.last_value().is_none()).count()
    };
    connections.iter().map(lacking).sum()
}

impl Frame {
    /// The value of the header that is added, if it is the last.
    fn last_value(&self) -> Option<String> {
        let from = |length: usize| self.payload.len().checked_sub(length);
        LENGTHS.filter_map(from).find_map(|from| value_of(&self.payload[from..]))
    }
}

/// The value of the field, of which these are all bytes.
fn value_of(field: &[u8]) -> Option<String> {
    let (name, rest) = string(field.strip_prefix(&[LITERAL])?)?;
    let (value, behind) = string(rest)?;
    (name == "traceparent" && value.len() == 55 && behind.is_empty()).then_some(value)
}

/// A string as it is, or in the Huffman code (RFC 7541, section 5.2), and what stands behind it.
fn string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (text, behind) = rest.split_at_checked(usize::from(length & !IS_CODED))?;
    if length & IS_CODED == 0 {
        return Some((String::from_utf8(text.to_vec()).ok()?, behind));
    }
    let (mut decoded, mut code, mut bits) = (String::new(), 0, 0);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
        (code, bits) = (code << 1 | u16::from(bit), bits + 1);
        if let Some((byte, ..)) = CODES.iter().find(|known| (known.1, known.2) == (code, bits)) {
            decoded.push(char::from(*byte));
            (code, bits) = (0, 0);
        } else if bits > 7 {
            return None;
        }
    }
    // It ends with ones.
    (code == (1 << bits) - 1).then_some((decoded, behind))
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
