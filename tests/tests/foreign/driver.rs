//! The client of a service, and what it was answered.

use std::net::SocketAddr;

use lightfoot_tests::live::{Client, wait_for};

use crate::service::Place;

/// Asks the servers of a service, each through its observer.
pub(crate) struct Driver<'a> {
    pub(crate) place: &'a Place,
    clients: Vec<Client>,
    /// In the order of the questions.
    pub(crate) answers: Vec<Answer>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The question.
    pub(crate) to: String,
    pub(crate) status: u16,
    /// Names in lower case, sorted.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the first header of that name; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

impl<'a> Driver<'a> {
    pub(crate) fn new(place: &'a Place, observers: &[SocketAddr]) -> Self {
        let clients = observers.iter().map(|observer| Client::tcp(*observer)).collect();
        Self { place, clients, answers: Vec::new() }
    }

    /// A request with a body; each of the headers ends with CR LF.
    pub(crate) fn ask(&mut self, front: usize, request: &str, headers: &str, body: &[u8]) -> Answer {
        let answer = self.exchange(front, request, headers, body);
        self.answers.push(answer.clone());
        answer
    }

    /// A request without one.
    pub(crate) fn get(&mut self, front: usize, target: &str) -> Answer {
        self.ask(front, &format!("GET {target}"), "", b"")
    }

    /// A request with a JSON body.
    pub(crate) fn post(&mut self, front: usize, target: &str, json: &str) -> Answer {
        let headers = "Content-Type: application/json\r\n";
        self.ask(front, &format!("POST {target}"), headers, json.as_bytes())
    }

    /// Asks until the answer is 200 and holds a text: only that answer counts.
    pub(crate) fn get_until(&mut self, front: usize, target: &str, text: &str) -> Answer {
        let mut last = None;
        let ask = || {
            let answer = last.insert(self.exchange(front, &format!("GET {target}"), "", b""));
            (answer.status == 200 && answer.text().contains(text)).then(|| answer.clone())
        };
        let answer = wait_for(&format!("{text} at {target}"), ask);
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {last:?}"));
        self.answers.push(answer.clone());
        answer
    }

    /// Asks, and leaves the answer out of what is compared.
    pub(crate) fn exchange(&mut self, front: usize, request: &str, headers: &str, body: &[u8]) -> Answer {
        let host = self.place.address(front);
        let mut head = format!("{request} HTTP/1.1\r\nHost: {host}\r\n{headers}");
        if !body.is_empty() || !["GET", "HEAD"].iter().any(|method| request.starts_with(method)) {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        let message = [head.as_bytes(), b"\r\n", body].concat();
        let response = self.clients[front].exchange(&message);
        let response = response.unwrap_or_else(|error| panic!("{request}: {error}"));
        let response = response.unwrap_or_else(|| panic!("{request}: no answer"));
        let mut headers = response.headers;
        headers.sort();
        Answer { to: request.to_owned(), status: response.status, headers, body: response.body }
    }
}
