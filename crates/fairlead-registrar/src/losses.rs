//! The store has lost what it had, all or some of it: what is known here is written again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlead_store::{BindingsRecord, Outcome, Restore, Step, StoreError, marked};
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use crate::away::BATCH;
use crate::registrar::Registrar;

/// How long after the store was emptied a missing peer may still be written again.
const RECENT: Duration = Duration::from_secs(60);
/// How long after the store was found empty others may not have noticed it.
const SETTLING: Duration = Duration::from_secs(3);
/// So many epochs on no nonce of before is known any more.
const NONCE_EPOCHS: u32 = 3;

/// What the store has lost.
#[derive(Default)]
pub struct Losses {
    known: Mutex<Incarnations>,
    filling: AtomicBool,
    /// Names whose records are newer here than what the store showed.
    suspects: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct Incarnations {
    /// The store whose content is that of before.
    filled: Option<u64>,
    /// The last one that was found empty, and when.
    empty: Option<(u64, Instant)>,
}

impl Losses {
    /// Whether this is another store than the one before: it was emptied.
    pub fn is_other(&self, incarnation: u64) -> bool {
        *self.known.lock().filled.get_or_insert(incarnation) != incarnation
    }

    /// Whether this is news.
    fn found_empty(&self, incarnation: u64) -> bool {
        let mut known = self.known.lock();
        let news = known.empty.is_none_or(|(before, _)| before != incarnation);
        if news {
            known.empty = Some((incarnation, Instant::now()));
        }
        news
    }

    /// The store whose content is that of before: none while one that was found empty is being filled, or a moment after, when
    /// not everybody need have heard of it.
    pub fn settled(&self) -> Option<u64> {
        let known = self.known.lock();
        let is_new = known.empty.is_some_and(|(_, at)| at.elapsed() < SETTLING);
        known.filled.filter(|_| !is_new)
    }

    fn are_made_good(&self, incarnation: u64) {
        self.known.lock().filled = Some(incarnation);
    }

    /// Whether peers may be missing because the store was emptied a short while ago.
    pub fn is_recent(&self) -> bool {
        let known = self.known.lock();
        known.empty.is_some_and(|(number, at)| known.filled != Some(number) || at.elapsed() < RECENT)
    }

    /// The store showed an older record than the one that is held.
    pub fn suspect(&self, name: &str) {
        self.suspects.lock().insert(name.to_owned());
    }

    fn take_suspects(&self) -> Vec<String> {
        std::mem::take(&mut *self.suspects.lock()).into_iter().collect()
    }
}

impl Registrar {
    /// The store has lost everything: it is filled again, beside all else that goes on.
    pub(crate) fn refill_soon(&self, incarnation: u64) {
        let Some(registrar) = self.me.upgrade() else { return };
        if self.losses.found_empty(incarnation) {
            self.metrics.refilled.inc();
            // Whoever looks after peers writes them again at once.
            self.followers.emptied();
        }
        if self.losses.filling.swap(true, Ordering::Relaxed) {
            return;
        }
        tokio::spawn(async move {
            match registrar.refill().await {
                Ok(()) => registrar.losses.are_made_good(incarnation),
                // Away again: from the beginning when it is back.
                Err(error) => debug!(%error, "the store could not be filled"),
            }
            registrar.losses.filling.store(false, Ordering::Relaxed);
        });
    }

    /// Realtime peers that are cached here, all bindings known here and the calls of our pods are written again. All
    /// registrars do so, each what it knows: of two records of one peer the newer one stays.
    async fn refill(&self) -> Result<(), StoreError> {
        let store = self.storage.store();
        // Which nonces were used is lost too, so all of them are stale from now on.
        let at_least = self.keys.load().as_ref().map_or(0, |keys| keys.epoch).saturating_add(NONCE_EPOCHS);
        store.run_one(Step::Epoch { period: self.config.nonce_period, at_least }).await?;
        if store.run_one(Step::Complete { say: None }).await?.complete()? {
            self.forget_withdrawn().await?;
        }
        let peers = self.catalog.cached();
        let names = self.locations.bound_names();
        warn!(peers = peers.len(), registered = names.len(), "the store is empty and is filled again");
        for chunk in peers.chunks(BATCH) {
            // Not one that was withdrawn meanwhile.
            let known = chunk.iter().filter(|known| self.catalog.row(&known.peer.name).is_some());
            let steps = known.map(|known| Step::RestorePeer {
                name: known.peer.name.clone(),
                columns: (*known.row).clone(),
            });
            for result in store.run(steps.collect()).await {
                result?;
            }
        }
        for names in names.chunks(BATCH) {
            self.restore(names).await?;
        }
        self.storage.refill_calls().await?;
        info!("the store is filled again");
        Ok(())
    }

