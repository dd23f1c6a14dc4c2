//! What the thread waits for, all at once: commands, analyses that are done, and what processes do.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::Command;
use crate::attach::ProcessEvents;

/// So many commands wait at most.
const COMMANDS: usize = 4;

/// The end that tells.
#[derive(Clone, Debug)]
pub struct Commands {
    sender: SyncSender<Command>,
    waker: Waker,
}

/// The end that is told.
#[derive(Debug)]
pub struct Inbox {
    commands: Receiver<Command>,
    pub(super) waker: Waker,
}

/// Ends a wait, or the next one.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

/// Both ends.
pub fn channel() -> io::Result<(Commands, Inbox)> {
    let waker = Waker(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
    let (sender, commands) = sync_channel(COMMANDS);
    Ok((Commands { sender, waker: waker.clone() }, Inbox { commands, waker }))
}

impl Commands {
    /// Tells. Fails while as many commands as may be wait already, and if nobody obeys any more.
    pub fn try_send(&self, command: Command) -> Result<(), TrySendError<Command>> {
        self.sender.try_send(command)?;
        self.waker.wake();
        Ok(())
    }
}

impl Inbox {
    /// The next command, if there is one.
    pub(super) fn command(&self) -> Result<Command, TryRecvError> {
        self.commands.try_recv()
    }

    /// Waits until there is something, of whatever kind.
    pub(super) fn wait(&self, events: Option<&ProcessEvents>, timeout: Duration) {
        let waker = PollFd::new(&self.waker.0, PollFlags::IN);
        let mut files = vec![waker];
        files.extend(events.map(|events| PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)));
        // A signal ends it early, which does no harm.
        let _ = poll(&mut files, Timespec::try_from(timeout).ok().as_ref());
        let _ = rustix::io::read(&self.waker.0, &mut [0; 8]);
    }
}

impl Waker {
    pub(super) fn wake(&self) {
        // Fails only if it has been woken so often that it is awake.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}
