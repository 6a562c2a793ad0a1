//! Where peers, bindings, slots and checkpoints live: Redis, redb and memory behind one trait.
//!
//! A [`Store`] carries out batches of [`Step`]s. Each step is atomic by itself; a batch is one journey
//! (one pipeline to Redis, one transaction of the file), not one transaction. What lies under which key
//! is written in `KEYS.md`.
//!
//! [`MemoryStore`] forgets at the end of the process, [`FileStore`] keeps a file of redb beside it and answers
//! after the commit, [`RedisStore`] is what several registrars share.

mod engine;
mod error;
mod file;
pub mod health;
pub mod keys;
pub mod marked;
mod memory;
mod notice;
mod record;
mod redis;
mod step;

pub use error::StoreError;
pub use file::FileStore;
pub use health::Health;
pub use memory::MemoryStore;
pub use notice::{BoundRecord, Notice, NoticeStream, PeerSelector};
pub use record::{BindingsRecord, Columns, OwnerRecord, Slot};
pub use redis::{RedisSettings, RedisStore};
pub use step::{Bind, BindOutcome, Claim, Filled, NonceUse, Occupy, Outcome, Restore, Step};

/// A place to keep what must outlive a registrar.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Carries out the steps in their order, in one journey. As many results as steps, in the same order.
    ///
    /// A step that writes is answered when what it wrote is kept: by Redis, or by the disk.
    async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>>;

    /// What other registrars (and this one) publish, from now on. [`Notice::Resumed`] comes when some may have been missed.
    fn notices(&self) -> NoticeStream;

    /// Builds the indexes of names and addresses anew from all peers there are; returns how many peers it saw.
    async fn reindex(&self) -> Result<u64, StoreError>;

    /// Whether nonce windows outlive this process. Where they do not, the registrar begins with a new epoch
    /// so that no nonce can be used twice.
    fn keeps_nonces(&self) -> bool;

    /// Whether the store can be reached now, as far as it knows.
    fn is_present(&self) -> bool;

    /// What it says of itself when it is examined; `None` where there is nothing to examine.
    async fn health(&self) -> Option<Result<Health, StoreError>> {
        None
    }

    /// One step alone.
    async fn run_one(&self, step: Step) -> Result<Outcome, StoreError> {
        self.run(vec![step]).await.pop().unwrap_or(Err(StoreError::Unexpected("no result")))
    }
}
