//! A store that forgets at the end of the process.

use std::time::{SystemTime, UNIX_EPOCH};

use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::id::{PodRef, UnixMillis};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::Store;
use crate::engine::{Effects, Engine};
use crate::error::StoreError;
use crate::notice::{Notice, NoticeStream, tell};
use crate::record::Slot;
use crate::step::{Outcome, Step};

/// How many notices a slow listener may be behind before it misses some (it is told).
pub(crate) const NOTICES: usize = 4096;

/// Everything in memory: for tests, and for a look at the house.
pub struct MemoryStore {
    engine: Mutex<Engine>,
    notices: broadcast::Sender<Notice>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        MemoryStore { engine: Mutex::default(), notices: broadcast::channel(NOTICES).0 }
    }

    /// All slots by peer, and all calls.
    pub fn calls(&self) -> (Vec<(String, Slot)>, Vec<CheckpointRecord>) {
        self.engine.lock().calls()
    }

    /// Forgets slots and calls of a pod.
    pub fn forget_calls_of(&self, pod: PodRef) {
        self.engine.lock().forget_calls_of(pod);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

#[async_trait::async_trait]
impl Store for MemoryStore {
    async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>> {
        let mut effects = Effects::default();
        let now = now();
        let results = {
            let mut engine = self.engine.lock();
            steps.into_iter().map(|step| engine.apply(step, now, &mut effects)).collect()
        };
        tell(effects.notices, &self.notices);
        results
    }

    fn notices(&self) -> NoticeStream {
        self.notices.subscribe()
    }

    async fn reindex(&self) -> Result<u64, StoreError> {
        Ok(self.engine.lock().reindex())
    }

    fn keeps_nonces(&self) -> bool {
        false
    }

    fn is_present(&self) -> bool {
        true
    }
}

/// The wall clock of this machine, which is the store's where the store is in the process.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}
