//! The store as the registrar uses it: what must go on while it is away goes on in memory, and is written later.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairlead_model::id::{CallRef, PodRef};
use fairlead_store::{MemoryStore, NonceUse, Occupy, Outcome, Slot, Step, Store, StoreError};
use parking_lot::Mutex;
use tracing::warn;

/// How many steps are kept to be done later; more are dropped, and said so.
const LATER_MAX: usize = 200_000;
/// How many steps go together when there are many.
const BATCH: usize = 128;

/// The store and its stand-in.
pub struct Storage {
    store: Arc<dyn Store>,
    /// Slots, claims and nonces as this registrar knows them; asked while the store is away.
    stand_in: MemoryStore,
    later: Mutex<Later>,
    /// Until when nonces may have been used that only the stand-in knows, milliseconds since 1970.
    doubt: AtomicU64,
}

/// What is to be done when the store is back: only the last step of a kind about a thing counts.
#[derive(Default)]
struct Later {
    steps: HashMap<About, (u64, Step)>,
    next: u64,
    dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum About {
    Slot(String, CallRef),
    Usage(String, CallRef),
    Slots(CallRef),
    Checkpoint(CallRef),
    Claim(String, String),
}

impl Storage {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Storage { store, stand_in: MemoryStore::new(), later: Mutex::default(), doubt: AtomicU64::new(0) }
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Carries out steps; those that may, in memory when the store is away.
    pub async fn run(&self, steps: Vec<Step>) -> Vec<Result<Outcome, StoreError>> {
        // The stand-in follows what concerns slots, so that it knows of them when it is needed.
        let followed: Vec<Option<Step>> =
            steps.iter().map(|step| may_wait(step).then(|| step.clone())).collect();
        if followed.iter().all(Option::is_none) {
            return self.store.run(steps).await;
        }
        let mut results = self.store.run(steps).await;
        for (result, step) in results.iter_mut().zip(followed) {
            let Some(step) = step else { continue };
            match (&mut *result, step) {
                (Ok(Outcome::Nonce { fresh }), Step::UseNonce { peer, nonce }) => {
                    *fresh = *fresh && self.nonce_is_fresh_here(&peer, &nonce).await;
                }
                (Ok(outcome), step) => self.follow(step, outcome).await,
                (Err(error), Step::UseNonce { peer, nonce }) if error.passes() => {
                    *result = Ok(Outcome::Nonce { fresh: self.use_nonce_here(&peer, &nonce).await });
                }
                (Err(error), step) if error.passes() => *result = self.stand_in(step).await,
                (Err(_), _) => {}
            }
        }
        results
    }

    /// One step alone.
    pub async fn run_one(&self, step: Step) -> Result<Outcome, StoreError> {
        self.run(vec![step]).await.pop().unwrap_or(Err(StoreError::Unexpected("no result")))
    }

    /// Whether a nonce is fresh as far as the stand-in knows. Always, unless the store was away a short while ago.
    pub async fn nonce_is_fresh_here(&self, peer: &str, nonce: &NonceUse) -> bool {
        if self.doubt.load(Ordering::Relaxed) <= fairlead_runtime::identity::now().0 {
            return true;
        }
        let step = Step::UseNonce { peer: peer.to_owned(), nonce: nonce.clone() };
        self.stand_in.run_one(step).await.and_then(Outcome::nonce).unwrap_or(false)
    }

    /// Uses a nonce in memory because the store is away; whether it was fresh.
    pub async fn use_nonce_here(&self, peer: &str, nonce: &NonceUse) -> bool {
        let until = fairlead_runtime::identity::now().plus_millis(nonce.life.as_millis() as u64).0;
        self.doubt.fetch_max(until, Ordering::Relaxed);
        let step = Step::UseNonce { peer: peer.to_owned(), nonce: nonce.clone() };
        self.stand_in.run_one(step).await.and_then(Outcome::nonce).unwrap_or(false)
    }

    async fn follow(&self, step: Step, outcome: &Outcome) {
        let granted = !matches!(outcome, Outcome::Occupied { granted: false, .. });
        let step = match step {
            // What the store granted, the stand-in grants.
            Step::Occupy(mut wish) if granted => {
                wish.limit = 0;
                Step::Occupy(wish)
            }
            step @ (Step::Release { .. } | Step::SetUsage { .. }) => step,
            // A Redis that comes back empty gets the calls of the pods on our streams from here.
            step @ (Step::WriteCheckpoint(_) | Step::EndCheckpoint { .. })
                if self.store.keeps_nonces() && !matches!(outcome, Outcome::Fenced { .. }) =>
            {
                step
            }
            _ => return,
        };
        // The stand-in cannot be away; were it full, limits would be looser while the store is away.
        let _ = self.stand_in.run_one(step).await;
    }

    async fn stand_in(&self, step: Step) -> Result<Outcome, StoreError> {
        let again = step.clone();
        let outcome = self.stand_in.run_one(step).await?;
        let refused = matches!(outcome, Outcome::Occupied { granted: false, .. });
        if !refused {
            self.later.lock().add(again);
        }
        Ok(outcome)
    }

