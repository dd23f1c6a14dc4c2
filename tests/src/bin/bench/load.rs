//! A client of one thread that keeps connections alive and does not let a slow answer hold up later requests.

use std::error::Error;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// How long after the end of a load its last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests for a while.
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) request: &'a [u8],
    pub(crate) connections: usize,
    pub(crate) length: Duration,
    /// Requests a second, or as many as are answered.
    pub(crate) rate: Option<u32>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Answers {
    /// From when each request was due until its answer was there, in ascending order. At a fixed rate a request is due at its
    /// time, whether or not a connection is free then: else a server that stalls would be asked less, and look better.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    due: Instant,
}

impl Load<'_> {
    /// Sends them, and waits for the last answer.
    pub(crate) fn run(&self) -> Result<Answers, Box<dyn Error>> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = (0..self.connections)
            .map(|index| {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                let data = epoll::EventData::new_u64(index as u64);
                epoll::add(&poll, &stream, data, epoll::EventFlags::IN)?;
                Ok(Connection { stream, received: Vec::with_capacity(4096), due: Instant::now() })
            })
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        let mut idle: Vec<usize> = (0..self.connections).collect();
        let start = Instant::now();
        let end = start + self.length;
        let mut answers = Answers::default();
        let mut sent = 0_u32;
        let mut events = Vec::with_capacity(self.connections);
        loop {
            let now = Instant::now();
            let mut next = self.due(start, sent, now);
            while next <= now && next < end {
                let Some(index) = idle.pop() else { break };
                let connection = connections.get_mut(index).ok_or("no such connection")?;
                connection.due = next;
                connection.stream.write_all(self.request)?;
                sent += 1;
                next = self.due(start, sent, now);
            }
            if next >= end && idle.len() == connections.len() {
                answers.elapsed = start.elapsed();
                break;
            }
            if now > end + PATIENCE {
                return Err("an answer does not come".into());
            }
            let until = if next < end && !idle.is_empty() { next } else { end + PATIENCE };
            let wait = Timespec::try_from(until.saturating_duration_since(now))?;
            events.clear();
            epoll::wait(&poll, spare_capacity(&mut events), Some(&wait))?;
            for event in &events {
                let index = usize::try_from(event.data.u64())?;
                let connection = connections.get_mut(index).ok_or("no such connection")?;
                if connection.receive()? {
                    answers.latencies.push(connection.due.elapsed());
                    idle.push(index);
                }
            }
        }
        answers.latencies.sort_unstable();
        Ok(answers)
    }

    /// When the request of this number is to be sent.
    fn due(&self, start: Instant, number: u32, now: Instant) -> Instant {
        match self.rate {
            Some(rate) => start + Duration::from_secs(number.into()) / rate,
            None => now,
        }
    }
}

impl Connection {
    /// Reads what is there. True once the answer is complete.
    fn receive(&mut self) -> Result<bool, Box<dyn Error>> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(length) => self.received.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = self.received.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let text = str::from_utf8(self.received.get(..head).unwrap_or_default())?;
        if !text.starts_with("HTTP/1.1 200 ") {
            return Err(format!("a request was answered with {text}").into());
        }
        let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.ok_or("an answer without a length")?.parse()?;
        let is_complete = self.received.len() >= head + 4 + length;
        if is_complete {
            self.received.clear();
        }
        Ok(is_complete)
    }
}

impl Answers {
    /// How long the fastest of this share of the requests took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let index = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(index).copied().unwrap_or_default()
    }
}
