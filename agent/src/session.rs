//! From the ring buffer to whoever takes the records, until told to stop.
//!
//! The ring is read on a timer, for waking a reader costs the watched program more than all else; BPF wakes us only
//! when a quarter of the ring is full. Each look takes processor time, so there are fewer while nothing comes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::TrySendError;
use std::thread;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::discover::{Paused, Rules};
use crate::segments::Segments;
use crate::sys;
use crate::watch::{self, Command, Commands, Event, Inbox, Question, Watcher};

mod fill;

pub use fill::RingFill;

/// How often the ring is read. A span waits so long at most before it is described …
const DRAIN: Duration = Duration::from_millis(20);
/// … and so long if it is the first after a while.
const QUIET_DRAIN: Duration = Duration::from_millis(100);
/// After so many reads that brought nothing it is one, which is a second.
const QUIET_AFTER: u32 = 50;
/// Records taken at once before anything else gets its turn.
const BATCH: usize = 65_536;
/// Events of processes that may wait to be heard.
const EVENTS: usize = 64;

/// Who takes what a session brings. Calls come one at a time and must not wait for anything.
pub trait Sink {
    /// A process began, ended, or cannot be watched.
    fn event(&mut self, event: Event);
    /// What the ring buffer held: the record of a finished operation, if it is one.
    fn record(&mut self, bytes: &[u8]);
    /// All that the ring held has been brought, for now.
    fn turn(&mut self) {}
    /// Whether there is no use in going on.
    fn is_done(&self) -> bool;
}

/// The thread that watches processes has ended on its own. Nothing is attached any more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the thread that watches processes has failed, so nothing is watched any more")]
pub struct WatcherFailed;

/// Gives orders to a session that runs.
#[derive(Clone, Debug)]
pub struct Orders(Commands);

impl Orders {
    /// Has other rules followed, soon. False where there is no room for the order now, or nobody obeys any more: to be given again.
    pub fn rules(&self, rules: Rules) -> bool {
        self.0.try_send(Command::Follow(rules)).is_ok()
    }

    /// Has what is paused left alone, and nothing else for that reason. Answered when no probe is left there; `None` as above.
    pub fn pause(&self, paused: Paused) -> Option<oneshot::Receiver<()>> {
        let (answer, done) = oneshot::channel();
        self.0.try_send(Command::Pause { paused, answer }).ok().map(|()| done)
    }
}

/// A running session.
pub struct Session {
    ring: AsyncFd<RingBuf<MapData>>,
    events: mpsc::Receiver<Event>,
    commands: Commands,
    /// Processes that have ended, until all that they left in the ring is read.
    ended: Vec<Event>,
    /// Unless that is switched off.
    segments: Option<Segments>,
    fill: Arc<RingFill>,
    /// Bytes that were read since the ring was empty.
    found: u64,
    /// How many reads of the ring have brought nothing, one after the other, while nothing became of a process either.
    quiet: u32,
}

impl Session {
    /// Starts the thread that watches processes. The ring comes with its size in bytes.
    pub fn start(
        (ring, size): (RingBuf<MapData>, u32),
        segments: Option<Segments>,
        watcher: impl FnOnce(mpsc::Sender<Event>, &Inbox) -> io::Result<Watcher>,
    ) -> io::Result<Self> {
        let (tell, events) = mpsc::channel(EVENTS);
        let (commands, inbox) = watch::channel()?;
        let watcher = watcher(tell, &inbox)?;
        thread::Builder::new().name("watch".to_owned()).spawn(move || watcher.run(&inbox))?;
        Ok(Self {
            ring: sys::readable(ring)?,
            events,
            commands,
            ended: Vec::new(),
            segments,
            fill: Arc::new(RingFill::new(size)),
            found: 0,
            quiet: 0,
        })
    }

    /// To give orders while it runs.
    pub fn orders(&self) -> Orders {
        Orders(self.commands.clone())
    }

    /// How full the ring gets.
    pub fn fill(&self) -> &Arc<RingFill> {
        &self.fill
    }

    /// Prepares for a process that is about to execute `program`. Ready when it may; never if nothing is watched.
    pub fn expect(&self, pid: u32, program: PathBuf) -> oneshot::Receiver<()> {
        let (answer, ready) = oneshot::channel();
        // If nobody obeys any more, the answer is dropped, and that is an answer.
        let _ = self.commands.try_send(Command::Expect { pid, program, answer });
        ready
    }

