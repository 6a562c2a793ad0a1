//! The store was away: what was promised meanwhile is written, and what is held is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairlead_model::binding::Binding;
use fairlead_store::{Bind, BindOutcome, BindingsRecord, Columns, Outcome, Step, StoreError, marked};
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use crate::change::row_columns;
use crate::register::ATTEMPTS;
use crate::registrar::Registrar;

/// How many records are read or written together.
pub(crate) const BATCH: usize = 128;
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
    pub(crate) fn runtime_row(&self, name: &str, bindings: &[Binding]) -> Columns {
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
