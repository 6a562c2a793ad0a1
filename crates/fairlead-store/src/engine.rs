//! All records in memory, and what each step does to them. [`crate::MemoryStore`] is this behind a lock,
//! [`crate::FileStore`] writes down what comes out as [`Write`]s.

mod bindings;
mod calls;
mod cluster;
pub mod durable;
mod peers;
mod slots;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;

use fairlead_model::checkpoint::CheckpointRecord;
use fairlead_model::flow::Transport;
use fairlead_model::id::{CallRef, PodRef, UnixMillis};
use fairlead_model::member::Member;

use crate::error::StoreError;
use crate::notice::Notice;
use crate::record::{BindingsRecord, Columns, OwnerRecord, Slot};
use crate::step::{Filled, Outcome, Step};
use bindings::Window;
pub use durable::Write;

/// How often what has run out is removed.
const SWEEP_MS: u64 = 5_000;

/// Nonces, claims and slots are not kept beyond this number each; more are refused.
const TABLE_MAX: usize = 1_000_000;

/// What can be under a peer's name when it has no record.
static NO_BINDINGS: BindingsRecord = BindingsRecord { version: 0, bindings: Vec::new(), asked: Vec::new() };

/// The records.
#[derive(Default)]
pub struct Engine {
    peers: HashMap<String, Arc<Columns>>,
    names: BTreeSet<String>,
    marked: BTreeSet<String>,
    addresses: HashMap<IpAddr, BTreeSet<String>>,
    bindings: HashMap<String, Arc<BindingsRecord>>,
    flows: HashMap<(Transport, SocketAddr), BTreeSet<String>>,
    nonces: HashMap<String, HashMap<String, Window>>,
    nonce_count: usize,
    owners: HashMap<(String, String), (OwnerRecord, UnixMillis)>,
    slots: HashMap<String, BTreeMap<CallRef, Slot>>,
    slots_by_call: HashMap<CallRef, Vec<String>>,
    checkpoints: HashMap<CallRef, CheckpointRecord>,
    by_call_id: HashMap<String, CallRef>,
    members: BTreeMap<PodRef, Member>,
    secret: Option<[u8; 32]>,
    secrets: Vec<[u8; 32]>,
    incarnation: Option<u64>,
    /// The incarnation of which that was said.
    complete: Option<u64>,
    surroundings: (u64, String),
    epoch: Option<(u32, UnixMillis)>,
    next_sweep: UnixMillis,
    none: Option<Arc<BindingsRecord>>,
}

/// What a batch left behind besides its outcomes.
#[derive(Default)]
pub struct Effects {
    /// To be written down.
    pub writes: Vec<Write>,
    /// To be told.
    pub notices: Vec<Notice>,
}

