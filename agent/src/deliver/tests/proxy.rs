//! A proxy that gets requests over http itself, and is asked for a tunnel for all else.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy that connects everybody to `target`, whatever they ask for, and tells what they asked for.
pub(crate) fn proxy(target: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
    let heads = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut input = Vec::new();
            while !input.windows(4).any(|four| four == b"\r\n\r\n") {
                let mut chunk = [0; 1024];
                let count = client.read(&mut chunk).unwrap();
                input.extend_from_slice(&chunk[..count]);
            }
            let mut server = TcpStream::connect(target).unwrap();
            let head = String::from_utf8_lossy(&input).split("\r\n\r\n").next().unwrap().to_owned();
            if head.starts_with("CONNECT ") {
                client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
            } else {
                server.write_all(&input).unwrap();
            }
            heads.lock().unwrap().push(head);
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                thread::spawn(move || io::copy(&mut from, &mut to));
            }
        }
    });
    (address, asked)
}
