//! What a store can be asked to do; `step/outcome.rs` is what it replies.

mod outcome;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fairlead_model::ask::{IdempotencyKey, Usage};
use fairlead_model::binding::Binding;
use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::Transport;
use fairlead_model::id::{CallRef, PodRef, UnixMillis};
use fairlead_model::member::Member;
use fairlead_model::provision::Provision;

use crate::notice::Notice;
use crate::record::{BindingsRecord, Columns, OwnerRecord};
pub use outcome::{BindOutcome, Outcome};

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
    /// Writes a peer that the store has lost, unless somebody has written it meanwhile; into the indexes with it.
    RestorePeer {
        /// Name of the peer.
        name: String,
        /// Its columns.
        columns: Columns,
    },
    /// Puts a peer into the indexes of names and addresses (one that somebody else wrote, found at first use).
    Index {
        /// Name of the peer.
        name: String,
        /// Its configured addresses (`host=` with an IP address).
        addresses: Vec<IpAddr>,
        /// It has a mark.
        marked: bool,
    },
    /// Writes a marked peer if the name is free, or already that writer's, and keeps what SIP wrote; into the indexes
    /// with it.
    Provision(Box<Provision>),
    /// Removes a marked peer, its bindings and its places in the indexes, if it has this UID. Bindings of a name that no
    /// realtime peer has are removed too.
    Withdraw {
        /// Name of the peer.
        name: String,
        /// UID of its mark.
        uid: String,
    },
    /// Names of marked peers in bytewise order; some may have no mark any more, the row decides.
    Marked {
        /// Only names behind this one.
        after: Option<String>,
        /// At most so many, 1 to 10,000.
        limit: u32,
    },
    /// The realtime peer of this name alone.
    Row {
        /// Name of the peer.
        name: String,
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
    /// Writes a record of bindings that the store has lost: only over an older one.
    Restore(Box<Restore>),
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
    /// Names of peers of which a call holds a slot.
    PeersOf {
        /// The call.
        call: CallRef,
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
    /// Adds these to the secrets under which names may have been minted; the outcome is all of them.
    Secrets {
        /// Those that are known here.
        known: Vec<[u8; 32]>,
    },
    /// A number that the store has from its first use until it is emptied.
    Incarnation {
        /// The number it gets when it has none.
        candidate: u64,
    },
    /// Whether the operator role has written all its peers since the store was emptied.
    Complete {
        /// What it says now; `None` only asks.
        say: Option<Filled>,
    },
    /// What lies around the edge: written if it is newer than what is there, read if it is older.
    Surroundings {
        /// Version of `text`; 0 only reads.
        version: u64,
        /// JSON.
        text: String,
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

/// A record of bindings to be written again as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Restore {
    /// Name of the peer.
    pub name: String,
    /// The record, version included.
    pub record: BindingsRecord,
    /// Runtime columns to write into the realtime peer if it exists.
    pub columns: Columns,
    /// Now.
    pub now: UnixMillis,
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

/// Whether all peers were written that are to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// They are in the store with this number (see [`Step::Incarnation`]). Said to one with another number it is not true.
    All(u64),
    /// They are not.
    NotAll,
}
