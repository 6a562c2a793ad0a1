//! Bindings, and nonces that are used with them.

use std::sync::Arc;

use fairlead_model::id::UnixMillis;

use super::{Engine, TABLE_MAX, Write};
use crate::error::StoreError;
use crate::record::{BindingsRecord, Columns};
use crate::step::{Bind, BindOutcome, NonceUse, Outcome, Restore};

/// Which counts of one nonce have been used (RFC 7616 §3.4.5, with room for requests that overtake each other).
pub struct Window {
    top: u32,
    /// Bit i: top − i has been used.
    used: u64,
    until: UnixMillis,
}

impl Window {
    fn new(until: UnixMillis) -> Self {
        Window { top: 0, used: 0, until }
    }

    fn take(&mut self, count: Option<u32>) -> bool {
        let Some(count) = count else {
            // Without a count it is used up, and fresh only if nothing was used before.
            let fresh = self.top == 0;
            (self.top, self.used) = (u32::MAX, u64::MAX);
            return fresh;
        };
        if count > self.top {
            self.used = self.used.checked_shl(count - self.top).unwrap_or(0) | 1;
            self.top = count;
            return true;
        }
        let behind = self.top - count;
        if count == 0 || behind >= NonceUse::WINDOW || self.used & (1 << behind) != 0 {
            return false;
        }
        self.used |= 1 << behind;
        true
    }
}

/// Whether both are found under the same flows.
fn same_flows(old: &BindingsRecord, new: &BindingsRecord) -> bool {
    let at = |record: &BindingsRecord, index: usize| {
        record.bindings.get(index).map(|one| (one.flow.transport, one.flow.remote))
    };
    old.bindings.len() == new.bindings.len()
        && (0..old.bindings.len()).all(|index| at(old, index) == at(new, index))
}

impl Engine {
    pub(super) fn bind(
        &mut self,
        bind: Bind,
        now: UnixMillis,
        writes: &mut Vec<Write>,
    ) -> Result<Outcome, StoreError> {
        let old = self.bindings.get(&bind.name).cloned();
        let version = old.as_ref().map_or(0, |old| old.version);
        if version != bind.planned_from {
            let current = old.unwrap_or_default();
            return Ok(Outcome::Bind(BindOutcome::Conflict(current)));
        }
        if let Some(nonce) = &bind.nonce
            && !self.use_nonce(&bind.name, nonce, now)?
        {
            return Ok(Outcome::Bind(BindOutcome::NonceUsed));
        }
        let version = bind.version();
        let mut asked = old.as_ref().map(|old| old.asked.clone()).unwrap_or_default();
        asked.extend(bind.key);
        let excess = asked.len().saturating_sub(BindingsRecord::ASKED_MAX);
        asked.drain(..excess);
        let new = BindingsRecord { version, bindings: bind.bindings, asked };
        self.keep_bindings(bind.name, new, bind.columns, writes);
        Ok(Outcome::Bind(BindOutcome::Bound { version }))
    }

    pub(super) fn restore_bindings(&mut self, restore: Restore, writes: &mut Vec<Write>) -> Outcome {
        let stored = self.bindings.get(&restore.name).map_or(0, |record| record.version);
        let written = stored < restore.record.version;
        if written {
            self.keep_bindings(restore.name, restore.record, restore.columns, writes);
        }
        Outcome::Restored { written }
    }

    fn keep_bindings(
        &mut self,
        name: String,
        record: BindingsRecord,
        columns: Columns,
        writes: &mut Vec<Write>,
    ) {
        let (old, new) = (self.bindings.get(&name).cloned(), Arc::new(record));
        if !old.as_ref().is_some_and(|old| same_flows(old, &new)) {
            if let Some(old) = &old {
                self.unindex_flows(&name, old);
            }
            self.index_flows(&name, &new);
        }
        writes.push(Write::bindings(&name, &new));
        if !columns.is_empty() {
            self.touch(&name, columns, writes);
        }
        self.bindings.insert(name, new);
    }

    pub(super) fn use_nonce(
        &mut self,
        peer: &str,
        nonce: &NonceUse,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let until = now.plus_millis(nonce.life.as_millis() as u64);
        if let Some(window) = self.nonces.get_mut(peer).and_then(|windows| windows.get_mut(&nonce.nonce)) {
            return Ok(window.take(nonce.count));
        }
        if self.nonce_count >= TABLE_MAX {
            return Err(StoreError::Overloaded);
        }
        let mut window = Window::new(until);
        let fresh = window.take(nonce.count);
        self.nonces.entry(peer.to_owned()).or_default().insert(nonce.nonce.clone(), window);
        self.nonce_count += 1;
        Ok(fresh)
    }

    pub(super) fn sweep_nonces(&mut self, now: UnixMillis) {
        let mut count = 0;
        self.nonces.retain(|_, windows| {
            windows.retain(|_, window| window.until > now);
            count += windows.len();
            !windows.is_empty()
        });
        self.nonce_count = count;
    }

    pub(super) fn index_flows(&mut self, name: &str, record: &BindingsRecord) {
        for binding in &record.bindings {
            let at = (binding.flow.transport, binding.flow.remote);
            self.flows.entry(at).or_default().insert(name.to_owned());
        }
    }

    pub(super) fn unindex_flows(&mut self, name: &str, record: &BindingsRecord) {
        for binding in &record.bindings {
            let at = (binding.flow.transport, binding.flow.remote);
            if let Some(names) = self.flows.get_mut(&at) {
                names.remove(name);
                if names.is_empty() {
                    self.flows.remove(&at);
                }
            }
        }
    }
}
