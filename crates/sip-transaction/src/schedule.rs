//! The deadlines of all transactions, earliest first.
//!
//! Entries are never changed: the table ignores those that do not hold any more when they come up. A transaction
//! whose deadline moves away costs nothing, and most cost two entries in their life.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::TransactionId;

#[derive(Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<(Instant, TransactionId)>>,
}

impl Schedule {
    pub fn push(&mut self, at: Instant, id: TransactionId) {
        self.heap.push(Reverse((at, id)));
    }

    /// The next entry whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, TransactionId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn retain(&mut self, mut keep: impl FnMut(Instant, TransactionId) -> bool) {
        self.heap.retain(|Reverse((at, id))| keep(*at, *id));
    }
}
