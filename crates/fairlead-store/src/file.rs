//! A store in one file of redb, for one process: the astdb of old.
//!
//! All records are in memory, as in [`crate::MemoryStore`]; what outlives the process is written to the file by
//! a thread of its own. It takes whatever has gathered while the last transaction was on its way to the disk and
//! commits it as one: several registrations share one `fsync`, and none is answered before it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::{error, warn};

use crate::Store;
use crate::engine::{Effects, Engine, Write};
use crate::error::StoreError;
use crate::memory::{NOTICES, now};
use crate::notice::{Notice, NoticeStream, tell};
use crate::step::{Outcome, Step};

const RECORDS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("records");

/// How many batches may wait for the disk; more are refused.
const WAITING: usize = 65_536;

/// How many batches share one transaction at most.
const TOGETHER: usize = 4_096;

/// How long a commit may wait for others to join it. One alone costs as much as twenty together; the first after a
/// pause does not wait at all.
const BETWEEN: Duration = Duration::from_millis(40);

/// When nobody joined for this long, nobody is waited for any longer.
const QUIET: Duration = Duration::from_millis(8);

/// Memory for pages of the file; everything read is in memory already.
const PAGES: usize = 16 << 20;

/// Records in memory, kept in a file.
pub struct FileStore {
    engine: Mutex<Engine>,
    queue: mpsc::Sender<Job>,
    notices: broadcast::Sender<Notice>,
    failing: Arc<AtomicBool>,
}

/// What one batch wants kept, and who waits for it.
struct Job {
    writes: Vec<Write>,
    kept: oneshot::Sender<Result<(), StoreError>>,
}

impl FileStore {
    /// Opens the file, or makes it, and reads it. Another process that has it open is an error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(PAGES).create(path).map_err(disk)?;
        let mut engine = Engine::default();
        restore(&database, &mut engine)?;
        let (queue, jobs) = mpsc::channel(WAITING);
        let failing = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&failing);
        thread::Builder::new()
            .name("store-file".to_owned())
            .spawn(move || Writer { database, pending: HashMap::new(), failing: seen }.run(jobs))
            .map_err(disk)?;
        Ok(FileStore { engine: Mutex::new(engine), queue, notices: broadcast::channel(NOTICES).0, failing })
    }
}

fn restore(database: &Database, engine: &mut Engine) -> Result<(), StoreError> {
    let transaction = database.begin_read().map_err(disk)?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(disk(error)),
    };
    for entry in table.iter().map_err(disk)? {
        let (key, value) = entry.map_err(disk)?;
        engine.restore(key.value(), value.value());
    }
    Ok(())
}

fn disk(error: impl std::fmt::Display) -> StoreError {
    StoreError::Disk(error.to_string())
}

#[async_trait::async_trait]
impl Store for FileStore {
    async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>> {
        let mut effects = Effects::default();
        let now = now();
        let count = steps.len();
        let (results, kept) = {
            // The order of the queue is the order of the changes: it is filled under the same lock.
            let mut engine = self.engine.lock();
            if self.queue.capacity() == 0 {
                return vec![Err(StoreError::Overloaded); count];
            }
            let results: Vec<_> =
                steps.into_iter().map(|step| engine.apply(step, now, &mut effects)).collect();
            if effects.writes.is_empty() {
                (results, None)
            } else {
                let (kept, waits) = oneshot::channel();
                let sent = self.queue.try_send(Job { writes: effects.writes, kept });
                (results, Some(sent.map(|()| waits)))
            }
        };
        if let Some(sent) = kept {
            let outcome = match sent {
                Ok(waits) => {
                    waits.await.unwrap_or_else(|_| Err(StoreError::Disk("the writer has ended".to_owned())))
                }
                Err(_) => Err(StoreError::Disk("the writer has ended".to_owned())),
            };
            if let Err(error) = outcome {
                return vec![Err(error); count];
            }
        }
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
        !self.failing.load(Ordering::Relaxed)
    }
}

/// The thread that owns the file.
struct Writer {
    database: Database,
    /// What a failed transaction did not keep: memory is ahead of the disk by this, and the next one takes it along.
    pending: HashMap<String, Option<Vec<u8>>>,
    failing: Arc<AtomicBool>,
}

/// Takes whatever joins, until it has been long enough or quiet enough.
fn gather(jobs: &mut mpsc::Receiver<Job>, gathered: &mut Vec<Job>) {
    let begun = Instant::now();
    while gathered.len() < TOGETHER && begun.elapsed() < BETWEEN {
        thread::sleep(QUIET);
        let before = gathered.len();
        while gathered.len() < TOGETHER
            && let Ok(job) = jobs.try_recv()
        {
            gathered.push(job);
        }
        if gathered.len() == before {
            return;
        }
    }
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut gathered = Vec::new();
        let mut last: Option<Instant> = None;
        while jobs.blocking_recv_many(&mut gathered, TOGETHER) > 0 {
            if last.is_some_and(|last| last.elapsed() < BETWEEN) {
                gather(&mut jobs, &mut gathered);
            }
            last = Some(Instant::now());
            let mut waiting = Vec::with_capacity(gathered.len());
            for job in gathered.drain(..) {
                // The last write under a key is the one that counts.
                self.pending.extend(job.writes.into_iter().map(|write| (write.key, write.value)));
                waiting.push(job.kept);
            }
            let outcome = self.commit();
            let failing = outcome.is_err();
            if failing != self.failing.swap(failing, Ordering::Relaxed) {
                match &outcome {
                    Err(cause) => error!(%cause, "the store's file cannot be written"),
                    Ok(()) => warn!("the store's file can be written again"),
                }
            }
            for kept in waiting {
                // Whoever asked may have stopped waiting; what was written stays.
                let _ = kept.send(outcome.clone());
            }
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().map_err(disk)?;
        transaction.set_durability(Durability::Immediate).map_err(disk)?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(disk)?;
            for (key, value) in &self.pending {
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice()).map(drop),
                    None => table.remove(key.as_str()).map(drop),
                }
                .map_err(disk)?;
            }
        }
        transaction.commit().map_err(disk)?;
        self.pending.clear();
        Ok(())
    }
}
