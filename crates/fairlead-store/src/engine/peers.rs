//! Realtime peers and the indexes of names and addresses.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Engine, NO_BINDINGS, Write};
use crate::keys::host_address;
use fairlead_model::provision::{Provision, Withdrawn};

use crate::marked;
use crate::record::Columns;
use crate::step::Outcome;

impl Engine {
    pub(super) fn load(&mut self, name: &str) -> Outcome {
        let bindings = match self.bindings.get(name) {
            Some(record) => Arc::clone(record),
            None => Arc::clone(self.none.get_or_insert_with(|| Arc::new(NO_BINDINGS.clone()))),
        };
        Outcome::Loaded { peer: self.peers.get(name).cloned(), bindings }
    }

    pub(super) fn put_peer(
        &mut self,
        name: String,
        columns: Columns,
        replace: bool,
        writes: &mut Vec<Write>,
    ) -> Outcome {
        let old = self.peers.get(&name).cloned().unwrap_or_default();
        let mut new = if replace { Columns::new() } else { (*old).clone() };
        for (column, value) in columns {
            match value.is_empty() {
                true => new.remove(&column),
                false => new.insert(column, value),
            };
        }
        let was = host_address(&old);
        if was != host_address(&new) {
            self.forget_address(&name, was);
        }
        writes.push(Write::peer(&name, &new));
        self.keep_peer(&name, new);
        Outcome::Done
    }

    /// Keeps a row and puts it into the indexes.
    pub(super) fn keep_peer(&mut self, name: &str, row: Columns) {
        let address = host_address(&row);
        match marked::mark_of(&row) {
            Some(_) => self.marked.insert(name.to_owned()),
            None => self.marked.remove(name),
        };
        self.peers.insert(name.to_owned(), Arc::new(row));
        self.index(name, address.as_slice());
    }

    pub(super) fn provision(&mut self, peer: &Provision, writes: &mut Vec<Write>) -> Outcome {
        let stored = self.peers.get(&peer.name).cloned();
        let (row, outcome) = marked::provisioned(stored.as_deref(), peer);
        if let Some(row) = row {
            if let Some(stored) = &stored
                && host_address(stored) != host_address(&row)
            {
                self.forget_address(&peer.name, host_address(stored));
            }
            writes.push(Write::peer(&peer.name, &row));
            self.keep_peer(&peer.name, row);
        }
        Outcome::Provisioned(outcome)
    }

    pub(super) fn withdraw(&mut self, name: &str, uid: &str, writes: &mut Vec<Write>) -> Outcome {
        let outcome = match self.peers.get(name).map(|row| marked::mark_of(row)) {
            None => Withdrawn::Absent,
            Some(Some(mark)) if mark.uid == uid => Withdrawn::Removed,
            Some(_) => return Outcome::Withdrawn(Withdrawn::NotYours),
        };
        self.delete_peer(name, writes);
        Outcome::Withdrawn(outcome)
    }

    pub(super) fn delete_peer(&mut self, name: &str, writes: &mut Vec<Write>) -> Outcome {
        if let Some(columns) = self.peers.remove(name) {
            self.forget_address(name, host_address(&columns));
            writes.push(Write::no_peer(name));
        }
        if let Some(record) = self.bindings.remove(name) {
            self.unindex_flows(name, &record);
            writes.push(Write::no_bindings(name));
        }
        self.names.remove(name);
        self.marked.remove(name);
        Outcome::Done
    }

    pub(super) fn touch(&mut self, name: &str, columns: Columns, writes: &mut Vec<Write>) -> Outcome {
        let Some(stored) = self.peers.get_mut(name) else { return Outcome::Done };
        if columns.iter().any(|(column, value)| stored.get(column) != Some(value)) {
            Arc::make_mut(stored).extend(columns);
            writes.push(Write::peer(name, stored));
        }
        Outcome::Done
    }

    pub(super) fn index(&mut self, name: &str, addresses: &[IpAddr]) -> Outcome {
        if !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
        for address in addresses {
            self.addresses.entry(*address).or_default().insert(name.to_owned());
        }
        Outcome::Done
    }

    /// Builds the indexes anew; returns the number of peers.
    pub fn reindex(&mut self) -> u64 {
        self.addresses.clear();
        self.names = self.peers.keys().cloned().collect();
        let marked = self.peers.iter().filter(|(_, row)| marked::mark_of(row).is_some());
        self.marked = marked.map(|(name, _)| name.clone()).collect();
        for (name, columns) in &self.peers {
            if let Some(address) = host_address(columns) {
                self.addresses.entry(address).or_default().insert(name.clone());
            }
        }
        self.peers.len() as u64
    }

    fn forget_address(&mut self, name: &str, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        if let Some(names) = self.addresses.get_mut(&address) {
            names.remove(name);
            if names.is_empty() {
                self.addresses.remove(&address);
            }
        }
    }
}
