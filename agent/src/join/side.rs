//! The spans of one side that wait for those of the other.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{Key, MAX_ON_CONNECTION, MAX_WAITING, Waiting};

/// They are in the order in which they came. Each has a number.
#[derive(Debug, Default)]
pub(super) struct Side {
    by_connection: FxHashMap<Key, SmallVec<[(u64, Waiting); 1]>>,
    /// With those that wait no more, until these are as many as may wait.
    pub(super) order: VecDeque<(u64, Key)>,
    next: u64,
    length: usize,
}

/// How many were forgotten for a newer one.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Of the same connection.
    pub(super) of_connection: u64,
    /// Of all.
    pub(super) for_room: u64,
}

impl Side {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Those on a connection.
    pub(super) fn on(&self, key: Key) -> impl Iterator<Item = (u64, Waiting)> {
        self.by_connection.get(&key).into_iter().flatten().copied()
    }

    /// Adds one.
    pub(super) fn wait(&mut self, key: Key, waiting: Waiting) -> Dropped {
        let mut dropped = Dropped::default();
        while self.length >= MAX_WAITING {
            dropped.for_room += u64::from(self.drop_first());
        }
        if self.order.len() >= 2 * MAX_WAITING {
            let Self { by_connection, order, .. } = self;
            order.retain(|(number, key)| is_there(by_connection.get(key), *number));
        }
        let of_connection = self.by_connection.entry(key).or_default();
        if of_connection.len() >= MAX_ON_CONNECTION {
            of_connection.remove(0);
            self.length -= 1;
            dropped.of_connection = 1;
        }
        of_connection.push((self.next, waiting));
        self.order.push_back((self.next, key));
        self.next += 1;
        self.length += 1;
        dropped
    }

    /// Removes one. False if it is not there.
    pub(super) fn take(&mut self, key: Key, number: u64) -> bool {
        let Some(waiting) = self.by_connection.get_mut(&key) else { return false };
        let before = waiting.len();
        waiting.retain(|(of, _)| *of != number);
        let is_taken = waiting.len() != before;
        if waiting.is_empty() {
            self.by_connection.remove(&key);
        }
        self.length -= usize::from(is_taken);
        is_taken
    }

    /// Forgets those that ended longer ago than `time` before `now`, but for those that came after one that has not. Returns how many it were.
    pub(super) fn expire(&mut self, now: u64, time: u64) -> u64 {
        let mut expired = 0;
        while let Some((number, key)) = self.order.front() {
            let waiting = self.by_connection.get(key).into_iter().flatten().find(|(of, _)| of == number);
            if waiting.is_some_and(|(_, waiting)| now.saturating_sub(waiting.end) <= time) {
                break;
            }
            expired += u64::from(self.drop_first());
        }
        expired
    }

    /// Forgets the first. False if it did not wait any more.
    fn drop_first(&mut self) -> bool {
        self.order.pop_front().is_some_and(|(number, key)| self.take(key, number))
    }
}

fn is_there(waiting: Option<&SmallVec<[(u64, Waiting); 1]>>, number: u64) -> bool {
    waiting.into_iter().flatten().any(|(of, _)| *of == number)
}
