//! What the table held before a change that may fail, so that nothing is left of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;

use super::{EndpointId, Holder, Load, Near, PortId, Table, Triple};

/// One entry as it was.
#[derive(Clone, Copy, Debug)]
enum Was {
    Triple(Triple, Option<Holder>),
    Waiting((PortId, IpAddr), Option<EndpointId>),
    Said(Triple, Option<EndpointId>),
    Near((PortId, IpAddr), Option<Near>),
    Load(PortId, Load),
}

/// All entries that were changed, as they were; empty while no change is under way.
#[derive(Debug, Default)]
pub(super) struct Journal {
    depth: u32,
    entries: Vec<Was>,
}

impl Journal {
    pub fn is_open(&self) -> bool {
        self.depth > 0
    }

    fn note(&mut self, was: Was) {
        if self.is_open() {
            self.entries.push(was);
        }
    }
}

impl<S: BuildHasher + Clone> Table<S> {
    /// A change begins, perhaps inside another one: the mark to give to [`Self::end`].
    pub fn begin(&mut self) -> usize {
        self.journal.depth += 1;
        self.journal.entries.len()
    }

    /// It is over. If it is not kept, everything is as it was at its beginning.
    pub fn end(&mut self, mark: usize, keep: bool) {
        self.journal.depth = self.journal.depth.saturating_sub(1);
        if !keep {
            let undone = self.journal.entries.split_off(mark.min(self.journal.entries.len()));
            undone.into_iter().rev().for_each(|was| self.put_back(was));
        }
        if !self.journal.is_open() {
            self.journal.entries.clear();
        }
    }

    fn put_back(&mut self, was: Was) {
        match was {
            Was::Triple(triple, holder) => put(&mut self.triples, triple, holder),
            Was::Waiting(place, who) => put(&mut self.waiting, place, who),
            Was::Said(triple, who) => put(&mut self.said, triple, who),
            Was::Near(place, near) => put(&mut self.near, place, near),
            Was::Load(port, load) => {
                if let Some(now) = self.loads.get_mut(port.0 as usize) {
                    *now = load;
                }
            }
        }
    }

    pub(super) fn set_triple(&mut self, triple: Triple, holder: Option<Holder>) {
        self.journal.note(Was::Triple(triple, self.triples.get(&triple).copied()));
        put(&mut self.triples, triple, holder);
    }

    pub(super) fn set_waiting(&mut self, place: (PortId, IpAddr), who: Option<EndpointId>) {
        self.journal.note(Was::Waiting(place, self.waiting.get(&place).copied()));
        put(&mut self.waiting, place, who);
    }

    pub(super) fn set_said(&mut self, triple: Triple, who: Option<EndpointId>) {
        self.journal.note(Was::Said(triple, self.said.get(&triple).copied()));
        put(&mut self.said, triple, who);
    }

    pub(super) fn weigh(&mut self, port: PortId, change: impl FnOnce(&mut Load)) {
        let Some(load) = self.loads.get_mut(port.0 as usize) else { return };
        self.journal.note(Was::Load(port, *load));
        change(load);
    }

    pub(super) fn count(&mut self, port: PortId, ip: IpAddr, change: impl FnOnce(&mut Near)) {
        let known = self.near.get(&(port, ip)).copied();
        self.journal.note(Was::Near((port, ip), known));
        let mut near = known.unwrap_or_default();
        change(&mut near);
        put(&mut self.near, (port, ip), Some(near).filter(|near| near.live > 0 || near.former > 0));
    }
}

fn put<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
impl<S: BuildHasher + Clone> Table<S> {
    /// All that it holds, to compare; empty when nobody and nothing is left.
    pub fn picture(&self) -> Vec<String> {
        let loads = self.loads.iter().filter(|load| load.waiting + load.endpoints > 0 || load.ids > 0);
        let mut all: Vec<String> = loads.map(|load| format!("{load:?}")).collect();
        all.extend(self.triples.iter().map(|entry| format!("{entry:?}")));
        all.extend(self.waiting.iter().map(|entry| format!("{entry:?}")));
        all.extend(self.said.iter().map(|entry| format!("said {entry:?}")));
        all.extend(self.near.iter().map(|entry| format!("{entry:?}")));
        assert!(!self.journal.is_open() && self.journal.entries.is_empty());
        all.sort();
        all
    }

    /// Whose the live triples are.
    pub fn live(&self) -> Vec<(PortId, std::net::SocketAddr, EndpointId)> {
        let who = |(triple, holder): (&Triple, &Holder)| match holder {
            Holder::Live { who, .. } => Some((triple.0, triple.1, *who)),
            Holder::Former(_) => None,
        };
        self.triples.iter().filter_map(who).collect()
    }

    /// Who says what.
    pub fn all_said(&self) -> Vec<(PortId, std::net::SocketAddr, EndpointId)> {
        self.said.iter().map(|((port, address), who)| (*port, *address, *who)).collect()
    }

    /// Who waits for whom.
    pub fn waiters(&self) -> Vec<(PortId, crate::endpoint::Learn, EndpointId)> {
        use crate::endpoint::Learn;
        let from = self.waiting.iter().map(|((port, ip), who)| (*port, Learn::From(*ip), *who));
        let anywhere = (0..).zip(&self.loads).filter_map(|(port, load)| {
            assert!(load.anywhere.is_none() || load.waiting == 1, "it waits alone");
            Some((PortId(port), Learn::Anywhere, load.anywhere?))
        });
        from.chain(anywhere).collect()
    }
}