    /// Brings records to `sink` until `stop` is done or the sink is; then detaches and brings what is left in the ring.
    /// Each question is answered by way of the channel that comes with it.
    pub async fn run(
        &mut self,
        sink: &mut impl Sink,
        stop: impl Future<Output = ()>,
        mut questions: mpsc::Receiver<Question>,
    ) -> Result<(), WatcherFailed> {
        let mut stop = std::pin::pin!(stop);
        while !sink.is_done() {
            tokio::select! {
                () = &mut stop => break,
                Some(question) = questions.recv() => {
                    // A busy watcher answers after its sweep; a dead one never does.
                    let _ = self.commands.try_send(Command::Report(question));
                }
                Some(event) = self.events.recv() => self.hear(event, sink),
                () = sleep(pause(self.quiet)) => {}
                ready = self.ring.readable_mut() => {
                    if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                }
            }
            if self.drain(sink) {
                self.cut_segments(sink);
            }
            sink.turn();
            if self.events.is_closed() {
                break;
            }
        }
        let (answer, mut stopped) = oneshot::channel();
        let mut command = Command::Stop(answer);
        let is_watched = loop {
            match self.commands.try_send(command) {
                Ok(()) => break true,
                Err(TrySendError::Disconnected(_)) => break false,
                // The watcher has enough to do, and may wait for its events to be heard before it goes on.
                Err(TrySendError::Full(again)) => command = again,
            }
            self.drain(sink);
            sleep(DRAIN).await;
        };
        let result = loop {
            // The watcher tells of each process that it leaves, and waits if nobody listens.
            tokio::select! {
                answer = &mut stopped => break answer,
                () = sleep(DRAIN) => { self.drain(sink); }
            }
        };
        while !self.drain(sink) {}
        if is_watched && result.is_ok() { Ok(()) } else { Err(WatcherFailed) }
    }

    /// Events first: a process is announced before its first record. Returns whether the ring is empty.
    fn drain(&mut self, sink: &mut impl Sink) -> bool {
        while let Ok(event) = self.events.try_recv() {
            self.hear(event, sink);
        }
        let is_empty = self.read(sink);
        if is_empty {
            self.ended.drain(..).for_each(|event| sink.event(event));
        }
        is_empty
    }

    fn hear(&mut self, event: Event, sink: &mut impl Sink) {
        self.quiet = 0;
        match event {
            // Its last records may still be in the ring.
            Event::Ended { .. } => self.ended.push(event),
            event => sink.event(event),
        }
    }

    /// Reads the ring. Returns whether it is empty.
    fn read(&mut self, sink: &mut impl Sink) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        for _ in 0..BATCH {
            let Some(bytes) = self.ring.get_mut().next() else {
                self.fill.found(std::mem::take(&mut self.found));
                return true;
            };
            self.quiet = 0;
            self.found = self.found.saturating_add(RingFill::bytes(&bytes));
            match &mut self.segments {
                Some(segments) => sink.record(segments.ended(&bytes)),
                None => sink.record(&bytes),
            }
        }
        false
    }

    /// Brings pieces of what is open for long, if it is time for that. Nothing is told of processes in between: the pieces of one that
    /// ends now come before its end.
    fn cut_segments(&mut self, sink: &mut impl Sink) {
        let is_time = self.segments.as_mut().is_some_and(Segments::look);
        // What has ended while it was looked at is in the ring by now.
        if is_time
            && self.read(sink)
            && let Some(segments) = &mut self.segments
        {
            segments.cut(|bytes| sink.record(bytes));
        }
    }
}

/// How long the ring is left alone.
fn pause(quiet: u32) -> Duration {
    if quiet < QUIET_AFTER { DRAIN } else { QUIET_DRAIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_read_more_seldom_after_a_second_without_a_record() {
        assert_eq!(DRAIN * QUIET_AFTER, Duration::from_secs(1));
        assert_eq!(
            [0, QUIET_AFTER - 1, QUIET_AFTER, u32::MAX].map(pause),
            [DRAIN, DRAIN, QUIET_DRAIN, QUIET_DRAIN]
        );
    }
}
