//! A server that keeps what is on the wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Answers requests over HTTP/1 by their paths, and keeps all that comes.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wire {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let messages = Arc::default();
        let wire = Self { address: listener.local_addr().unwrap(), messages: Arc::clone(&messages) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let messages = Arc::clone(&messages);
                thread::spawn(move || serve(&stream, &messages));
            }
        });
        wire
    }

    /// What came since the last call, each message from its first byte to its last.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.messages.lock().unwrap())
    }
}

fn serve(stream: &TcpStream, messages: &Mutex<Vec<Vec<u8>>>) {
    let mut input = BufReader::new(stream);
    let mut output = stream;
    loop {
        let mut message = Vec::new();
        while !message.ends_with(b"\r\n\r\n") {
            if input.read_until(b'\n', &mut message).unwrap_or(0) == 0 {
                assert!(message.is_empty(), "half a head: {}", String::from_utf8_lossy(&message));
                return;
            }
        }
        let head = String::from_utf8(message.clone()).unwrap().to_ascii_lowercase();
        let has = |part: &str| head.contains(part);
        if has("expect: 100-continue") {
            output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        }
        let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split_once('\r'));
        if let Some((length, _)) = length {
            let start = message.len();
            message.resize(start + length.parse::<usize>().unwrap(), 0);
            input.read_exact(&mut message[start..]).unwrap();
        } else if has("transfer-encoding: chunked") {
            let start = message.len();
            while !message[start..].ends_with(b"\r\n\r\n") {
                assert_ne!(input.read_until(b'\n', &mut message).unwrap(), 0);
            }
        }
        let answer: &[u8] = if has("connect ") {
            b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
        } else if has("upgrade: words") {
            output.write_all(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n").unwrap();
            while !message.ends_with(b"protocol\r\n\r\n") {
                assert_ne!(input.read_until(b'\n', &mut message).unwrap(), 0);
            }
            b"words\n"
        } else if has(" /redirect ") {
            b"HTTP/1.1 302 There\r\nLocation: /redirected\r\nContent-Length: 0\r\n\r\n"
        } else if head.starts_with("head ") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        };
        // Whoever has an answer finds the message kept.
        messages.lock().unwrap().push(message);
        // The two are open at once.
        while has(" /shared ") && messages.lock().unwrap().len() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        output.write_all(answer).unwrap();
        if has("connection: close") || has("upgrade: words") {
            return;
        }
    }
}
