//! The store was away, or has lost what it had: what was promised meanwhile is written, what is known is written again.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairlead_model::binding::Binding;
use fairlead_store::{Bind, BindOutcome, BindingsRecord, Columns, Step, StoreError};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::change::row_columns;
use crate::register::ATTEMPTS;
use crate::registrar::Registrar;

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
                    self.journal.settle(&name, number, || self.locations.forget(&name));
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

    fn rebind(&self, name: &str, stored: &BindingsRecord, bindings: Vec<Binding>) -> Bind {
        let now = self.clock.now();
        let general = self.catalog.general();
        let columns = match general.rt_update && !self.catalog.is_static(name) {
            true => {
                let columns = fairlead_location::runtime_columns(&bindings, general, now);
                row_columns(&columns, |pod| self.members.name_of(pod))
            }
            false => Columns::new(),
        };
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

    /// The store has lost everything: realtime peers that are cached here and all bindings known here are written
    /// again. Several registrars may do so at once; the youngest binding wins.
    pub(crate) async fn refill(&self) -> Result<(), StoreError> {
        let peers = self.catalog.cached();
        let names = self.locations.bound_names();
        warn!(peers = peers.len(), registered = names.len(), "the store is empty and is filled again");
        for chunk in peers.chunks(128) {
            let steps = chunk.iter().map(|known| Step::PutPeer {
                name: known.peer.name.clone(),
                columns: (*known.row).clone(),
                replace: false,
            });
            for result in self.storage.store().run(steps.collect()).await {
                result?;
            }
        }
        for name in names {
            self.keep_promise(&name).await?;
        }
        Ok(())
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
