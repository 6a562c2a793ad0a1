//! Peers as they are now: what the store has and what is held here together.

use std::collections::BTreeSet;
use std::sync::Arc;

use fairlead_model::binding::Binding;
use fairlead_model::operator::PeerSource;
use fairlead_model::peer::Peer;
use fairlead_store::{BindingsRecord, Outcome, Step, StoreError};

use crate::registrar::Registrar;
use crate::view::Seen;

/// How many names are read from the index at once.
const NAMES: u32 = 512;

/// A peer as it is now.
pub(crate) struct Found {
    pub(crate) peer: Arc<Peer>,
    pub(crate) bindings: Arc<BindingsRecord>,
    pub(crate) source: PeerSource,
}

impl Registrar {
    /// The next names in order, of sip.conf and of the store's index together, and whether there are more. While the store
    /// is away: those that are cached here.
    pub(crate) async fn names(&self, after: Option<&str>) -> Result<(Vec<String>, bool), StoreError> {
        match self.all_names(after).await {
            Err(error) if error.passes() => {
                let mut names = self.catalog.cached_names();
                names.sort_unstable();
                names.retain(|name| after.is_none_or(|after| name.as_str() > after));
                names.truncate(NAMES as usize);
                Ok(self.with_statics(after, names))
            }
            all => all,
        }
    }

    /// The next names as [`Registrar::names`], never fewer than there are: an error while the store is away.
    pub(crate) async fn all_names(&self, after: Option<&str>) -> Result<(Vec<String>, bool), StoreError> {
        let step = Step::Names { after: after.map(str::to_owned), limit: NAMES };
        let stored = self.storage.store().run_one(step).await?.names()?;
        Ok(self.with_statics(after, stored))
    }

    /// The next names of the store, and those of sip.conf among them.
    fn with_statics(&self, after: Option<&str>, stored: Vec<String>) -> (Vec<String>, bool) {
        let from = match after {
            Some(after) => std::ops::Bound::Excluded(after),
            None => std::ops::Bound::Unbounded,
        };
        let statics = self.catalog.statics().range::<str, _>((from, std::ops::Bound::Unbounded));
        let mut names: BTreeSet<String> =
            statics.map(|(name, _)| name.clone()).take(NAMES as usize).collect();
        let full = names.len() == NAMES as usize || stored.len() == NAMES as usize;
        // Beyond the end of the shorter list nothing can be said yet.
        let ends = [
            (names.len() == NAMES as usize).then(|| names.last().cloned()).flatten(),
            (stored.len() == NAMES as usize).then(|| stored.last().cloned()).flatten(),
        ];
        names.extend(stored);
        if let Some(end) = ends.into_iter().flatten().min() {
            names.retain(|name| *name <= end);
        }
        (names.into_iter().collect(), full)
    }

    /// Peers with these names as they are now, in the same order; those that are gone are left out. Nothing is
    /// taken into the cache by being listed.
    pub(crate) async fn find(&self, names: Vec<String>) -> Result<Vec<Found>, StoreError> {
        let results = self.load_all(&names).await;
        self.found(names, results)
    }

    /// As [`Registrar::find`], never fewer than there are: an error while the store is away.
    pub(crate) async fn find_all(&self, names: Vec<String>) -> Result<Vec<Found>, StoreError> {
        let results = self.load_all(&names).await;
        match results.iter().find_map(|result| result.as_ref().err().filter(|error| error.passes())) {
            Some(error) => Err(error.clone()),
            None => self.found(names, results),
        }
    }

    async fn load_all(&self, names: &[String]) -> Vec<Result<Outcome, StoreError>> {
        let steps = names.iter().map(|name| Step::Load { name: name.clone() }).collect();
        self.storage.store().run(steps).await
    }

    /// What was loaded, and what is held here, together.
    fn found(
        &self,
        names: Vec<String>,
        results: Vec<Result<Outcome, StoreError>>,
    ) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::with_capacity(names.len());
        for (name, result) in names.into_iter().zip(results) {
            let (row, bindings) = match result.and_then(Outcome::loaded) {
                Ok((row, bindings)) if !self.journal.has(&name) => {
                    (row, self.with_held_states(&name, bindings))
                }
                Ok((row, _)) => (row, self.held(&name)),
                Err(error) if error.passes() => (None, self.held(&name)),
                // One record that cannot be read must not hide the others.
                Err(StoreError::Unreadable { .. } | StoreError::Refused(_)) => (None, self.held(&name)),
                Err(error) => return Err(error),
            };
            let (peer, source) = match (self.catalog.get(&name), row) {
                (Some(peer), _) if self.catalog.is_static(&name) => (peer, PeerSource::Static),
                (Some(peer), _) => (peer, PeerSource::Cached),
                (None, Some(row)) => (self.catalog.read(&name, &row), PeerSource::Stored),
                (None, None) => continue,
            };
            found.push(Found { peer, bindings, source });
        }
        Ok(found)
    }

    /// Round trips that only this registrar noted, put into what the store has.
    fn with_held_states(&self, name: &str, stored: Arc<BindingsRecord>) -> Arc<BindingsRecord> {
        let held = self.held(name);
        // The store has lost what it had; it is written again in a moment.
        if held.version > stored.version && held.is_live(self.clock.now()) {
            return held;
        }
        let newer = |one: &Binding| {
            held.bindings.iter().find(|mine| mine.key == one.key && mine.qualify.at > one.qualify.at)
        };
        if held.version != stored.version || stored.bindings.iter().all(|one| newer(one).is_none()) {
            return stored;
        }
        let mut record = (*stored).clone();
        for one in &mut record.bindings {
            if let Some(mine) = newer(one) {
                one.qualify = mine.qualify;
            }
        }
        Arc::new(record)
    }

    /// Whether a name is shown without being loaded first.
    pub(crate) async fn is_listed(&self, name: &str) -> Result<bool, StoreError> {
        if self.catalog.get(name).is_some() {
            return Ok(true);
        }
        let listed = self.storage.store().run_one(Step::Listed { name: name.to_owned() }).await?.names()?;
        Ok(!listed.is_empty())
    }

    pub(crate) fn seen_of<'a>(&'a self, found: &'a Found) -> Seen<'a> {
        Seen {
            peer: &found.peer,
            bindings: &found.bindings.bindings,
            static_state: self.static_state(&found.peer.name),
            source: found.source,
            general: self.catalog.general(),
            now: self.clock.now(),
        }
    }
}
