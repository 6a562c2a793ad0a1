//! Changes of several sides that are made all or not at all.

use std::hash::BuildHasher;
use std::net::SocketAddr;

use super::Streams;
use crate::endpoint::Endpoint;
use crate::table::{EndpointId, PortId};

/// Something as it was.
#[derive(Debug)]
enum Was {
    /// This one was not there.
    Opened(EndpointId),
    Endpoint(EndpointId, Box<Endpoint>),
    Rtcp((PortId, SocketAddr), Option<EndpointId>),
}

/// What was changed, as it was; empty while no change is under way.
#[derive(Debug, Default)]
pub(super) struct Undo {
    depth: u32,
    entries: Vec<Was>,
}

impl Undo {
    fn note(&mut self, was: impl FnOnce() -> Option<Was>) {
        if self.depth > 0 {
            self.entries.extend(was());
        }
    }
}

impl<S: BuildHasher + Clone> Streams<S> {
    /// Makes changes by [`open`](Self::open), [`signal`](Self::signal) and [`signal_all`](Self::signal_all), and nothing
    /// of them when they fail. Each sees what those before it took and gave up.
    pub fn all_or_nothing<T, E>(&mut self, changes: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let (mark, of_table) = (self.undo.entries.len(), self.table.begin());
        self.undo.depth += 1;
        let result = changes(self);
        self.undo.depth = self.undo.depth.saturating_sub(1);
        self.table.end(of_table, result.is_ok());
        if result.is_err() {
            let undone = self.undo.entries.split_off(mark.min(self.undo.entries.len()));
            undone.into_iter().rev().for_each(|was| self.put_back(was));
        }
        if self.undo.depth == 0 {
            self.undo.entries.clear();
        }
        result
    }

    fn put_back(&mut self, was: Was) {
        match was {
            Was::Opened(id) => {
                if let Some(slot) = self.slots.get_mut(id.index as usize) {
                    slot.endpoint = None;
                    self.free.push(id.index);
                }
            }
            Was::Endpoint(id, before) => {
                if let Some(endpoint) = self.endpoint_mut(id) {
                    *endpoint = *before;
                }
            }
            Was::Rtcp(place, Some(who)) => {
                self.rtcp.insert(place, who);
            }
            Was::Rtcp(place, None) => {
                self.rtcp.remove(&place);
            }
        }
    }

    pub(super) fn note_opened(&mut self, id: EndpointId) {
        self.undo.note(|| Some(Was::Opened(id)));
    }

    pub(super) fn note_endpoint(&mut self, id: EndpointId) {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation);
        let endpoint = slot.and_then(|slot| slot.endpoint.as_ref());
        self.undo.note(|| endpoint.map(|endpoint| Was::Endpoint(id, endpoint.clone())));
    }

    pub(super) fn note_rtcp(&mut self, place: (PortId, SocketAddr)) {
        let known = self.rtcp.get(&place).copied();
        self.undo.note(|| Some(Was::Rtcp(place, known)));
    }
}
