//! Whether this process lives and is ready. It looks at this process alone, never at what pods share: a store that is
//! away must not take every pod out of service at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// All that is asked of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    ready: Mutex<BTreeMap<&'static str, Arc<AtomicBool>>>,
    beats: Mutex<BTreeMap<String, Beat>>,
}

#[derive(Debug)]
struct Beat {
    last: Arc<AtomicU64>,
    limit: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Alive, and ready as soon as every flag made from it says so.
    pub fn new() -> Self {
        let inner = Inner { began: Instant::now(), ready: Mutex::default(), beats: Mutex::default() };
        Health { inner: Arc::new(inner) }
    }

    /// Something without which the role cannot serve, such as `listeners`. Not ready until it is set.
    pub fn flag(&self, name: &'static str) -> ReadyFlag {
        let flag = self.inner.ready.lock().entry(name).or_default().clone();
        ReadyFlag { flag }
    }

    /// A loop that must turn at least once in `limit`: the process is dead when it does not.
    pub fn heartbeat(&self, name: impl Into<String>, limit: Duration) -> Heartbeat {
        let last = Arc::new(AtomicU64::new(self.millis()));
        self.inner.beats.lock().insert(name.into(), Beat { last: last.clone(), limit });
        Heartbeat { began: self.inner.began, last }
    }

    /// Names of flags that are not set.
    pub fn not_ready(&self) -> Vec<&'static str> {
        let ready = self.inner.ready.lock();
        ready.iter().filter(|(_, flag)| !flag.load(Ordering::Acquire)).map(|(name, _)| *name).collect()
    }

    /// Names of loops that do not turn.
    pub fn stuck(&self) -> Vec<String> {
        let now = self.millis();
        let is_late = |beat: &Beat| {
            Duration::from_millis(now.saturating_sub(beat.last.load(Ordering::Acquire))) > beat.limit
        };
        let beats = self.inner.beats.lock();
        beats.iter().filter(|(_, beat)| is_late(beat)).map(|(name, _)| name.clone()).collect()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.inner.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// One condition of readiness.
#[derive(Clone, Debug)]
pub struct ReadyFlag {
    flag: Arc<AtomicBool>,
}

impl ReadyFlag {
    /// Says whether it holds now.
    pub fn set(&self, ready: bool) {
        self.flag.store(ready, Ordering::Release);
    }
}

/// Held by a loop that must not stop.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    began: Instant,
    last: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Still turning.
    pub fn beat(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_flag_is_set() {
        let health = Health::new();
        let (sockets, briefing) = (health.flag("sockets"), health.flag("briefing"));
        sockets.set(true);
        assert_eq!(health.not_ready(), ["briefing"]);
        briefing.set(true);
        assert!(health.not_ready().is_empty());
        sockets.set(false);
        assert_eq!(health.not_ready(), ["sockets"]);
    }

    #[test]
    fn a_loop_that_stops_is_named() {
        let health = Health::new();
        let beat = health.heartbeat("shard 0", Duration::from_millis(20));
        assert!(health.stuck().is_empty());
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(health.stuck(), ["shard 0"]);
        beat.beat();
        assert!(health.stuck().is_empty());
    }
}
