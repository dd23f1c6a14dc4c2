//! Requests with numbers, from clients that keep their connections.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use lightfoot_tests::live::{Client, Truth};

/// How many clients there are.
pub(crate) const CLIENTS: u64 = 8;

/// The numbers of requests that are held begin here; no client gets so far.
const HELD: u64 = 1 << 40;

/// Clients at work.
pub(crate) struct Load {
    enough: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Sent>>,
}

/// What one of them, or all, have sent, by number.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) answered: BTreeSet<u64>,
    /// Each client's last request, if it got no answer.
    pub(crate) unanswered: BTreeSet<u64>,
}

/// Which client sent the request with that number.
pub(crate) fn client_of(number: u64) -> u64 {
    if number < HELD { number % CLIENTS } else { number }
}

/// So many requests of each client for paths of that kind, from number `first` on.
pub(crate) fn send(server: SocketAddr, first: u64, each: u64, path: fn(u64) -> String) {
    let sent = Load::start(server, first, each, path).join();
    assert_eq!(sent.answered.len() as u64, CLIENTS * each, "{:?}", sent.unanswered);
}

impl Load {
    /// Clients that send so many requests each. The number of a client's next request is by [`CLIENTS`] higher.
    pub(crate) fn start(server: SocketAddr, first: u64, each: u64, path: fn(u64) -> String) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|client| {
            let numbers = (0..each).map(move |round| first + round * CLIENTS + client);
            let enough = Arc::clone(&enough);
            thread::spawn(move || work(server, numbers, path, &enough))
        });
        Self { clients: clients.collect(), enough }
    }

    /// Ends it when each client has its answer.
    pub(crate) fn stop(self) -> Sent {
        self.enough.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until all has been sent, or nobody answers any more.
    pub(crate) fn join(self) -> Sent {
        let mut all = Sent::default();
        for client in self.clients {
            let Sent { answered, unanswered } = client.join().unwrap();
            all.answered.extend(answered);
            all.unanswered.extend(unanswered);
        }
        all
    }
}

fn work(
    server: SocketAddr,
    numbers: impl Iterator<Item = u64>,
    path: fn(u64) -> String,
    enough: &AtomicBool,
) -> Sent {
    let (mut client, mut sent) = (Client::tcp(server), Sent::default());
    for number in numbers {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let status = client.status(&path(number), &format!("X-Number: {number}\r\n"));
        if !matches!(status, Ok(200)) {
            sent.unanswered.insert(number);
            break;
        }
        sent.answered.insert(number);
    }
    sent
}

/// Requests whose handlers wait until all of a group have come.
pub(crate) struct Group {
    server: SocketAddr,
    size: u64,
    first: u64,
    clients: Vec<Client>,
}

impl Group {
    /// All of a group but one.
    pub(crate) fn hold(server: SocketAddr, first: u64, size: u64) -> Self {
        let mut group = Self { server, size, first: HELD + first, clients: Vec::new() };
        group.numbers().into_iter().skip(1).for_each(|number| group.send(number));
        group
    }

    /// Sends the last one, and waits for all answers.
    pub(crate) fn release(mut self) {
        self.send(self.first);
        for mut client in self.clients {
            assert_eq!(client.receive(false).unwrap().unwrap().status, 200);
        }
    }

    /// The numbers of its requests; the first is the one that releases them.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        (self.first..self.first + self.size).collect()
    }

    fn send(&mut self, number: u64) {
        let mut client = Client::tcp(self.server);
        let gather = format!("X-Gather: {} {}", self.first, self.size);
        let request = format!(
            "GET /plain/{number} HTTP/1.1\r\nHost: host.test\r\nX-Number: {number}\r\n{gather}\r\n\r\n"
        );
        client.send(request.as_bytes()).unwrap();
        self.clients.push(client);
    }
}

/// The numbers of all that the server's handlers were asked, each once.
pub(crate) fn numbers(truth: &[Truth]) -> BTreeSet<u64> {
    let numbers: BTreeSet<_> = truth.iter().map(|truth| truth.number).collect();
    assert_eq!(numbers.len(), truth.len(), "each request has a number of its own");
    numbers
}