    /// Others have filled the store before, and whoever looks after peers has written all of his again: those that are not
    /// there were withdrawn, and are not to come back from here.
    async fn forget_withdrawn(&self) -> Result<(), StoreError> {
        let mut marked = self.catalog.cached();
        marked.retain(|known| marked::mark_of(&known.row).is_some());
        for chunk in marked.chunks(BATCH) {
            let steps = chunk.iter().map(|known| Step::Row { name: known.peer.name.clone() });
            for (known, row) in chunk.iter().zip(self.storage.store().run(steps.collect()).await) {
                if row?.row()?.is_none() {
                    self.forget_here(&known.peer.name, true, false);
                    // What was promised to its phone may have been written already.
                    self.sweep_late(known.peer.name.clone());
                }
            }
        }
        Ok(())
    }

    /// Writes the records of these names as they are held, over older ones.
    async fn restore(&self, names: &[String]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let held = names.iter().filter_map(|name| Some((name, self.locations.get(name)?)));
        let steps = held.filter(|(_, record)| record.is_live(now)).map(|(name, record)| {
            let columns = self.runtime_row(name, &record.bindings);
            let record = (*record).clone();
            Step::Restore(Box::new(Restore { name: name.clone(), record, columns, now }))
        });
        for result in self.storage.store().run(steps.collect()).await {
            match result {
                Ok(Outcome::Restored { written: true }) => drop(self.metrics.restored.inc()),
                Ok(_) => {}
                Err(error) if error.passes() => return Err(error),
                Err(error) => warn!(%error, "a registration cannot be written again"),
            }
        }
        Ok(())
    }

    /// Somebody planned on `ours`, and the store has `theirs` now: what to plan on next.
    pub(crate) async fn newer(
        &self,
        name: &str,
        ours: Arc<BindingsRecord>,
        theirs: Arc<BindingsRecord>,
    ) -> Result<Arc<BindingsRecord>, StoreError> {
        let lost = theirs.version < ours.version && ours.is_live(self.clock.now());
        if !lost || self.locations.get(name).is_none() {
            return Ok(self.seen(name, true, theirs));
        }
        self.restore(&[name.to_owned()]).await?;
        Ok(ours)
    }

    /// Records that the store seems to have lost are looked at again, and written again if it has.
    pub(crate) async fn restore_suspects(&self) {
        let names = self.losses.take_suspects();
        for chunk in names.chunks(BATCH) {
            if let Err(error) = self.restore_lost(chunk).await {
                debug!(%error, "records that were lost are written later");
                chunk.iter().for_each(|name| self.losses.suspect(name));
            }
        }
    }

    async fn restore_lost(&self, names: &[String]) -> Result<(), StoreError> {
        let steps = names.iter().map(|name| Step::Load { name: name.clone() }).collect();
        let mut lost = Vec::new();
        for (name, result) in names.iter().zip(self.storage.store().run(steps).await) {
            let (row, stored) = match result.and_then(Outcome::loaded) {
                Ok(loaded) => loaded,
                Err(error) if error.passes() => return Err(error),
                Err(_) => continue,
            };
            let Some(held) = self.locations.get(name) else { continue };
            if stored.version >= held.version {
                continue;
            }
            if row.is_none() && !self.catalog.is_static(name) && !self.losses.is_recent() {
                // Its peer was removed, and the notice of that was missed.
                let pods = self.locations.forget(name);
                self.members.requalify(&pods);
            } else {
                lost.push(name.clone());
            }
        }
        self.restore(&lost).await
    }
}