impl Engine {
    /// Carries out one step.
    pub fn apply(
        &mut self,
        step: Step,
        now: UnixMillis,
        effects: &mut Effects,
    ) -> Result<Outcome, StoreError> {
        if now >= self.next_sweep {
            self.sweep(now);
        }
        let writes = &mut effects.writes;
        match step {
            Step::Load { name } => Ok(self.load(&name)),
            Step::PutPeer { name, columns, replace } => Ok(self.put_peer(name, columns, replace, writes)),
            Step::DeletePeer { name } => Ok(self.delete_peer(&name, writes)),
            Step::Touch { name, columns } => Ok(self.touch(&name, columns, writes)),
            Step::Index { name, addresses, marked } => {
                if marked {
                    self.marked.insert(name.clone());
                }
                Ok(self.index(&name, &addresses))
            }
            Step::RestorePeer { name, .. } if self.peers.contains_key(&name) => Ok(Outcome::Done),
            Step::RestorePeer { name, columns } => Ok(self.put_peer(name, columns, true, writes)),
            Step::PeersOf { call } => {
                let mut names = self.slots_by_call.get(&call).cloned().unwrap_or_default();
                names.sort_unstable();
                Ok(Outcome::Names(names))
            }
            Step::Provision(peer) => Ok(self.provision(&peer, writes)),
            Step::Withdraw { name, uid } => Ok(self.withdraw(&name, &uid, writes)),
            Step::Marked { after, limit } => Ok(page_of(&self.marked, after, limit)),
            Step::Row { name } => Ok(Outcome::Row(self.peers.get(&name).cloned())),
            Step::Restore(restore) => Ok(self.restore_bindings(*restore, writes)),
            Step::Names { after, limit } => Ok(page_of(&self.names, after, limit)),
            Step::Listed { name } => Ok(Outcome::Names(self.names.get(&name).cloned().into_iter().collect())),
            Step::NamesAt { address } => Ok(names_of(self.addresses.get(&address))),
            Step::NamesByFlow { transport, remote } => Ok(names_of(self.flows.get(&(transport, remote)))),
            Step::Bind(bind) => self.bind(*bind, now, writes),
            Step::UseNonce { peer, nonce } => {
                Ok(Outcome::Nonce { fresh: self.use_nonce(&peer, &nonce, now)? })
            }
            Step::Claim(claim) => self.claim(*claim, now),
            Step::Owner { call_id, from_tag } => Ok(self.owner(call_id, from_tag, now)),
            Step::Disown { call_id, from_tag, call } => Ok(self.disown(call_id, from_tag, call)),
            Step::Occupy(occupy) => self.occupy(*occupy),
            Step::Release { call } => Ok(self.release(call)),
            Step::SetUsage { peer, call, usage } => Ok(self.set_usage(&peer, call, usage)),
            Step::Slots { peer } => Ok(self.slots_of(&peer)),
            Step::WriteCheckpoint(record) => Ok(self.write_checkpoint(*record, writes)),
            Step::EndCheckpoint { call } => Ok(self.end_checkpoint(call, writes)),
            Step::CheckpointOf { call } => Ok(self.checkpoint_of(call)),
            Step::CheckpointByCallId { call_id } => Ok(self.checkpoint_by_call_id(&call_id)),
            Step::CallsOf { pod } => Ok(self.calls_of(pod)),
            Step::Beat(member) => Ok(self.beat(*member, now)),
            Step::Leave { pod } => Ok(self.leave(pod)),
            Step::Members => Ok(self.list_members(now)),
            Step::Secret { candidate } => Ok(self.secret(candidate, writes)),
            Step::Secrets { known } => Ok(self.all_secrets(known, writes)),
            Step::Incarnation { candidate } => {
                Ok(Outcome::Incarnation(*self.incarnation.get_or_insert(candidate)))
            }
            Step::Complete { say } => {
                match say {
                    Some(Filled::All(incarnation)) => self.complete = Some(incarnation),
                    Some(Filled::NotAll) => self.complete = None,
                    None => {}
                }
                Ok(Outcome::Complete(self.complete.is_some() && self.complete == self.incarnation))
            }
            Step::Surroundings { version, text } => Ok(self.surroundings(version, text, writes)),
            Step::Epoch { period, at_least } => Ok(self.epoch(period, at_least, now, writes)),
            Step::Publish(notice) => {
                effects.notices.push(notice);
                Ok(Outcome::Done)
            }
        }
    }

    /// All slots by peer, and all calls.
    pub fn calls(&self) -> (Vec<(String, Slot)>, Vec<CheckpointRecord>) {
        let slots = self
            .slots
            .iter()
            .flat_map(|(peer, slots)| slots.values().map(|slot| (peer.clone(), slot.clone())));
        (slots.collect(), self.checkpoints.values().cloned().collect())
    }

    /// Forgets slots and calls of a pod.
    pub fn forget_calls_of(&mut self, pod: PodRef) {
        let slots = self.slots.values().flat_map(BTreeMap::values).filter(|slot| slot.pod == pod);
        let calls: BTreeSet<CallRef> = slots.map(|slot| slot.call).collect();
        for call in calls {
            self.release(call);
        }
        let owned = self.checkpoints.values().filter(|record| record.owner == pod);
        let owned: Vec<CallRef> = owned.map(|record| record.call).collect();
        for call in owned {
            self.end_checkpoint(call, &mut Vec::new());
        }
    }

    /// Removes what has run out.
    fn sweep(&mut self, now: UnixMillis) {
        self.next_sweep = now.plus_millis(SWEEP_MS);
        self.sweep_nonces(now);
        self.owners.retain(|_, (_, until)| *until > now);
        self.sweep_members(now);
    }
}

fn page_of(names: &BTreeSet<String>, after: Option<String>, limit: u32) -> Outcome {
    let from = match after {
        Some(name) => Bound::Excluded(name),
        None => Bound::Unbounded,
    };
    let limit = limit.clamp(1, 10_000) as usize;
    Outcome::Names(names.range((from, Bound::Unbounded)).take(limit).cloned().collect())
}

fn names_of(names: Option<&BTreeSet<String>>) -> Outcome {
    Outcome::Names(names.map(|names| names.iter().cloned().collect()).unwrap_or_default())
}
