//! The records that steps carry.

use std::collections::BTreeMap;

use fairlead_model::ask::{IdempotencyKey, Usage};
use fairlead_model::binding::Binding;
use fairlead_model::id::{CallRef, PodRef, UnixMillis};

/// A realtime peer as the provisioning system wrote it: column of `sippeers` → value.
pub type Columns = BTreeMap<String, String>;

/// All bindings of one peer, with what one step must know to change them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindingsRecord {
    /// Grows with each change; 0 when there is no record. Planned from one, applied only to the same.
    pub version: u64,
    /// The contacts, in the order in which they were bound.
    pub bindings: Vec<Binding>,
    /// Which questions led to the last changes, newest last: asked again they are answered from here.
    pub asked: Vec<IdempotencyKey>,
}

impl BindingsRecord {
    /// How many questions are remembered.
    pub const ASKED_MAX: usize = 4;

    /// The pods that hold its flows, each once.
    pub fn pods(&self) -> Vec<PodRef> {
        let mut pods: Vec<PodRef> = self.bindings.iter().map(|binding| binding.flow.pod).collect();
        pods.sort_unstable();
        pods.dedup();
        pods
    }

    /// Whether a contact has not ended yet.
    pub fn is_live(&self, now: UnixMillis) -> bool {
        self.bindings.iter().any(|binding| binding.expires_at > now)
    }

    /// Whether this question has been carried out.
    pub fn has_answered(&self, key: IdempotencyKey) -> bool {
        self.asked.contains(&key)
    }
}

/// Who holds the call that began with a certain Call-ID and From-tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// The call; its pod is the owner.
    pub call: CallRef,
    /// CSeq of the request that claimed it.
    pub cseq: u32,
    /// Branch of that request.
    pub branch: String,
}

/// One call slot of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The call that holds it.
    pub call: CallRef,
    /// Under whose lease.
    pub pod: PodRef,
    /// What the peer does in it.
    pub usage: Usage,
}
