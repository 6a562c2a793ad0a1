//! One queue of deadlines for whatever has a timeout of its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Deadlines with what they are for. Entries that were overtaken stay until their time and then say nothing wrong:
/// whoever is woken looks at its own timeout.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    what: std::collections::HashMap<u64, K>,
    next: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new(), what: std::collections::HashMap::new(), next: 0 }
    }
}

impl<K> Timers<K> {
    /// Wakes `what` at `at`.
    pub fn add(&mut self, at: Instant, what: K) {
        self.next = self.next.wrapping_add(1);
        self.heap.push(Reverse((at, self.next)));
        self.what.insert(self.next, what);
    }

    /// The next that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        let Reverse((_, key)) = self.heap.pop()?;
        self.what.remove(&key)
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

/// When something was last put into the queue, so that it is not put there again for a later time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scheduled(Option<Instant>);

impl Scheduled {
    /// Whether a wish to be woken at `at` needs an entry of its own.
    pub fn wants(&mut self, at: Instant) -> bool {
        let wants = self.0.is_none_or(|known| at < known);
        if wants {
            self.0 = Some(at);
        }
        wants
    }

    /// Its entry fired.
    pub fn fired(&mut self, now: Instant) {
        if self.0.is_some_and(|at| at <= now) {
            self.0 = None;
        }
    }
}
