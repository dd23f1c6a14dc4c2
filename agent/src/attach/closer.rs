//! Closing links in the background: perf events take the kernel some 0.1 s each, and whoever waits for that finds no process and
//! learns no caller meanwhile.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use super::links;
use crate::capabilities::{OF_CLOSER, keep_in_thread};

/// So many times can be asked for probes to be closed before those of the first are; who comes with one more waits for the first of them.
pub const MAX_CLOSING: usize = 64;

/// Links with the places in a file that they keep probed.
#[derive(Debug)]
pub(super) struct Placed<L> {
    /// The number of the file's inode, which all mounts that show it have in common.
    pub(super) inode: u64,
    /// In the file.
    pub(super) offsets: Vec<u64>,
    pub(super) links: Vec<L>,
}

/// What was taken away and may still be there.
#[derive(Debug)]
pub(super) struct Closing {
    /// Elements of `LAYOUTS` that are free after it.
    layouts: Vec<u32>,
    /// Inodes and offsets.
    places: Vec<(u64, Vec<u64>)>,
}

impl Closing {
    /// Whether it is of this file, as far as the inode's number tells.
    pub(super) fn is_of(&self, inode: u64) -> bool {
        self.places.iter().any(|(own, _)| *own == inode)
    }

    /// Whether it has one of these places.
    pub(super) fn has_any(&self, inode: u64, offsets: &[u64]) -> bool {
        self.places
            .iter()
            .any(|(own, places)| *own == inode && places.iter().any(|place| offsets.contains(place)))
    }
}

/// A thread that closes links. Dropping it waits until all are closed.
#[derive(Debug)]
pub(super) struct Closer<L> {
    jobs: Option<SyncSender<Vec<L>>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they come to an end.
    closing: Vec<Closing>,
    /// Elements of `LAYOUTS` that nobody uses any more.
    free: Vec<u32>,
}

impl<L: Send + 'static> Closer<L> {
    pub(super) fn start() -> io::Result<Self> {
        // One is being closed.
        let (jobs, taken) = sync_channel(MAX_CLOSING - 1);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("closer".to_owned()).spawn(move || {
            keep_in_thread(OF_CLOSER);
            of_thread.run(&taken);
        })?;
        Ok(Self { jobs: Some(jobs), shared, thread: Some(thread) })
    }

    /// Has all of them closed, and layouts free after that. Waits only where [`MAX_CLOSING`] are to be closed.
    pub(super) fn close(&self, placed: Vec<Placed<L>>, layouts: Vec<u32>) {
        let mut links = Vec::new();
        let mut places = Vec::new();
        for Placed { inode, offsets, links: own } in placed {
            places.push((inode, offsets));
            links.extend(own);
        }
        self.shared.state().closing.push(Closing { layouts, places });
        if let Some(jobs) = &self.jobs {
            // The thread lives as long as there is anybody to send.
            let _ = jobs.send(links);
        }
    }

    /// Waits until nothing is being closed that is like that. Returns the layouts that are free since the last time.
    pub(super) fn wait_while(&self, is_awaited: impl Fn(&Closing) -> bool) -> Vec<u32> {
        let has_any = |state: &mut State| state.closing.iter().any(&is_awaited);
        let state = self.shared.changed.wait_while(self.shared.state(), has_any);
        mem::take(&mut state.unwrap_or_else(PoisonError::into_inner).free)
    }
}

impl<L> Drop for Closer<L> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run<L: Send>(&self, jobs: &Receiver<Vec<L>>) {
        for links in jobs {
            links::close(links);
            let mut state = self.state();
            let layouts = state.closing.remove(0).layouts;
            state.free.extend(layouts);
            drop(state);
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    /// A link that takes until somebody says so to be closed.
    struct Slow(Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    fn slow(inode: u64, offsets: &[u64]) -> (Vec<Placed<Slow>>, Sender<()>) {
        let (go, wait) = channel();
        (vec![Placed { inode, offsets: offsets.to_vec(), links: vec![Slow(wait)] }], go)
    }

    #[test]
    fn nobody_waits_but_for_places_that_are_to_be_probed_again() {
        let closer = Closer::start().unwrap();
        let (first, go) = slow(7, &[1, 2]);
        closer.close(first, vec![3]);
        let is_awaited = |inode, offsets: &'static [u64]| move |one: &Closing| one.has_any(inode, offsets);
        assert!(closer.wait_while(|one| one.is_of(8)).is_empty());
        assert!(closer.wait_while(is_awaited(7, &[3])).is_empty());
        assert!(closer.wait_while(is_awaited(8, &[1])).is_empty());
        thread::scope(|scope| {
            let waits = [
                scope.spawn(|| closer.wait_while(is_awaited(7, &[2, 3]))),
                scope.spawn(|| closer.wait_while(|one| one.is_of(7))),
            ];
            thread::sleep(Duration::from_millis(50));
            assert!(waits.iter().all(|wait| !wait.is_finished()), "it is not closed");
            go.send(()).unwrap();
            let free: Vec<u32> = waits.into_iter().flat_map(|wait| wait.join().unwrap()).collect();
            assert_eq!(free, [3], "each is free once");
        });
        assert!(closer.shared.state().closing.is_empty());
    }

    #[test]
    fn at_the_limit_it_waits_for_the_first_and_at_the_end_for_all() {
        let closer = Closer::start().unwrap();
        let all: Vec<_> = (0..=MAX_CLOSING).map(|_| slow(7, &[1])).collect();
        let (all, go): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let shared = Arc::clone(&closer.shared);
        thread::scope(|scope| {
            let sends = scope.spawn(move || {
                for one in all {
                    closer.close(one, vec![1]);
                }
                closer
            });
            thread::sleep(Duration::from_millis(50));
            assert!(!sends.is_finished(), "one too many");
            go[0].send(()).unwrap();
            let closer = sends.join().unwrap();
            let ends = scope.spawn(move || drop(closer));
            thread::sleep(Duration::from_millis(50));
            assert!(!ends.is_finished());
            for go in &go[1..] {
                go.send(()).unwrap();
            }
            ends.join().unwrap();
        });
        assert_eq!(shared.state().free.len(), MAX_CLOSING + 1);
    }
}
