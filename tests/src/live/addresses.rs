//! Addresses at which nobody listens yet.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU8, Ordering};

/// The second bytes of the loopback addresses that [`unused_addresses`] takes.
const FIRST: u8 = 64;

/// So many addresses at which nobody listens now, or does before whoever is told of them: they are all of one loopback address that no
/// other process of the tests asks for, where one of 127.0.0.1 is the next that any program may be given.
///
/// # Panics
/// If loopback has none left.
#[expect(clippy::expect_used, reason = "no test works then")]
pub fn unused_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let second = FIRST + CALLS.fetch_add(1, Ordering::Relaxed) % FIRST;
    let [.., third, fourth] = process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, second, third, fourth.clamp(1, 254));
    // Held together, so that they differ.
    let listeners = [(); COUNT].map(|()| TcpListener::bind((address, 0)).expect("loopback has ports"));
    listeners.map(|listener| listener.local_addr().expect("it is bound"))
}
