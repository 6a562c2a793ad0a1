//! What was asked a moment ago. Bounded: where there is no room, nothing is remembered, and it is asked again.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Entries at most.
const ROOM: usize = 1024;

#[derive(Debug)]
pub(super) struct Cache<K, V> {
    lasts: Duration,
    entries: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Remembers for this long.
    pub(super) fn new(lasts: Duration) -> Self {
        Cache { lasts, entries: Mutex::default() }
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q, now: Instant) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entries = self.entries.lock();
        let (at, value) = entries.get(key)?;
        (now.saturating_duration_since(*at) < self.lasts).then(|| value.clone())
    }

    pub(super) fn put(&self, key: K, value: V, now: Instant) {
        let mut entries = self.entries.lock();
        if entries.len() >= ROOM {
            entries.retain(|_, (at, _)| now.saturating_duration_since(*at) < self.lasts);
        }
        if entries.len() < ROOM {
            entries.insert(key, (now, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_forgotten_and_makes_room() {
        let (cache, now) = (Cache::new(Duration::from_secs(10)), Instant::now());
        (0..ROOM + 10).for_each(|key| cache.put(key, (), now));
        assert_eq!((cache.get(&0, now), cache.get(&(ROOM + 1), now)), (Some(()), None));
        assert_eq!(cache.entries.lock().len(), ROOM);
        let later = now + Duration::from_secs(10);
        assert_eq!(cache.get(&0, later), None);
        cache.put(ROOM + 1, (), later);
        assert_eq!(cache.get(&(ROOM + 1), later), Some(()));
        assert_eq!(cache.entries.lock().len(), 1);
    }
}
