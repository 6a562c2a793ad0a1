//! What a store replies.

use std::sync::Arc;

use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::id::{CallRef, UnixMillis};
use fairlead_model::member::Member;
use fairlead_model::provision::{Provisioned, Withdrawn};

use crate::error::StoreError;
use crate::record::{BindingsRecord, Columns, OwnerRecord, Slot};

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Of [`Step::Load`].
    Loaded {
        /// The realtime peer's columns.
        peer: Option<Arc<Columns>>,
        /// The bindings; version 0 when there is no record.
        bindings: Arc<BindingsRecord>,
    },
    /// Names.
    Names(Vec<String>),
    /// Of [`Step::Bind`].
    Bind(BindOutcome),
    /// Of [`Step::UseNonce`]: whether it was fresh.
    Nonce {
        /// Not used before, and inside the window.
        fresh: bool,
    },
    /// Of [`Step::Claim`]: who holds it when it is not newly claimed. Of [`Step::Owner`]: who holds it.
    Owner(Option<OwnerRecord>),
    /// Of [`Step::Occupy`].
    Occupied {
        /// The call has a slot now.
        granted: bool,
        /// Slots in use, this one included.
        count: u32,
    },
    /// Of [`Step::Slots`].
    Slots(Vec<Slot>),
    /// Of [`Step::WriteCheckpoint`]: the epoch of the newer owner.
    Fenced {
        /// Stored epoch.
        epoch: u64,
    },
    /// A call's record.
    Checkpoint(Option<Box<CheckpointRecord>>),
    /// Calls.
    Calls(Vec<CallRef>),
    /// Of [`Step::Members`].
    Members {
        /// The store's time.
        now: UnixMillis,
        /// Everybody, `seen` by the store's time.
        members: Vec<Member>,
    },
    /// Of [`Step::Secret`].
    Secret {
        /// The secret.
        secret: [u8; 32],
        /// It was made just now: the store was empty.
        made: bool,
    },
    /// Of [`Step::Provision`].
    Provisioned(Provisioned),
    /// Of [`Step::Withdraw`].
    Withdrawn(Withdrawn),
    /// Of [`Step::Row`].
    Row(Option<Arc<Columns>>),
    /// Of [`Step::Restore`].
    Restored {
        /// The store had an older record, or none.
        written: bool,
    },
    /// Of [`Step::Secrets`].
    Secrets(Vec<[u8; 32]>),
    /// Of [`Step::Incarnation`].
    Incarnation(u64),
    /// Of [`Step::Complete`]: how it is now.
    Complete(bool),
    /// Of [`Step::Surroundings`]: what is there now.
    Surroundings {
        /// Its version; 0 when nobody has said anything yet.
        version: u64,
        /// JSON, when it is newer than what the step brought.
        text: Option<String>,
    },
    /// Of [`Step::Epoch`].
    Epoch {
        /// The number.
        epoch: u32,
        /// When it began, by the store's time.
        since: UnixMillis,
        /// The store's time.
        now: UnixMillis,
    },
}

/// What became of new bindings.
#[derive(Clone, Debug, PartialEq)]
pub enum BindOutcome {
    /// They are kept.
    Bound {
        /// The new version.
        version: u64,
    },
    /// The record is another one by now; here it is.
    Conflict(Arc<BindingsRecord>),
    /// The nonce has been used.
    NonceUsed,
}

impl Outcome {
    /// The loaded peer and its bindings.
    pub fn loaded(self) -> Result<(Option<Arc<Columns>>, Arc<BindingsRecord>), StoreError> {
        match self {
            Outcome::Loaded { peer, bindings } => Ok((peer, bindings)),
            _ => Err(StoreError::Unexpected("a loaded peer was wanted")),
        }
    }

    /// The names.
    pub fn names(self) -> Result<Vec<String>, StoreError> {
        match self {
            Outcome::Names(names) => Ok(names),
            _ => Err(StoreError::Unexpected("names were wanted")),
        }
    }

    /// What became of a marked peer.
    pub fn provisioned(self) -> Result<Provisioned, StoreError> {
        match self {
            Outcome::Provisioned(outcome) => Ok(outcome),
            _ => Err(StoreError::Unexpected("the outcome of provisioning was wanted")),
        }
    }

    /// What became of removing.
    pub fn withdrawn(self) -> Result<Withdrawn, StoreError> {
        match self {
            Outcome::Withdrawn(outcome) => Ok(outcome),
            _ => Err(StoreError::Unexpected("the outcome of withdrawing was wanted")),
        }
    }

    /// Whether all peers have been written.
    pub fn complete(self) -> Result<bool, StoreError> {
        match self {
            Outcome::Complete(is_complete) => Ok(is_complete),
            _ => Err(StoreError::Unexpected("whether all peers are there was wanted")),
        }
    }

    /// The row.
    pub fn row(self) -> Result<Option<Arc<Columns>>, StoreError> {
        match self {
            Outcome::Row(row) => Ok(row),
            _ => Err(StoreError::Unexpected("a row was wanted")),
        }
    }

    /// What became of new bindings.
    pub fn bind(self) -> Result<BindOutcome, StoreError> {
        match self {
            Outcome::Bind(bind) => Ok(bind),
            _ => Err(StoreError::Unexpected("the outcome of bindings was wanted")),
        }
    }

    /// Whether the nonce was fresh.
    pub fn nonce(self) -> Result<bool, StoreError> {
        match self {
            Outcome::Nonce { fresh } => Ok(fresh),
            _ => Err(StoreError::Unexpected("the freshness of a nonce was wanted")),
        }
    }

    /// The owner.
    pub fn owner(self) -> Result<Option<OwnerRecord>, StoreError> {
        match self {
            Outcome::Owner(owner) => Ok(owner),
            _ => Err(StoreError::Unexpected("an owner was wanted")),
        }
    }

    /// Whether the slot was granted, and how many are in use.
    pub fn occupied(self) -> Result<(bool, u32), StoreError> {
        match self {
            Outcome::Occupied { granted, count } => Ok((granted, count)),
            _ => Err(StoreError::Unexpected("a slot was wanted")),
        }
    }

    /// The slots.
    pub fn slots(self) -> Result<Vec<Slot>, StoreError> {
        match self {
            Outcome::Slots(slots) => Ok(slots),
            _ => Err(StoreError::Unexpected("slots were wanted")),
        }
    }

    /// The record of a call.
    pub fn checkpoint(self) -> Result<Option<Box<CheckpointRecord>>, StoreError> {
        match self {
            Outcome::Checkpoint(record) => Ok(record),
            _ => Err(StoreError::Unexpected("a checkpoint was wanted")),
        }
    }

    /// The calls.
    pub fn calls(self) -> Result<Vec<CallRef>, StoreError> {
        match self {
            Outcome::Calls(calls) => Ok(calls),
            _ => Err(StoreError::Unexpected("calls were wanted")),
        }
    }

    /// The members and the store's time.
    pub fn members(self) -> Result<(UnixMillis, Vec<Member>), StoreError> {
        match self {
            Outcome::Members { now, members } => Ok((now, members)),
            _ => Err(StoreError::Unexpected("members were wanted")),
        }
    }
}
