//! What a store can be asked to do, and what it replies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::ask::{IdempotencyKey, Usage};
use fairlead_model::binding::Binding;
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::Transport;
use fairlead_model::id::{CallRef, PodRef, UnixMillis};
use fairlead_model::member::Member;

use crate::error::StoreError;
use crate::notice::Notice;
use crate::record::{BindingsRecord, Columns, OwnerRecord, Slot};

/// One thing to do, atomic by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The realtime peer of this name, if there is one, and the bindings of this name.
    Load {
        /// Name of the peer.
        name: String,
    },
    /// Writes columns of a peer and puts it into the indexes; other columns stay unless `replace`.
    PutPeer {
        /// Name of the peer.
        name: String,
        /// What to write. An empty value removes its column.
        columns: Columns,
        /// Remove all other columns.
        replace: bool,
    },
    /// Removes a peer, its bindings and its places in the indexes.
    DeletePeer {
        /// Name of the peer.
        name: String,
    },
    /// Writes columns of a peer only if it exists (runtime columns: `lastms` …).
    Touch {
        /// Name of the peer.
        name: String,
        /// What to write.
        columns: Columns,
    },
    /// Puts a peer into the indexes of names and addresses (one that somebody else wrote, found at first use).
    Index {
        /// Name of the peer.
        name: String,
        /// Its configured addresses (`host=` with an IP address).
        addresses: Vec<IpAddr>,
    },
    /// Names of peers in bytewise order.
    Names {
        /// Only names behind this one.
        after: Option<String>,
        /// At most so many, 1 to 10,000.
        limit: u32,
    },
    /// Whether this name is in the index of names; the outcome is the name or nothing.
    Listed {
        /// Name of the peer.
        name: String,
    },
    /// Names of peers that are configured with this address.
    NamesAt {
        /// The address.
        address: IpAddr,
    },
    /// Names of peers with a binding whose flow has this transport and remote address.
    NamesByFlow {
        /// Its transport.
        transport: Transport,
        /// Its remote address.
        remote: SocketAddr,
    },
    /// Sets the bindings of a peer, if they still are those that were planned from.
    Bind(Box<Bind>),
    /// Marks a nonce count as used: only the first time is fresh.
    UseNonce {
        /// The peer.
        peer: String,
        /// What is used.
        nonce: NonceUse,
    },
    /// Claims (Call-ID, From-tag) for a call.
    Claim(Box<Claim>),
    /// Who claimed it.
    Owner {
        /// Call-ID.
        call_id: String,
        /// From-tag.
        from_tag: String,
    },
    /// Gives a claim up, if it is this call's.
    Disown {
        /// Call-ID.
        call_id: String,
        /// From-tag.
        from_tag: String,
        /// Whose it is.
        call: CallRef,
    },
    /// Takes a call slot of a peer.
    Occupy(Box<Occupy>),
    /// Frees all slots of a call.
    Release {
        /// The call.
        call: CallRef,
    },
    /// What the peer does in that call; nothing when the call holds no slot of it.
    SetUsage {
        /// The peer.
        peer: String,
        /// The call.
        call: CallRef,
        /// What it does.
        usage: Usage,
    },
    /// All slots of a peer.
    Slots {
        /// The peer.
        peer: String,
    },
    /// Writes an established call, unless a newer owner did.
    WriteCheckpoint(Box<CheckpointRecord>),
    /// Forgets a call that is over.
    EndCheckpoint {
        /// The call.
        call: CallRef,
    },
    /// An established call by its name.
    CheckpointOf {
        /// The call.
        call: CallRef,
    },
    /// An established call by the Call-ID of one of its dialogs.
    CheckpointByCallId {
        /// The Call-ID.
        call_id: String,
    },
    /// The established calls of a pod.
    CallsOf {
        /// The pod.
        pod: PodRef,
    },
    /// Writes a member and stamps it with the store's time (renews its lease).
    Beat(Box<Member>),
    /// Removes a member.
    Leave {
        /// Which.
        pod: PodRef,
    },
    /// All members, living or not, and the store's time.
    Members,
    /// The secret of the cluster; made from `candidate` when there is none.
    Secret {
        /// 32 random bytes.
        candidate: [u8; 32],
    },
    /// The number of the epoch of nonce keys; counted up when the last one is older than `period`.
    Epoch {
        /// How long an epoch lasts.
        period: Duration,
        /// It is not less than this.
        at_least: u32,
    },
    /// Tells all registrars.
    Publish(Notice),
}

/// New bindings for a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Name of the peer.
    pub name: String,
    /// Version of the record that was planned from; 0 for none.
    pub planned_from: u64,
    /// The whole new set.
    pub bindings: Vec<Binding>,
    /// Runtime columns to write into the realtime peer if it exists. An empty value is written as such, as chan_sip does.
    pub columns: Columns,
    /// The nonce that came with the request; a used one stops the step.
    pub nonce: Option<NonceUse>,
    /// The question that led to it, to be remembered.
    pub key: Option<IdempotencyKey>,
    /// Now; the new version is at least this.
    pub now: UnixMillis,
}

impl Bind {
    /// The version that this step gives to the record.
    pub fn version(&self) -> u64 {
        self.now.0.max(self.planned_from.saturating_add(1))
    }
}

/// A use of a nonce (RFC 7616 §3.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonceUse {
    /// The nonce.
    pub nonce: String,
    /// Its count; `None` (no qop) uses it up.
    pub count: Option<u32>,
    /// How long it must be remembered.
    pub life: Duration,
}

impl NonceUse {
    /// How far behind the highest count another one may come in late.
    pub const WINDOW: u32 = 64;
}

/// A claim for (Call-ID, From-tag).
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Call-ID.
    pub call_id: String,
    /// From-tag.
    pub from_tag: String,
    /// Who claims it: the call, the CSeq and the branch of its request. A higher CSeq takes over.
    pub owner: OwnerRecord,
    /// How long it is remembered.
    pub life: Duration,
}

/// A wish for a call slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Occupy {
    /// The peer.
    pub peer: String,
    /// The call.
    pub call: CallRef,
    /// Under whose lease.
    pub pod: PodRef,
    /// How many the peer may have; 0 for any number.
    pub limit: u32,
    /// What the peer does in the call at first.
    pub usage: Usage,
    /// The pods that live: slots under other leases do not count and are removed. Empty when it is not known.
    pub living: Vec<PodRef>,
}

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
