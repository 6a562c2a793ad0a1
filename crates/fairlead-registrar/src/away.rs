//! The store was away, or has lost what it had: what was promised meanwhile is written, what is known is written again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlead_model::binding::Binding;
use fairlead_store::{
    Bind, BindOutcome, BindingsRecord, Columns, Outcome, Restore, Step, StoreError, marked,
};
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use crate::change::row_columns;
use crate::register::ATTEMPTS;
use crate::registrar::Registrar;

/// How many records are read or written together.
const BATCH: usize = 128;
/// How long after the store was emptied a missing peer may still be written again.
const RECENT: Duration = Duration::from_secs(60);
/// How long after the store was found empty others may not have noticed it.
const SETTLING: Duration = Duration::from_secs(3);
/// So many epochs on no nonce of before is known any more.
const NONCE_EPOCHS: u32 = 3;
/// How many names can be promised; a REGISTER beyond that is refused as if nothing were known.
const PROMISES_MAX: usize = 1_000_000;

/// Names whose bindings are newer here than in the store, each with the number of its last promise.
#[derive(Default)]
pub struct Journal(Mutex<Promises>);

#[derive(Default)]
struct Promises {
    names: BTreeMap<String, u64>,
    made: u64,
}

impl Journal {
    /// Whether this name waits.
    pub fn has(&self, name: &str) -> bool {
        let promises = self.0.lock();
        !promises.names.is_empty() && promises.names.contains_key(name)
    }

    /// Its bindings, which `put` makes known here, are to be written when the store is back. Whether that can be
    /// promised: there is an end to what memory holds.
    pub fn promise(&self, name: &str, put: impl FnOnce()) -> bool {
        let mut promises = self.0.lock();
        if promises.names.len() >= PROMISES_MAX && !promises.names.contains_key(name) {
            return false;
        }
        promises.made += 1;
        let number = promises.made;
        promises.names.insert(name.to_owned(), number);
        put();
        true
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.lock().names.len()
    }

    /// A name is nobody's any more.
    pub fn forget(&self, name: &str) {
        self.0.lock().names.remove(name);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().names.keys().cloned().collect()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.lock().names.get(name).copied()
    }

    /// What was promised under this number is written; `put` makes known how. Not if more was promised meanwhile.
    fn settle(&self, name: &str, number: Option<u64>, put: impl FnOnce()) -> bool {
        let mut promises = self.0.lock();
        if promises.names.get(name).copied() != number {
            return false;
        }
        promises.names.remove(name);
        put();
        true
    }
}

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
    fn is_recent(&self) -> bool {
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
    /// Writes what was promised. Ends early when the store goes away again; nothing is lost by that.
    pub(crate) async fn keep_promises(&self) -> Result<(), StoreError> {
        let names = self.journal.all();
        if !names.is_empty() {
            info!(count = names.len(), "registrations from the time without the store are written");
        }
        for name in names {
            match self.keep_promise(&name).await {
                Ok(()) => {}
                Err(error) if error.passes() => return Err(error),
                Err(error) => {
                    warn!(%error, "a registration from the time without the store cannot be kept");
                    let number = self.journal.number(&name);
                    self.journal.settle(&name, number, || drop(self.locations.forget(&name)));
                }
            }
        }
        Ok(())
    }

    /// Writes the bindings of one name: each that is younger than what the store has by now.
    async fn keep_promise(&self, name: &str) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let number = self.journal.number(name);
            let Some(ours) = self.locations.get(name) else { return Ok(()) };
            let load = Step::Load { name: name.to_owned() };
            let (_, stored) = self.storage.store().run_one(load).await?.loaded()?;
            let bindings = merged(&ours, &stored);
            let bind = self.rebind(name, &stored, bindings.clone());
            match self.storage.store().run_one(Step::Bind(Box::new(bind))).await?.bind()? {
                BindOutcome::Bound { version } => {
                    let record = BindingsRecord { version, bindings, asked: ours.asked.clone() };
                    let mut pods = Vec::new();
                    let put = || pods = self.locations.put(name, Arc::new(record));
                    // Refreshed once more while this was under way: again.
                    if self.journal.settle(name, number, put) {
                        self.members.requalify(&pods);
                        return Ok(());
                    }
                }
                BindOutcome::Conflict(_) => {}
                BindOutcome::NonceUsed => return Err(StoreError::Unexpected("no nonce was used")),
            }
        }
        Err(StoreError::Overloaded)
    }

    /// The runtime columns of a realtime peer with these bindings.
    fn runtime_row(&self, name: &str, bindings: &[Binding]) -> Columns {
        let general = self.catalog.general();
        if !general.rt_update || self.catalog.is_static(name) {
            return Columns::new();
        }
        let columns = fairlead_location::runtime_columns(bindings, general, self.clock.now());
        row_columns(&columns, |pod| self.members.name_of(pod))
    }

    fn rebind(&self, name: &str, stored: &BindingsRecord, bindings: Vec<Binding>) -> Bind {
        let now = self.clock.now();
        let columns = self.runtime_row(name, &bindings);
        Bind {
            name: name.to_owned(),
            planned_from: stored.version,
            bindings,
            columns,
            nonce: None,
            key: None,
            now,
        }
    }

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

    /// Notices may have been missed: what is held of others' doing may be old.
    pub(crate) async fn resume(&self) {
        if let Err(error) = self.renew().await {
            debug!(%error, "the store went away again");
            return;
        }
        self.write_what_waits().await;
        let mut names: BTreeSet<String> = self.locations.bound_names().into_iter().collect();
        names.extend(self.catalog.cached_names());
        let names: Vec<String> = names.into_iter().collect();
        for names in names.chunks(BATCH) {
            let steps = names.iter().map(|name| Step::Load { name: name.clone() }).collect();
            for (name, result) in names.iter().zip(self.storage.store().run(steps).await) {
                match result.and_then(Outcome::loaded) {
                    Ok((row, bindings)) => {
                        self.compare_row(name, row.as_deref());
                        drop(self.seen(name, true, bindings));
                    }
                    Err(error) if error.passes() => return,
                    Err(_) => drop(self.locations.forget(name)),
                }
            }
        }
    }

    /// A marked peer that was written or removed while notices were missed is forgotten. Others stay until pruned.
    fn compare_row(&self, name: &str, row: Option<&Columns>) {
        let Some(known) = self.catalog.row(name) else { return };
        let mark = marked::mark_of(&known);
        if mark.is_none() && row.and_then(marked::mark_of).is_none() {
            return;
        }
        match row {
            Some(row) if marked::mark_of(row) == mark && row.get(marked::SUM) == known.get(marked::SUM) => {}
            Some(row) => self.forget_here(name, false, self.is_fixed(name, row)),
            None if self.losses.is_recent() => {}
            None => self.forget_here(name, true, false),
        }
    }
}

/// Ours and the store's bindings together; of two for one contact the younger.
fn merged(ours: &BindingsRecord, stored: &BindingsRecord) -> Vec<Binding> {
    if ours.version == stored.version || stored.version == 0 {
        return ours.bindings.clone();
    }
    let mut bindings = stored.bindings.clone();
    for mine in &ours.bindings {
        // One that the store no longer has was removed by somebody after we last saw it.
        if let Some(theirs) = bindings.iter_mut().find(|theirs| theirs.key == mine.key)
            && mine.registered_at > theirs.registered_at
        {
            *theirs = mine.clone();
        }
    }
    bindings
}