    /// Writes what waited. What fails again waits again.
    pub async fn catch_up(&self) {
        let mut waiting: Vec<(u64, Step)> = {
            let mut later = self.later.lock();
            if later.dropped > 0 {
                warn!(
                    dropped = later.dropped,
                    "not all that happened while the store was away could be kept"
                );
                later.dropped = 0;
            }
            later.steps.drain().map(|(_, step)| step).collect()
        };
        waiting.sort_unstable_by_key(|(number, _)| *number);
        let steps: Vec<Step> = waiting.into_iter().map(|(_, step)| step).collect();
        for batch in steps.chunks(256) {
            let results = self.store.run(batch.to_vec()).await;
            for (result, step) in results.iter().zip(batch) {
                match result {
                    Err(error) if error.passes() => self.later.lock().add(step.clone()),
                    Err(error) => warn!(%error, "what happened while the store was away is refused"),
                    Ok(_) => {}
                }
            }
        }
    }

    /// What the store knows of the calls of a pod that came to us, for the time without it.
    pub async fn learn_calls_of(&self, pod: PodRef) -> Result<(), StoreError> {
        let Outcome::Calls(calls) = self.store.run_one(Step::CallsOf { pod }).await? else { return Ok(()) };
        for calls in calls.chunks(BATCH) {
            let steps = calls.iter().map(|&call| Step::CheckpointOf { call });
            let steps = steps.chain(calls.iter().map(|&call| Step::PeersOf { call }));
            let mut peers = BTreeSet::new();
            for result in self.store.run(steps.collect()).await {
                match result? {
                    Outcome::Checkpoint(Some(record)) if record.owner == pod => {
                        self.stand_in.run_one(Step::WriteCheckpoint(record)).await?;
                    }
                    Outcome::Names(names) => peers.extend(names),
                    _ => {}
                }
            }
            let peers: Vec<String> = peers.into_iter().collect();
            let steps = peers.iter().map(|peer| Step::Slots { peer: peer.clone() });
            for (peer, slots) in peers.iter().zip(self.store.run(steps.collect()).await) {
                for slot in slots?.slots()?.into_iter().filter(|slot| slot.pod == pod) {
                    self.stand_in.run_one(occupied(peer.clone(), slot)).await?;
                }
            }
        }
        Ok(())
    }

    /// A pod left our streams: its calls are known elsewhere from now on.
    pub fn forget_calls_of(&self, pod: PodRef) {
        self.stand_in.forget_calls_of(pod);
    }

    /// The store has lost all calls: those of the pods on our streams are written again.
    pub async fn refill_calls(&self) -> Result<(), StoreError> {
        let (slots, records) = self.stand_in.calls();
        let slots = slots.into_iter().map(|(peer, slot)| occupied(peer, slot));
        let records = records.into_iter().map(|record| Step::WriteCheckpoint(Box::new(record)));
        let steps: Vec<Step> = slots.chain(records).collect();
        for steps in steps.chunks(BATCH) {
            for result in self.store.run(steps.to_vec()).await {
                match result {
                    Err(error) if error.passes() => return Err(error),
                    Err(error) => warn!(%error, "a call cannot be written again"),
                    Ok(_) => {}
                }
            }
        }
        Ok(())
    }

    /// How many steps wait for the store.
    pub fn waiting(&self) -> usize {
        self.later.lock().steps.len()
    }
}

impl Later {
    fn add(&mut self, step: Step) {
        let (about, step) = match step {
            Step::Occupy(mut wish) => {
                wish.limit = 0;
                wish.living.clear();
                (About::Slot(wish.peer.clone(), wish.call), Step::Occupy(wish))
            }
            Step::SetUsage { ref peer, call, .. } => (About::Usage(peer.clone(), call), step),
            Step::Release { call } => {
                let gone = |about: &About| match about {
                    About::Slot(_, of) | About::Usage(_, of) => *of == call,
                    _ => false,
                };
                self.steps.retain(|about, _| !gone(about));
                (About::Slots(call), step)
            }
            Step::WriteCheckpoint(ref record) => (About::Checkpoint(record.call), step),
            Step::EndCheckpoint { call } => (About::Checkpoint(call), step),
            Step::Claim(ref claim) => (About::Claim(claim.call_id.clone(), claim.from_tag.clone()), step),
            Step::Disown { ref call_id, ref from_tag, .. } => {
                (About::Claim(call_id.clone(), from_tag.clone()), step)
            }
            _ => return,
        };
        if self.steps.len() >= LATER_MAX && !self.steps.contains_key(&about) {
            self.dropped += 1;
            return;
        }
        self.next += 1;
        self.steps.insert(about, (self.next, step));
    }
}

/// The step that writes a slot as it is.
fn occupied(peer: String, slot: Slot) -> Step {
    let Slot { call, pod, usage } = slot;
    Step::Occupy(Box::new(Occupy { peer, call, pod, limit: 0, usage, living: Vec::new() }))
}

/// Steps that may be done in memory while the store is away.
fn may_wait(step: &Step) -> bool {
    matches!(
        step,
        Step::UseNonce { .. }
            | Step::Claim(_)
            | Step::Owner { .. }
            | Step::Disown { .. }
            | Step::Occupy(_)
            | Step::Release { .. }
            | Step::SetUsage { .. }
            | Step::Slots { .. }
            | Step::WriteCheckpoint(_)
            | Step::EndCheckpoint { .. }
            | Step::CheckpointOf { .. }
            | Step::CheckpointByCallId { .. }
    )
}
